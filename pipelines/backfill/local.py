"""Run a date on this machine: ``relrec run retrain`` as a process of its own.

A process of its own gives its memory back, and can be repeated by hand with the command
that its log begins with.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any

from pipelines.backfill.dates import LogicalDate
from pipelines.backfill.outcome import Outcome, figures_of

LOG, SUMMARY = "run.log", "result.json"
#: What stays of a date whose artifacts are discarded.
KEPT = frozenset({LOG, SUMMARY, "summary.json", "plan.json", "report.html"})

_POLL_S = 0.1
#: A step that is asked to end saves its state first.
_GRACE_S = 60.0


@dataclass(frozen=True)
class LocalRunner:
    """Starts one process per date.

    Attributes:
        root: Each date has a folder in it.
        arguments: Of ``relrec run retrain``, but for those that follow from the date.
        discard_artifacts: Remove a date's artifacts when it is done; its model is in the registry.
        program: The command line of relrec.
    """

    root: Path
    arguments: tuple[str, ...]
    discard_artifacts: bool = False
    program: tuple[str, ...] = (sys.executable, "-m", "pipelines.cli.main")

    def run(self, date: LogicalDate, earlier: Mapping[str, Any], stop: Event,
            note: Callable[[Mapping[str, str]], None]) -> Outcome:
        """Run one date. See ``DateRunner``."""
        folder = self.root / date.name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / SUMMARY).unlink(missing_ok=True)
        words = ["run", "retrain", *self.arguments, "--as-of", date.text, "--root", str(folder),
                 "--json", str(folder / SUMMARY)]
        started = time.monotonic()
        with open(folder / LOG, "wb") as log:
            log.write(f"relrec {shlex.join(words)}\n".encode())
            log.flush()
            # In a session of its own Ctrl-C does not reach it; it is asked to end in good order.
            process = subprocess.Popen([*self.program, *words], stdin=subprocess.DEVNULL, stdout=log,
                                       stderr=subprocess.STDOUT, start_new_session=True)
            code = _wait(process, stop)
        seconds = time.monotonic() - started
        if stop.is_set() and code != 0:
            return Outcome("interrupted", seconds)
        if code != 0:
            return Outcome("failed", seconds, error=f"{_why(folder)} (log: {folder / LOG})")
        result = _result(json.loads((folder / SUMMARY).read_bytes()))
        if self.discard_artifacts:
            _discard(folder)
        return Outcome("done", seconds, result)


def _wait(process: subprocess.Popen, stop: Event) -> int:
    asked_at: float | None = None
    while True:
        try:
            return process.wait(_POLL_S)
        except subprocess.TimeoutExpired:
            if stop.is_set() and asked_at is None:
                process.terminate()
                asked_at = time.monotonic()
            elif asked_at is not None and time.monotonic() - asked_at > _GRACE_S:
                os.killpg(process.pid, signal.SIGKILL)


def _why(folder: Path) -> str:
    """What a run said of its failure: in its summary, or as the last line where it did not get so far."""
    try:
        error = json.loads((folder / SUMMARY).read_bytes())["error"]
        return f"{error['step']}: {error['message']}"
    except (OSError, ValueError, KeyError, TypeError):
        lines = (folder / LOG).read_text(errors="replace").strip().splitlines()
        told = [line for line in lines if line.startswith("error: ")]
        return (told or lines)[-1].removeprefix("error: ")


def _result(summary: Mapping[str, Any]) -> dict[str, Any]:
    train: Mapping[str, Any] = next((step for step in summary["steps"] if step["name"] == "train"), {})
    return figures_of(summary["metrics"], summary["verdict"], summary["publication"]) | {
        "train_s": train.get("wall_s"), "epochs": summary.get("epochs_done")}


def _discard(folder: Path) -> None:
    for path in folder.iterdir():
        if path.name not in KEPT:
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
