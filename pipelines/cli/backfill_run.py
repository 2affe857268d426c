"""What ``relrec backfill`` does: settings to a backfill, and what a person sees of it."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from model_core.config import RunConfig, parse_overrides
from model_core.errors import ConfigError
from model_core.storage.uri import is_remote, parse_location
from pipelines.backfill.dates import LogicalDate, logical_dates
from pipelines.backfill.outcome import DateRunner, Outcome
from pipelines.backfill.page import PAGE_FILE, TABLE_FILE, row_of
from pipelines.backfill.request import Backfill, check_backfill, plan_backfill, run_backfill
from pipelines.backfill.state import STATE_FILE
from pipelines.cli.connected import Access, print_json
from pipelines.cli.rerun import command_again


@dataclass(frozen=True)
class Asked:
    """The flags of the command; see ``pipelines.cli.backfill``."""

    access: Access
    dataset: str
    task: str
    start: str
    end: str
    every: str
    model: str
    root: str | None
    registry: str | None
    settings: tuple[str, ...]
    parallel: int
    any_order: bool
    keep_going: bool
    discard_artifacts: bool
    runner: str
    containers: tuple[str, ...]
    images: Path | None
    allow_unpinned: bool
    resources: str
    experiment: str
    checkpoint_root: str
    pipeline_root: str
    service_account: str
    poll_s: float
    dry_run: bool
    as_json: bool


def backfill(asked: Asked) -> int:
    """Run a backfill and show it. Returns the exit code: 0 when every date is done.

    Raises:
        RelrecError: What can be found out before the first run.
    """
    config = parse_overrides([f"model.name={asked.model}", *asked.settings])
    dates = logical_dates(asked.start, asked.end, asked.every)
    wanted = _backfill(asked, config, dates)
    runner = _runner(asked, wanted)
    fingerprint = check_backfill(wanted)
    console = Console(highlight=False, stderr=asked.as_json)
    if asked.dry_run:
        return _show_dates(console, wanted, fingerprint, asked.as_json)
    console.print(f"[bold]backfill[/] {escape(wanted.dataset)} · {escape(wanted.task)} · {len(dates)} dates, "
                  f"{dates[0].short} to {dates[-1].short}, every {wanted.every} → {escape(str(wanted.root))}",
                  soft_wrap=True)
    screen = BackfillScreen(console, wanted)
    before = signal.signal(signal.SIGTERM, _interrupt)
    interrupted = False
    try:
        entries = run_backfill(wanted, fingerprint, runner, screen, keep_going=asked.keep_going)
    except KeyboardInterrupt:
        interrupted = True
        entries = list(plan_backfill(wanted, fingerprint)[0].of(dates))
    finally:
        signal.signal(signal.SIGTERM, before)
    show_table(console, entries)
    _show_end(console, wanted, entries)
    if asked.as_json:
        print_json({"backfill": wanted.facts, "dates": entries, "page": str(wanted.root / PAGE_FILE)})
    return 130 if interrupted else 0 if all(entry["status"] == "done" for entry in entries) else 1


def _backfill(asked: Asked, config: RunConfig, dates: tuple[LogicalDate, ...]) -> Backfill:
    place = asked.root or str(Path("runs") / Path(asked.dataset).name / asked.task / "backfill")
    if is_remote(place):
        raise ConfigError("--root", "a directory of this machine", place,
                          "pass one; models and, on a cluster, artifacts may lie in an object store")
    root = Path(parse_location(place, "--root").path).resolve()
    if asked.registry is None and asked.runner == "kubeflow":
        raise ConfigError("--registry", "the URI of the registry that the cluster writes", "none", "pass it")
    location = parse_location(asked.registry, "--registry") if asked.registry else None
    registry = (str(root / "registry") if location is None
                else str(Path(location.path).resolve()) if location.is_local else str(location))
    return Backfill(dates, asked.dataset, asked.task, root, registry, config, asked.every, asked.runner,
                    asked.parallel, asked.any_order)


def _runner(asked: Asked, wanted: Backfill) -> DateRunner:
    if wanted.runner == "kubeflow":
        from pipelines.backfill.cluster import ClusterRunner
        from pipelines.cli.submit import retraining
        from pipelines.targets.kubeflow.submit import check_reachable

        check_reachable(asked.dataset, wanted.registry, asked.checkpoint_root)
        return ClusterRunner(asked.access.load(), retraining(
            dataset=asked.dataset, task=asked.task, registry=wanted.registry, model=asked.model,
            settings=list(asked.settings), images=asked.images, allow_unpinned=asked.allow_unpinned,
            resources=asked.resources, experiment=asked.experiment, name="",
            checkpoint_root=asked.checkpoint_root, pipeline_root=asked.pipeline_root,
            service_account=asked.service_account), asked.poll_s)
    from pipelines.backfill.local import LocalRunner

    words = ["--dataset", asked.dataset, "--task", asked.task, "--model", asked.model,
             "--registry", wanted.registry, "--runner", wanted.runner]
    words += [word for pair in asked.settings for word in ("--set", pair)]
    words += [word for pair in asked.containers for word in ("--docker", pair)]
    return LocalRunner(wanted.root, tuple(words), asked.discard_artifacts)


def _interrupt(*_: object) -> None:
    """SIGTERM ends a backfill as Ctrl-C does."""
    raise KeyboardInterrupt


class BackfillScreen:
    """One line when a date starts, one when it has ended."""

    def __init__(self, console: Console, wanted: Backfill) -> None:
        self.console, self.wanted = console, wanted
        self._started, self._num_ended = time.monotonic(), 0

    def started(self, date: LogicalDate) -> None:
        self.console.print(f"[cyan]▸[/] {date.short}")

    def ended(self, date: LogicalDate, outcome: Outcome, *, num_left: int) -> None:
        self._num_ended += 1
        took = f"[dim]{outcome.seconds:.0f} s{self._left(num_left)}[/]"
        if outcome.status == "done" and outcome.result is not None:
            self.console.print(f"[green]✓[/] {date.short} {_sentence(outcome.result)} {took}", soft_wrap=True)
        elif outcome.status == "failed":
            self.console.print(f"[red]✗[/] {date.short} {took}\n    {escape(outcome.error or 'failed')}",
                               soft_wrap=True)
        else:
            self.console.print(f"[yellow]■[/] {date.short} interrupted")

    def _left(self, num_left: int) -> str:
        if not num_left:
            return ""
        seconds = (time.monotonic() - self._started) / self._num_ended * num_left
        return f"; {num_left} left, about {duration(seconds)}"


def duration(seconds: float) -> str:
    """A rough length of time for people.

    Example:
        >>> duration(40), duration(600), duration(9_000)
        ('40 s', '10 min', '2.5 h')
    """
    return (f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min" if seconds < 6_000
            else f"{seconds / 3_600:.1f} h")


def _sentence(result: Mapping[str, Any]) -> str:
    rivals = ", ".join(f"{label} {figure['mean']:.4f}" for label, figure in (
        ("champion", result["compared_champion"]), (result["baseline"]["name"], result["baseline"]),
    ) if figure)
    state = "[green]promoted[/]" if result["promoted"] else "not promoted"
    return (f"{result['version']}: {result['metric'].upper()}@{result['k']} "
            f"[bold]{result['model']['mean']:.4f}[/] ({rivals}), {state}")


def show_table(console: Console, entries: Sequence[Mapping[str, Any]]) -> None:
    """The closing table: a row per date."""
    rows = [row_of(entry) for entry in entries]
    done = next((row for row in rows if row["status"] == "done"), None)
    metric = f"{done['metric'].upper()}@{done['k']}" if done else "MAP"
    table = Table(title=f"{metric} on the newest window of each date", title_justify="left",
                  box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("date", no_wrap=True)
    table.add_column("version", no_wrap=True)
    for heading in ("model", "champion", "baseline"):
        table.add_column(heading, justify="right")
    table.add_column("promoted")
    table.add_column("s", justify="right")
    for row in rows:
        date = row["date"].removesuffix("T00:00:00Z")
        if row["status"] != "done":
            table.add_row(date, row["status"], "–", "–", "–", "–", _seconds(row["seconds"]), style="dim")
            continue
        table.add_row(date, row["version"], *(_figure(row[key]) for key in (
            "model_mean", "compared_champion_mean", "baseline_mean")),
            "yes" if row["promoted"] else "no", _seconds(row["seconds"]),
            style="bold" if row["promoted"] else "")
    console.print()
    console.print(table)


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"


def _seconds(value: float | None) -> str:
    return "–" if value is None else f"{value:,.0f}"


def _show_end(console: Console, wanted: Backfill, entries: Sequence[Mapping[str, Any]]) -> None:
    left = [entry for entry in entries if entry["status"] != "done"]
    console.print(f"plot: {escape(str(wanted.root / PAGE_FILE))}; table: {TABLE_FILE}, state: {STATE_FILE} "
                  "beside it", soft_wrap=True)
    if left:
        command = escape(command_again())
        console.print(f"{len(left)} of {len(entries)} dates are not done. To go on, run again:\n  {command}",
                      soft_wrap=True)


def _show_dates(console: Console, wanted: Backfill, fingerprint: str, as_json: bool) -> int:
    _, todo = plan_backfill(wanted, fingerprint)
    plan = [{"date": date.text, "run": date in todo} for date in wanted.dates]
    if as_json:
        print(json.dumps({"dry_run": True, "backfill": wanted.facts, "dates": plan}, indent=2))
        return 0
    for date in wanted.dates:
        console.print(f"{date.short}  {'to run' if date in todo else '[dim]done[/]'}")
    console.print(f"{len(todo)} of {len(plan)} dates to run")
    return 0
