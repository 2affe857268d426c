"""Schedules: one per name, whatever happens on the way, and never two that fire."""

import json
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from model_core.errors import ConfigError, RelrecError
from pipelines.targets.kubeflow.cron import parse_cron
from pipelines.targets.kubeflow.errors import KubeflowError
from pipelines.targets.kubeflow.schedule_views import (
    delete_schedule,
    get_schedule,
    list_schedules,
    pause_schedule,
    resume_schedule,
)
from pipelines.targets.kubeflow.schedules import Schedule, create_schedule
from pipelines.targets.logical_date import SCHEDULE_TIME
from tests.contract.kfp_server import Fault

ASKED = ("schedule", "create", "--dataset", "gs://bucket/shop", "--task", "buy", "--registry",
         "gs://bucket/registry", "--allow-unpinned")
NIGHTLY = (*ASKED, "--cron", "0 3 * * *", "--timezone", "Europe/Berlin")
NOW = datetime(2026, 11, 22, 1, 30, tzinfo=UTC)


@pytest.fixture
def schedule(submission):
    def make(cron="0 3 * * *", **settings):
        return Schedule(submission, parse_cron(cron), ZoneInfo("Europe/Berlin"), ZoneInfo("UTC"), **settings)

    return make


@pytest.fixture(autouse=True)
def _never_two_of_a_name(server):
    def watch(backend):
        active = [run.display_name for run in backend.recurring_runs.values() if run.status == "ENABLED"]
        assert len(active) == len(set(active)), "two schedules of one name fire"

    server.backend.watch = watch


def stored(server):
    return list(server.backend.recurring_runs.values())


def test_created_unchanged_replaced(client, server, schedule):
    change = create_schedule(client, schedule(), clock=lambda: NOW)
    assert change.what == "created"
    (made,) = stored(server)
    assert made.trigger.cron_schedule.cron == "0 0 2 * * *"
    assert (made.status, made.max_concurrency, made.no_catchup) == ("ENABLED", "1", True)
    again = create_schedule(client, schedule(), clock=lambda: NOW)
    assert (again.what, again.schedule.schedule_id) == ("unchanged", made.recurring_run_id)
    assert stored(server) == [made]
    change = create_schedule(client, schedule("30 4 * * 1"), clock=lambda: NOW)
    assert change.what == "replaced"
    (new,) = stored(server)
    assert new.recurring_run_id != made.recurring_run_id
    assert new.status == "ENABLED"


@pytest.mark.parametrize("settings", [
    {"catch_up": True}, {"at_once": 3}, {"start": datetime(2026, 12, 1, tzinfo=UTC)},
    {"end": datetime(2027, 12, 1, tzinfo=UTC)}, {"cron": "5 3 * * *"}])
def test_every_setting_counts(client, server, schedule, settings):
    create_schedule(client, schedule(), clock=lambda: NOW)
    assert create_schedule(client, schedule(**settings), clock=lambda: NOW).what == "replaced"
    assert create_schedule(client, schedule(**settings), clock=lambda: NOW).what == "unchanged"
    assert len(stored(server)) == 1


@pytest.mark.parametrize("fault", [{"status": 500}, {"drop": "after"}, {"drop": "before"}])
@pytest.mark.parametrize("where", ["POST /recurringruns$", ":disable", ":enable", "DELETE /recurringruns",
                                   "GET /recurringruns$"])
def test_a_call_that_was_cut_off_is_completed_by_the_next(client, server, schedule, where, fault):
    create_schedule(client, schedule(), clock=lambda: NOW)
    wanted = schedule("30 4 * * *")
    server.faults = [Fault(where, **fault, times=4)]
    try:
        create_schedule(client, wanted, clock=lambda: NOW)
    except RelrecError:
        server.faults = []
        create_schedule(client, wanted, clock=lambda: NOW)
    (run,) = stored(server)
    assert (run.trigger.cron_schedule.cron, run.status) == ("0 30 3 * * *", "ENABLED")


def test_who_asks_is_no_setting(relrec, server, monkeypatch):
    monkeypatch.setattr("pipelines.parameters.caller", lambda: "me@desk")
    relrec(*NIGHTLY)
    monkeypatch.setattr("pipelines.parameters.caller", lambda: "runner@ci-4711")
    assert "unchanged" in relrec(*NIGHTLY).out
    assert stored(server)[0].runtime_config.parameters["who"] == "me@desk"


def test_two_callers_at_once_leave_one(client, server, schedule):
    make = server.backend.create_recurring_run
    server.backend.create_recurring_run = lambda body: (make(body), make(body))[1]
    create_schedule(client, schedule(), clock=lambda: NOW)
    (run,) = stored(server)
    assert run.status == "ENABLED"


def test_what_was_not_made_is_told_as_it_is(client, server, schedule):
    server.faults = [Fault("POST /recurringruns$", drop="before")]
    with pytest.raises(KubeflowError, match="connection was lost"):
        create_schedule(client, schedule(), clock=lambda: NOW)
    assert not stored(server)


def test_another_call_that_replaces_at_the_same_time(client, server, schedule):
    """What it has removed already is no fault; only a schedule that is gone in the end is."""
    old = create_schedule(client, schedule(), clock=lambda: NOW).schedule.schedule_id
    change, backend = server.backend.set_mode, server.backend

    def removed_meanwhile(recurring_run_id, mode):
        if recurring_run_id == old:
            backend.recurring_runs.pop(old, None)
        change(recurring_run_id, mode)

    backend.set_mode = removed_meanwhile
    assert create_schedule(client, schedule("30 4 * * *"), clock=lambda: NOW).what == "replaced"
    (run,) = stored(server)
    assert run.status == "ENABLED"

    def all_removed(recurring_run_id, mode):
        change(recurring_run_id, mode)
        if mode == "ENABLE":
            backend.recurring_runs.clear()

    backend.set_mode = all_removed
    with pytest.raises(KubeflowError, match="run the command again"):
        create_schedule(client, schedule("40 4 * * *"), clock=lambda: NOW)


def test_the_clock_at_the_start_counts(schedule):
    summer = schedule(start=datetime(2027, 4, 1, tzinfo=UTC))
    cron, off_from = summer.for_cluster(NOW)
    assert cron.six_fields == "0 0 1 * * *", "three o'clock in Berlin, in April"
    assert off_from == datetime(2027, 10, 31, 1, tzinfo=UTC)
    assert summer.next_fires(NOW, 1) == [datetime(2027, 4, 1, 1, tzinfo=UTC)]
    assert schedule(end=datetime(2027, 1, 1, tzinfo=UTC)).for_cluster(NOW)[1] is None, "it ends before"


def test_pause_resume_delete(client, server, schedule):
    create_schedule(client, schedule(), clock=lambda: NOW)
    name = schedule().name
    assert pause_schedule(client, name)
    assert not pause_schedule(client, name)
    assert server.backend.fire(name, NOW) is None
    view = get_schedule(client, name, now=NOW)
    assert (view.state, view.next_fires, view.meant) == ("paused", (), "0 3 * * * in Europe/Berlin")
    assert create_schedule(client, schedule(), clock=lambda: NOW).what == "resumed"
    assert pause_schedule(client, view.schedule_id), "an ID does, too"
    assert resume_schedule(client, name)
    assert get_schedule(client, name, now=NOW).next_fires[0] == datetime(2026, 11, 22, 2, tzinfo=UTC)
    assert create_schedule(client, schedule(paused=True), clock=lambda: NOW).what == "paused"
    other = create_schedule(client, schedule("1 1 * * *", paused=True), clock=lambda: NOW)
    assert (other.what, other.schedule.state) == ("replaced", "paused")
    assert delete_schedule(client, name) == 1
    assert not stored(server)
    for act in (pause_schedule, resume_schedule, delete_schedule, get_schedule):
        with pytest.raises(KubeflowError, match="relrec schedule list"):
            act(client, name)


def test_names_are_told_apart_by_case_and_lists_are_paged(client, server, schedule, monkeypatch):
    from dataclasses import replace

    monkeypatch.setattr("pipelines.targets.kubeflow.listing.LARGEST_PAGE", 2)
    for name in ("nightly", "Nightly", "c", "d", "e"):
        wanted = schedule()
        wanted = replace(wanted, submission=replace(wanted.submission, run_name=name))
        assert create_schedule(client, wanted, clock=lambda: NOW).what == "created"
    assert [view.name for view in list_schedules(client, now=NOW)] == ["Nightly", "c", "d", "e", "nightly"]
    assert delete_schedule(client, "nightly") == 1
    assert len(stored(server)) == 4


def test_foreign_schedules_are_shown_as_they_are(client, server, submission, relrec, schedule):
    create_schedule(client, schedule(), clock=lambda: NOW)
    recurring = client.list_recurring_runs().recurring_runs[0]
    made = client.create_recurring_run(
        recurring.experiment_id, "foreign", interval_second=3600, params=dict(submission.arguments),
        pipeline_id=recurring.pipeline_version_reference.pipeline_id,
        version_id=recurring.pipeline_version_reference.pipeline_version_id)
    made = get_schedule(client, made.recurring_run_id)
    assert (made.cron, made.meant, made.next_fires) == ("every 3600 s", "", ())
    said = relrec("schedule", "list")
    assert "every 3600 s" in said.out
    assert "0 3 * * * in Europe/Berlin" in said.out


@pytest.mark.parametrize("settings", [
    {"at_once": 0}, {"at_once": 11},
    {"start": datetime(2026, 12, 2, tzinfo=UTC), "end": datetime(2026, 12, 1, tzinfo=UTC)}])
def test_bad_settings(schedule, settings):
    with pytest.raises(ConfigError):
        schedule(**settings)


def test_command_line_story(relrec, server):
    said = relrec(*NIGHTLY, "--end", "2027-06-01", "--max-concurrency", "2")
    assert said.code == 0, said.err
    assert "schedule retrain-buy created" in said.out
    assert "for the cluster 0 0" in said.out
    assert said.out.count("  fires ") == 3
    assert "the clocks change: from 2027-03" in said.err
    (run,) = stored(server)
    assert run.trigger.cron_schedule.end_time == datetime(2027, 5, 31, 22, tzinfo=UTC)
    assert run.runtime_config.parameters["as_of_required"] is True
    assert run.runtime_config.parameters["as_of"] == ""
    assert run.runtime_config.parameters["source_fingerprint"] == ""
    text = server.backend.yamls[run.pipeline_version_reference.pipeline_version_id]
    assert text.count(SCHEDULE_TIME) == 1
    assert "unchanged" in relrec(*NIGHTLY, "--end", "2027-06-01", "--max-concurrency", "2").out
    change = json.loads(relrec(*NIGHTLY, "--paused", "--output", "json").out)
    assert (change["change"], change["state"], change["cluster_timezone"]) == ("replaced", "paused", "UTC")
    assert change["next_fires"] == [], "it does not fire"
    assert "paused" in relrec("schedule", "list").out
    assert "fires again" in relrec("schedule", "resume", "retrain-buy").out
    assert "was active already" in relrec("schedule", "resume", "retrain-buy").out
    shown = relrec("schedule", "show", "retrain-buy").out
    assert "0 3 * * * in Europe/Berlin" in shown
    assert "gs://bucket/shop" in shown
    assert json.loads(relrec("schedule", "list", "--output", "json").out)[0]["state"] == "active"
    assert "is paused" in relrec("schedule", "pause", "retrain-buy").out
    assert json.loads(relrec("schedule", "delete", "retrain-buy", "--output", "json").out)["changed"]
    assert "no schedules" in relrec("schedule", "list").out
    assert relrec("schedule", "show", "retrain-buy").code == 2


def test_the_zone_of_the_cluster_may_be_told(relrec, server):
    said = relrec(*NIGHTLY, "--cluster-timezone", "Europe/Berlin")
    assert stored(server)[0].trigger.cron_schedule.cron == "0 0 3 * * *"
    assert "clocks" not in said.err


@pytest.mark.parametrize(("words", "message"), [
    (["--cron", "0 3 * *"], "five fields"), (["--timezone", "Mars/Base"], "Europe/Berlin"),
    (["--start", "soon"], "--start"), (["--start", "0001-01-01"], "--start"),
    (["--end", "2027-13-01"], "--end"), (["--start", "2027-01-02", "--end", "2027-01-01"], "after --start"),
    (["--max-concurrency", "11"], "1 to 10"), (["--name", "/"], "--name"),
    (["--dataset", "./shop"], "gcloud"),
])
def test_mistakes_are_told_before_anything_is_sent(relrec, server, words, message):
    said = relrec(*NIGHTLY, *words)
    assert said.code == 2
    assert message in said.err
    assert not server.requests


def test_dry_run_sends_nothing(relrec, server):
    plan = json.loads(relrec(*NIGHTLY, "--dry-run", "--output", "json").out)
    assert plan["cron"] == "0 3 * * *"
    assert len(plan["next_fires"]) == 3
    assert plan["parameters"]["as_of_required"] is True
    assert "nothing was sent" in relrec(*NIGHTLY, "--dry-run").out
    assert not server.requests
