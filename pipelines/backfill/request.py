"""A backfill, from what was asked for to its results."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model_core.config import RunConfig
from model_core.errors import ConfigError
from model_core.storage.registry import Registry
from pipelines.backfill.dates import LogicalDate
from pipelines.backfill.engine import Listener, run_dates
from pipelines.backfill.outcome import DateRunner, Outcome
from pipelines.backfill.page import write_results
from pipelines.backfill.state import STATE_FILE, BackfillState, run_key
from pipelines.runs import lock_root

RUNNERS = ("process", "docker", "kubeflow")


@dataclass(frozen=True)
class Backfill:
    """What to run.

    Attributes:
        dates: The logical dates, oldest first.
        dataset, task: The data.
        root: Directory of the state, the results and a folder per date.
        registry: Directory or URI of the registry that all runs share.
        config: All settings.
        every: Distance of the dates as text, for people.
        runner: Where: ``process``, ``docker`` or ``kubeflow``.
        parallel: Runs at once.
        any_order: The user accepts that the champion each run meets depends on which ended first.
    """

    dates: tuple[LogicalDate, ...]
    dataset: str
    task: str
    root: Path
    registry: str
    config: RunConfig
    every: str
    runner: str = "process"
    parallel: int = 1
    any_order: bool = False

    def __post_init__(self) -> None:
        if self.runner not in RUNNERS:
            raise ConfigError("--runner", f"one of {list(RUNNERS)}", repr(self.runner), "use a known runner")
        if self.parallel > 1 and self.config.gate.promote and not self.any_order:
            raise ConfigError(
                "--parallel", "1, because each date meets the champion that earlier dates left",
                str(self.parallel),
                "pass --no-promote, so that all dates meet the same champion, or --any-order if the champion "
                "may be whichever is there")

    @property
    def facts(self) -> dict[str, Any]:
        """What the state and the page say of it."""
        return {
            "pipeline": "retrain", "dataset": self.dataset, "task": self.task,
            "model": self.config.model.name, "first": self.dates[0].text, "last": self.dates[-1].text,
            "every": self.every, "registry": self.registry, "runner": self.runner,
            "parallel": self.parallel, "config": self.config.model_dump(mode="json"),
        }


def check_backfill(backfill: Backfill) -> str:
    """Find out before the first run what would end every one of them.

    Returns:
        The fingerprint of the source.

    Raises:
        ConfigError: A date outside the data, or a registry that cannot be written.
        DataError: No such dataset or task.
    """
    from model_core.tables.fingerprint import source_fingerprint
    from model_core.tables.logical_dates import check_logical_dates

    fingerprint = source_fingerprint(backfill.dataset, backfill.task)
    if backfill.runner != "kubeflow":  # there the data need not be fetched to this machine
        check_logical_dates(backfill.dataset, backfill.task,
                            [backfill.dates[0].seconds, backfill.dates[-1].seconds])
    return fingerprint


def plan_backfill(backfill: Backfill, fingerprint: str) -> tuple[BackfillState, list[LogicalDate]]:
    """The state as it is, and the dates that still need a run."""
    key = run_key(backfill.config, backfill.task, fingerprint, backfill.registry)
    state = BackfillState(backfill.root / STATE_FILE, key, backfill.facts)
    registry = Registry(backfill.registry)
    return state, [date for date in backfill.dates if not state.is_done(date, registry)]


def run_backfill(
    backfill: Backfill, fingerprint: str, runner: DateRunner, listener: Listener, *, keep_going: bool = False
) -> list[Mapping[str, Any]]:
    """Run what is not done yet; page and table are written as each date ends.

    Args:
        backfill: What to run.
        fingerprint: As from ``check_backfill``.
        runner: Runs one date.
        listener: Told of progress.
        keep_going: Go on after a failure.

    Returns:
        The entry of every date.

    Raises:
        ConfigError: Another backfill uses the root.
        KeyboardInterrupt: The user ended it; a repeated call goes on.
    """
    with lock_root(backfill.root):
        state, todo = plan_backfill(backfill, fingerprint)
        state.write()

        def write() -> None:
            write_results(backfill.root, backfill.facts, state.of(backfill.dates))

        listener = _Writing(listener, write)
        try:
            again = backfill.parallel > 1 and backfill.config.gate.promote
            run_dates(todo, runner, state, listener, parallel=backfill.parallel,
                      keep_going=keep_going or again)
            if again:
                # A date whose champion another one replaced meanwhile had to give up.
                lost = [date for date in todo if state.entry(date)["status"] == "failed"]
                run_dates(lost, runner, state, listener, keep_going=keep_going)
        finally:
            write()
    return list(state.of(backfill.dates))


@dataclass(frozen=True)
class _Writing:
    """Writes the results before it passes on that a date has ended."""

    told: Listener
    write: Callable[[], None]

    def started(self, date: LogicalDate) -> None:
        self.told.started(date)

    def ended(self, date: LogicalDate, outcome: Outcome, *, num_left: int) -> None:
        self.write()
        self.told.ended(date, outcome, num_left=num_left)
