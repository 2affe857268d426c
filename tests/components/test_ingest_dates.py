"""The first step refuses a logical date that no run can have, before it writes anything."""

import json

import pytest

from components._step import EXIT_USER_ERROR, run_step
from components.ingest.__main__ import ingest
from model_core.logical_date import date_text
from model_core.tables.demo import DEMO_TASK
from model_core.tables.snapshot import Snapshot


@pytest.fixture
def step(demo_dataset, tmp_path, capsys):
    """Runs ingest as Kubeflow does; gives its exit code and what it said on standard error."""

    def run(**parameters):
        executor_input = {
            "inputs": {"parameterValues": {"dataset": str(demo_dataset), "task": DEMO_TASK, **parameters}},
            "outputs": {"outputFile": str(tmp_path / "executor_output.json"), "artifacts": {
                name: {"artifacts": [{"uri": str(tmp_path / name), "metadata": {}}]}
                for name in ("snapshot", "profile")}},
        }
        code = run_step(ingest, ["--executor-input", json.dumps(executor_input)])
        return code, capsys.readouterr().err

    return run


@pytest.mark.parametrize(("as_of", "message"), [
    ("{{$.pipeline_job_schedule_time_utc}}", "unexpanded macro"), ("[[ScheduledTime]]", "unexpanded macro"),
    ("{{workflow.scheduledTime}}", "unexpanded macro"), ("$(date)", "unexpanded macro"),
    ("${DATE}", "unexpanded macro"), ("%DATE%", "unexpanded macro"),
    ("1970-01-01T00:00:00Z", "after 1970"), ("tomorrow", "a date"),
])
def test_what_is_no_date(step, tmp_path, as_of, message):
    code, said = step(as_of=as_of)
    assert code == EXIT_USER_ERROR
    assert message in said
    assert "Fix: " in said
    assert json.loads((tmp_path / "error.json").read_bytes())["user_fault"]
    assert not (tmp_path / "snapshot").exists()


@pytest.mark.parametrize("as_of", ["2035-01-01T00:00:00Z", "1999-12-31"])
def test_a_date_outside_the_data_says_what_the_data_allow(step, tmp_path, as_of):
    code, said = step(as_of=as_of)
    assert code == EXIT_USER_ERROR
    assert "last event + one window" in said
    assert as_of[:10] in said
    assert not (tmp_path / "snapshot").exists()


@pytest.mark.parametrize("required", [True, "true"])  # Kubeflow hands booleans over as JSON
def test_a_scheduler_that_gives_nothing(step, tmp_path, required):
    code, said = step(as_of="", as_of_required=required)
    assert code == EXIT_USER_ERROR
    assert "logical date of a scheduled run" in said
    assert not (tmp_path / "snapshot").exists()


def test_what_a_schedule_sends_is_kept_to_the_second(step, tmp_path):
    code, said = step(as_of="2023-05-20T06:30:15.25+02:00", as_of_required=True)
    assert code == 0, said
    snapshot = Snapshot.open(tmp_path / "snapshot")
    assert date_text(snapshot.as_of) == "2023-05-20T04:30:15Z"
    assert snapshot.max_time <= snapshot.as_of
    assert (snapshot.test_time, snapshot.val_time) == (
        snapshot.as_of - snapshot.task.window_s, snapshot.as_of - 2 * snapshot.task.window_s)
