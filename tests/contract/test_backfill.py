"""A backfill against a cluster: one run per date, followed, never started twice."""

import json
import threading
from pathlib import Path

import pytest

from model_core.config import RunConfig
from model_core.logical_date import date_name, parse_as_of
from model_core.records import write_record
from model_core.storage.registry import Registry
from pipelines.backfill.cluster import ClusterRunner
from pipelines.backfill.dates import logical_dates
from pipelines.compiling import LOCAL_IMAGES
from pipelines.targets.following import follow
from pipelines.targets.kubeflow.retraining import Retraining
from tests.contract.kfp_server import Fault
from tests.pipelines.backfill.fakes import VERDICT, metrics_of

DATES = logical_dates("2026-11-20", "2026-11-22")


@pytest.fixture
def cluster(server, tmp_path):
    """Every new run publishes, as its last step would, and succeeds; dates named in ``fails`` do not."""
    fails: set[str] = set()
    stays: set[str] = set()
    make = server.backend.create_run

    def create_run(body):
        run = make(body)
        parameters = run.runtime_config.parameters
        date = date_name(parse_as_of(parameters["as_of"]))

        def publish():
            folder = tmp_path / "bundles" / date
            registry = Registry(parameters["registry"])
            with write_record(folder, registry.kind, registry.schema_version) as (inside, _):
                (inside / "model.onnx").write_text(date)
            registry.publish(folder, verdict=VERDICT, logical_date=parameters["as_of"], now=1, run_info={
                "run_name": parameters["run_name"],
                "figures": [row for row in metrics_of(0.3) if row["k"] == 10 and row["split"] == "test"]})
            server.backend.set_step(run.run_id, "train", "SUCCEEDED")
            server.backend.set_run(run.run_id, "SUCCEEDED")

        def fail():
            server.backend.set_step(run.run_id, "train", "FAILED", error="the loss is not finite")
            server.backend.set_run(run.run_id, "FAILED")

        last = fail if date in fails else publish
        server.backend.play(run.run_id, lambda: server.backend.set_run(run.run_id, "RUNNING"),
                            *(() if date in stays else (last,)))
        return run

    server.backend.create_run = create_run
    server.backend.fails, server.backend.stays = fails, stays
    return server.backend


@pytest.fixture
def backfill(relrec, gcs_uri, tmp_path):
    def run(*more):
        return relrec("backfill", "retrain", "--runner", "kubeflow", "--dataset", "gs://bucket/shop",
                      "--task", "buy", "--registry", f"{gcs_uri}/registry", "--from", DATES[0].text,
                      "--to", DATES[-1].text, "--root", tmp_path / "root", "--allow-unpinned",
                      "--poll", "0.05", *more)

    return run


def test_a_run_per_date_and_none_a_second_time(backfill, cluster, tmp_path):
    done = backfill()
    assert done.code == 0, (done.out, done.err)
    runs = list(cluster.runs.values())
    assert [run.display_name for run in runs] == [f"retrain-buy-{date.name}" for date in DATES]
    assert [run.runtime_config.parameters["as_of"] for run in runs] == [date.text for date in DATES]
    entries = json.loads((tmp_path / "root" / "backfill.json").read_bytes())["dates"]
    assert [entry["run"]["run_id"] for entry in entries] == list(cluster.runs)
    for date, entry in zip(DATES, entries, strict=True):
        result = entry["result"]
        assert result["version"].startswith(date.name)
        assert result["promoted"]
        assert (result["model"]["mean"], result["baseline"]["name"]) == (0.3, "blend")
    assert "0.3000" in (tmp_path / "root" / "backfill.html").read_text()
    again = backfill("--output", "json")
    assert again.code == 0
    assert [entry["status"] for entry in json.loads(again.out)["dates"]] == ["done"] * 3
    assert len(cluster.runs) == 3


def test_a_failed_run_is_told_and_started_anew(backfill, cluster):
    cluster.fails.add(DATES[1].name)
    failed = backfill()
    assert failed.code == 1
    assert "train: the loss is not finite" in failed.out
    assert "1 left" in failed.out or "not done" in failed.out
    assert len(cluster.runs) == 2, "the third was not started"
    cluster.fails.clear()
    assert backfill().code == 0
    assert len(cluster.runs) == 4


@pytest.fixture
def runner(client, monkeypatch, gcs_uri, relrec):
    retraining = Retraining("gs://bucket/shop", "buy", f"{gcs_uri}/registry", RunConfig(), LOCAL_IMAGES)
    return ClusterRunner(client.connection, retraining, poll_s=0.05)


def test_ending_the_backfill_leaves_the_run_and_the_next_call_follows_it(runner, cluster):
    cluster.stays.add(DATES[0].name)
    stop, noted = threading.Event(), []

    def note(run):
        noted.append(run)
        stop.set()

    outcome = runner.run(DATES[0], {}, stop, note)
    assert outcome.status == "interrupted"
    (run_id,) = cluster.runs
    assert noted == [outcome.run]
    assert outcome.run["run_id"] == run_id
    assert cluster.runs[run_id].state != "CANCELING"
    cluster.play(run_id, lambda: None, lambda: cluster.set_run(run_id, "FAILED", error="the node is gone"))
    outcome = runner.run(DATES[0], {"status": "interrupted", "run": outcome.run}, threading.Event(), note)
    assert list(cluster.runs) == [run_id]
    assert outcome.status == "failed"
    assert "the node is gone" in outcome.error


def test_a_server_that_stays_away_makes_no_run_forgotten(runner, server, cluster, monkeypatch):
    cluster.stays.add(DATES[0].name)
    monkeypatch.setattr("pipelines.targets.following.follow.__kwdefaults__", {
        **follow.__kwdefaults__, "patience_s": 0.0})
    server.faults = [Fault("GET /runs/", status=503, times=None)]
    lost = runner.run(DATES[0], {}, threading.Event(), lambda run: None)
    (run_id,) = cluster.runs
    assert (lost.status, lost.run["run_id"]) == ("failed", run_id)
    server.faults = [Fault("GET /healthz", status=503, times=None)]
    entry = {"status": lost.status, "run": lost.run}
    lost = runner.run(DATES[0], entry, threading.Event(), lambda run: None)
    assert (lost.status, lost.run["run_id"]) == ("failed", run_id)
    server.faults = []
    cluster.play(run_id, lambda: None, lambda: cluster.set_run(run_id, "FAILED", error="the node is gone"))
    assert "the node is gone" in runner.run(DATES[0], entry, threading.Event(), lambda run: None).error
    assert list(cluster.runs) == [run_id], "followed, not started again"


@pytest.mark.parametrize("fault", [{"html": True}, {"status": 403}])
def test_a_run_that_cannot_be_seen_is_not_started_again(runner, server, cluster, fault):
    cluster.stays.add(DATES[0].name)
    stop = threading.Event()
    left = runner.run(DATES[0], {}, stop, lambda run: stop.set())
    server.faults = [Fault("GET /runs/", **fault)]
    entry = {"status": left.status, "run": left.run}
    again = threading.Event()
    outcome = runner.run(DATES[0], entry, again, lambda run: again.set())
    assert (outcome.status, outcome.run) == ("failed", left.run)
    assert len(cluster.runs) == 1
    del cluster.runs[left.run["run_id"]]  # this one is gone
    assert runner.run(DATES[0], entry, stop, lambda run: None).run["run_id"] in cluster.runs


def test_how_to_go_on_holds_no_secret(backfill, cluster, monkeypatch):
    cluster.fails.add(DATES[0].name)
    words = ["backfill", "--token-command", "print --password hidden-9", "--docker=env=KEY=hidden-9",
             "--docker", "env=NAME=hidden-9", "--docker", "env=NAME", "--token-command=hidden-9",
             "--task", "buy"]
    monkeypatch.setattr("sys.argv", ["relrec", *words])
    said = backfill()
    assert "hidden-9" not in said.out + said.err
    assert ("relrec backfill --token-command HIDDEN --docker=env=KEY=HIDDEN --docker env=NAME=HIDDEN "
            "--docker env=NAME --token-command=HIDDEN --task buy") in said.out


def test_some_at_once(backfill, cluster):
    done = backfill("--parallel", "3", "--no-promote", "--output", "json")
    assert done.code == 0, (done.out, done.err)
    assert [entry["status"] for entry in json.loads(done.out)["dates"]] == ["done"] * 3
    assert [done.err.count(f"✓ {date.short}") for date in DATES] == [1, 1, 1]
    assert len(cluster.runs) == 3


def test_a_run_that_wrote_elsewhere_is_no_success(runner, cluster):
    cluster.stays.add(DATES[0].name)
    make = cluster.create_run

    def create_run(body):
        run = make(body)
        cluster.play(run.run_id, lambda: cluster.set_run(run.run_id, "SUCCEEDED"))
        return run

    cluster.create_run = create_run
    outcome = runner.run(DATES[0], {}, threading.Event(), lambda run: None)
    assert outcome.status == "failed"
    assert "a version of the run retrain-buy-20261120" in outcome.error


@pytest.mark.parametrize(("flags", "message"), [
    (("--registry", "/tmp/here"), "--registry"), (("--dataset", "./shop"), "--dataset"),
    (("--from", "2026-11-23"), "exchange"), (("--every", "1mo"), "4w"), (("--parallel", "2"), "--no-promote"),
    (("--root", "gs://b/r"), "--root"), (("--set", "train.epoch=1"), "'epochs'"),
])
def test_mistakes_are_told_before_anything_is_sent(backfill, cluster, flags, message):
    said = backfill(*flags)
    assert said.code == 2
    assert message in said.err
    assert not cluster.runs


def test_dry_run(backfill, cluster, tmp_path):
    plan = json.loads(backfill("--dry-run", "--output", "json").out)
    assert [entry["run"] for entry in plan["dates"]] == [True] * 3
    assert not cluster.runs
    assert not Path(tmp_path / "root").exists()
