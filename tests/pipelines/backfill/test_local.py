"""A date on this machine is relrec run in a process of its own."""

import json
import sys
import threading
from pathlib import Path

import pytest

from pipelines.backfill.dates import logical_dates
from pipelines.backfill.local import KEPT, LOG, LocalRunner
from tests.pipelines.backfill.fakes import VERDICT, metrics_of

(DATE,) = logical_dates("2011-11-25", "2011-11-25")

# Stands in for relrec: writes what it was asked for as its summary, or does as its first word says.
PROGRAM = """
import json, pathlib, signal, sys, time
mode, *words = sys.argv[1:]
flags = dict(zip(words[2::2], words[3::2]))
root = pathlib.Path(flags["--root"])
(root / "retrain-1" / "train").mkdir(parents=True)
(root / "retrain-1" / "train" / "weights").write_text("big")
summary = json.loads(SUMMARY)
if mode == "wait":
    signal.signal(signal.SIGTERM, lambda *_: (root.joinpath("asked").touch(), sys.exit(130)))
    print("waiting", flush=True)
    time.sleep(60)
if mode == "refuse":
    print("error: --set train.epoch=1: expected another key. Fix: use it.", file=sys.stderr)
    sys.exit(2)
if mode == "fail":
    summary |= {"status": "failed", "error": {"step": "train", "message": "loss is nan"}}
(root / "summary.json").write_text(json.dumps(flags))
(root / "result.json").write_text(json.dumps(summary))
sys.exit(mode == "fail")
"""


def runner(root: Path, mode: str, **kwargs) -> LocalRunner:
    summary = {"metrics": metrics_of(0.3, champion=0.25), "verdict": VERDICT | {"champion": "20111124-a"},
               "publication": {"version": "20111125-b", "promoted": True, "champion": "20111125-b",
                               "reason": "better"},
               "steps": [{"name": "train", "wall_s": 4.5}], "epochs_done": 3}
    program = PROGRAM.replace("SUMMARY", repr(json.dumps(summary)))
    return LocalRunner(root, ("--dataset", "shop"), program=(sys.executable, "-c", program, mode), **kwargs)


def run(started: LocalRunner, stop: threading.Event | None = None):
    return started.run(DATE, {}, stop or threading.Event(), lambda run: None)


def test_figures_are_those_of_the_summary(tmp_path):
    outcome = run(runner(tmp_path, "good"))
    assert (outcome.status, outcome.error) == ("done", None)
    assert outcome.result["model"] == {"name": "contextgnn", "mean": 0.3, "ci_low": pytest.approx(0.25),
                                       "ci_high": pytest.approx(0.35)}
    assert outcome.result["compared_champion"]["name"] == "20111124-a"
    assert outcome.result["compared_champion"]["mean"] == 0.25
    assert outcome.result["baseline"]["name"] == "blend"
    assert (outcome.result["version"], outcome.result["train_s"], outcome.result["epochs"]) == (
        "20111125-b", 4.5, 3)


def test_every_date_has_its_root_and_says_how_to_repeat_it(tmp_path):
    run(runner(tmp_path, "good"))
    flags = json.loads((tmp_path / DATE.name / "summary.json").read_bytes())
    assert flags["--as-of"] == "2011-11-25T00:00:00Z"
    assert flags["--root"] == str(tmp_path / "20111125")
    first = (tmp_path / DATE.name / LOG).read_text().splitlines()[0]
    assert first.startswith("relrec run retrain --dataset shop --as-of 2011-11-25T00:00:00Z --root ")


@pytest.mark.parametrize(("mode", "message"), [
    ("fail", "train: loss is nan"), ("refuse", "--set train.epoch=1: expected another key. Fix: use it.")])
def test_a_failure_says_why_and_where_the_log_is(tmp_path, mode, message):
    outcome = run(runner(tmp_path, mode))
    assert outcome.status == "failed"
    assert outcome.error == f"{message} (log: {tmp_path / DATE.name / LOG})"


def test_an_old_summary_is_not_taken_for_this_run(tmp_path):
    run(runner(tmp_path / "a", "good"))
    (tmp_path / "a" / DATE.name / "retrain-1").rename(tmp_path / "a" / DATE.name / "retrain-0")
    assert "train.epoch=1" in run(runner(tmp_path / "a", "refuse")).error


def test_artifacts_can_be_discarded(tmp_path):
    run(runner(tmp_path / "all", "good"))
    run(runner(tmp_path / "few", "good", discard_artifacts=True))
    assert (tmp_path / "all" / DATE.name / "retrain-1" / "train" / "weights").is_file()
    assert {path.name for path in (tmp_path / "few" / DATE.name).iterdir()} <= KEPT
    run(runner(tmp_path / "failed", "fail", discard_artifacts=True))
    assert (tmp_path / "failed" / DATE.name / "retrain-1").is_dir(), "needed to resume"


def test_stopping_asks_the_run_to_end_in_good_order(tmp_path):
    stop, log = threading.Event(), tmp_path / DATE.name / LOG

    def stop_when_it_waits():
        while not log.is_file() or "waiting" not in log.read_text():
            stop.wait(0.02)
        stop.set()

    thread = threading.Thread(target=stop_when_it_waits)
    thread.start()
    outcome = run(runner(tmp_path, "wait"), stop)
    thread.join()
    assert outcome.status == "interrupted"
    assert (tmp_path / DATE.name / "asked").exists()


def test_the_real_command_takes_these_flags(tmp_path):
    started = LocalRunner(tmp_path, ("--dataset", "./nowhere", "--task", "buy", "--model", "two_tower",
                                     "--registry", str(tmp_path / "registry"), "--runner", "process",
                                     "--set", "train.epochs=1"))
    outcome = run(started)
    assert outcome.status == "failed"
    assert "nowhere" in outcome.error
    assert "Fix: " in outcome.error
