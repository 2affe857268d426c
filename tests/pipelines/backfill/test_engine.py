"""A backfill runs in order, goes on where it ended, and never takes the old for the new."""

import json
import os
import signal
import threading

import pytest

from model_core.config import parse_overrides
from model_core.errors import ConfigError
from pipelines.backfill.dates import logical_dates
from pipelines.backfill.page import PAGE_FILE, TABLE_FILE
from pipelines.backfill.request import plan_backfill, run_backfill
from pipelines.backfill.state import STATE_FILE
from pipelines.runs import lock_root
from tests.pipelines.backfill.fakes import FakeRunner, Told, backfill_of

DATES = logical_dates("2011-11-21", "2011-11-25")
NAMES = [date.name for date in DATES]


def run(backfill, runner, *, fingerprint="f", **kwargs):
    told = Told()
    entries = run_backfill(backfill, fingerprint, runner, told, **kwargs)
    return [entry["status"] for entry in entries], told.lines


@pytest.fixture
def backfill(tmp_path):
    return backfill_of(tmp_path / "root", DATES)


def test_dates_run_in_order_and_are_then_skipped(backfill):
    runner = FakeRunner(backfill.registry)
    statuses, lines = run(backfill, runner)
    assert statuses == ["done"] * 5
    assert runner.ran == NAMES
    assert runner.most_at_once == 1
    assert lines[:3] == [("start", NAMES[0]), ("done", NAMES[0], 4), ("start", NAMES[1])]
    again = FakeRunner(backfill.registry)
    assert run(backfill, again) == (["done"] * 5, [])
    assert again.ran == []
    state = json.loads((backfill.root / STATE_FILE).read_bytes())
    assert [entry["result"]["version"][:8] for entry in state["dates"]] == NAMES
    assert len(again.registry.history()) == 5


def test_other_settings_data_or_registry_are_another_backfill(backfill, tmp_path):
    run(backfill, FakeRunner(backfill.registry))
    for changed, fingerprint in (
        (backfill_of(backfill.root, DATES, config=parse_overrides(["train.seed=1"])), "f"),
        (backfill, "other data"), (backfill_of(backfill.root, DATES, task="sell"), "f"),
        (backfill_of(backfill.root, DATES, registry=str(tmp_path / "elsewhere")), "f"),
    ):
        assert plan_backfill(changed, fingerprint)[1] == list(DATES)
    assert plan_backfill(backfill, "f")[1] == []


def test_changed_code_is_another_backfill(backfill, monkeypatch):
    run(backfill, FakeRunner(backfill.registry))
    monkeypatch.setattr("pipelines.backfill.state.code_digest", lambda: "new code")
    assert plan_backfill(backfill, "f")[1] == list(DATES)


def test_a_longer_range_runs_what_is_new(backfill):
    run(backfill, FakeRunner(backfill.registry))
    longer = backfill_of(backfill.root, logical_dates("2011-11-20", "2011-11-26"))
    runner = FakeRunner(backfill.registry)
    assert run(longer, runner)[0] == ["done"] * 7
    assert runner.ran == ["20111120", "20111126"]


def test_a_version_that_is_gone_is_made_again(backfill):
    runner = FakeRunner(backfill.registry)
    run(backfill, runner)
    victim = next(name for name in runner.registry.versions() if name.startswith("20111123"))
    runner.registry.store.delete(f"versions/{victim}/version.json")
    assert [date.name for date in plan_backfill(backfill, "f")[1]] == ["20111123"]


def test_the_first_failure_ends_it_and_the_next_call_tries_it_again(backfill):
    runner = FakeRunner(backfill.registry, fails={"20111123"})
    statuses, lines = run(backfill, runner)
    assert statuses == ["done", "done", "failed", "pending", "pending"]
    assert lines[-1][:2] == ("failed", "20111123")
    again = FakeRunner(backfill.registry)
    assert run(backfill, again)[0] == ["done"] * 5
    assert again.ran == NAMES[2:]
    entry = json.loads((backfill.root / STATE_FILE).read_bytes())["dates"][2]
    assert entry["attempts"] == 2
    assert entry["error"] is None


def test_keep_going(backfill):
    runner = FakeRunner(backfill.registry, fails={"20111122", "20111123"})
    assert run(backfill, runner, keep_going=True)[0] == ["done", "failed", "failed", "done", "done"]
    text = (backfill.root / TABLE_FILE).read_text()
    assert "2011-11-22T00:00:00Z,failed" in text
    assert "the loss is not finite" in (backfill.root / PAGE_FILE).read_text()


def test_page_and_table_grow_with_every_date(backfill):
    done = []

    class Looks(Told):
        def ended(self, date, outcome, *, num_left):
            done.append((backfill.root / TABLE_FILE).read_text().count(",done"))

    run_backfill(backfill, "f", FakeRunner(backfill.registry), Looks())
    assert done == [1, 2, 3, 4, 5]


def test_some_at_once(tmp_path):
    backfill = backfill_of(tmp_path, DATES, parallel=3, any_order=True)
    runner = FakeRunner(backfill.registry)
    assert run(backfill, runner)[0] == ["done"] * 5
    assert sorted(runner.ran) == NAMES


def test_order_matters_unless_nothing_is_promoted(tmp_path):
    with pytest.raises(ConfigError, match="--no-promote"):
        backfill_of(tmp_path, DATES, parallel=2)
    backfill_of(tmp_path, DATES, parallel=2, any_order=True)
    backfill_of(tmp_path, DATES, parallel=2, config=parse_overrides(["gate.promote=false"]))


def test_an_interruption_is_noted_and_the_next_call_goes_on(backfill):
    runner = FakeRunner(backfill.registry, blocks={"20111122"})

    def interrupt():
        assert runner.blocked.wait(20)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        run(backfill, runner)
    thread.join()
    statuses = [entry["status"] for entry in json.loads((backfill.root / STATE_FILE).read_bytes())["dates"]]
    assert statuses == ["done", "interrupted"]
    assert (backfill.root / PAGE_FILE).is_file()
    again = FakeRunner(backfill.registry)
    assert run(backfill, again)[0] == ["done"] * 5
    assert again.ran == NAMES[1:]


def test_a_killed_backfill_goes_on(backfill):
    """The state says that a date runs; whoever said it is gone."""
    state, _ = plan_backfill(backfill, "f")
    state.begin(DATES[0], {"run_id": "r"})
    assert plan_backfill(backfill, "f")[1] == list(DATES)
    assert plan_backfill(backfill, "f")[0].entry(DATES[0])["run"] == {"run_id": "r"}


def test_two_backfills_do_not_share_a_root(backfill):
    with lock_root(backfill.root), pytest.raises(ConfigError, match="no other run"):
        run(backfill, FakeRunner(backfill.registry))


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"state_version": 99, "dates": []}'])
def test_a_foreign_state_is_refused_and_left_alone(backfill, content):
    backfill.root.mkdir()
    (backfill.root / STATE_FILE).write_text(content)
    with pytest.raises(ConfigError, match="another --root"):
        run(backfill, FakeRunner(backfill.registry))
    assert (backfill.root / STATE_FILE).read_text() == content
