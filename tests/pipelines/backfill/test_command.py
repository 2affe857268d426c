"""relrec backfill: refuses early, says what it would do, and ends with a table."""

import json

import pytest
from typer.testing import CliRunner

from model_core.errors import RelrecError
from model_core.tables.demo import DEMO_TASK
from pipelines.backfill.request import plan_backfill
from pipelines.cli.main import app
from tests.pipelines.backfill import fakes


@pytest.fixture
def relrec(demo_dataset, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "90")

    def run(*words):
        done = CliRunner().invoke(app, [
            "backfill", "retrain", "--dataset", str(demo_dataset), "--task", DEMO_TASK, "--root",
            str(tmp_path / "root"), *words])
        if isinstance(done.exception, RelrecError):
            return 2, "", str(done.exception)
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exc_info
        return done.exit_code, done.stdout, done.stderr

    return run


RANGE = ("--from", "2023-05-18", "--to", "2023-05-20")


@pytest.mark.parametrize(("words", "message"), [
    (("--from", "2035-01-01", "--to", "2035-01-02"), "last event + one window"),
    (("--from", "2020-01-01", "--to", "2023-05-20"), "first event + 3 windows"),
    ((*RANGE, "--runner", "moon"), "--runner"), ((*RANGE, "--parallel", "2"), "--any-order"),
    ((*RANGE, "--output", "xml"), "text or json"), ((*RANGE, "--task", "no-such-task"), "no-such-task"),
    ((*RANGE, "--registry", "gs://u:p@b/r"), "credentials"), ((*RANGE, "--warm-start", "hot"), "warm_start"),
])
def test_mistakes_are_told_before_the_first_run(relrec, tmp_path, words, message):
    code, _, said = relrec(*words)
    assert code == 2
    assert message in said
    assert "Fix: " in said
    assert not (tmp_path / "root").exists()


def test_dry_run_lists_what_is_left(relrec, tmp_path, monkeypatch):
    code, out, _ = relrec(*RANGE, "--dry-run")
    assert code == 0
    assert [line.split() for line in out.splitlines()] == [
        ["2023-05-18", "to", "run"], ["2023-05-19", "to", "run"], ["2023-05-20", "to", "run"],
        ["3", "of", "3", "dates", "to", "run"]]
    assert not (tmp_path / "root").exists()
    monkeypatch.setattr("pipelines.cli.backfill_run.plan_backfill",
                        lambda *args: (None, plan_backfill(*args)[1][1:]))
    plan = json.loads(relrec(*RANGE, "--dry-run", "--output", "json")[1])
    assert [entry["run"] for entry in plan["dates"]] == [False, True, True]
    assert plan["backfill"]["config"]["train"]["warm_start"] == "none"


@pytest.fixture
def faked(monkeypatch):
    """Outcomes are made up; gives the words that the runs would have had."""
    asked = []

    def local(root, arguments, discard):
        asked.append((arguments, discard))
        return fakes.FakeRunner(str(root / "registry"), fails={"20230519"} if len(asked) == 1 else ())

    monkeypatch.setattr("pipelines.backfill.local.LocalRunner", local)
    return asked


def test_progress_table_and_exit_code(relrec, faked, tmp_path):
    code, out, _ = relrec(*RANGE, "--keep-going", "--warm-start", "champion", "--discard-artifacts")
    assert code == 1
    assert "✓ 2023-05-18 20230518-" in out
    assert "✗ 2023-05-19" in out
    assert "the loss is not finite" in out
    assert "1 of 3 dates are not done. To go on, run again" in out
    arguments, discard = faked[0]
    assert arguments[-2:] == ("--set", "train.warm_start=champion")
    assert discard
    code, out, err = relrec(*RANGE, "--warm-start", "champion", "--output", "json")
    assert code == 0
    assert [entry["status"] for entry in json.loads(out)["dates"]] == ["done"] * 3
    assert "✓ 2023-05-19" in err
    assert "2023-05-18 20230518" not in err, "what is done is not run again"
