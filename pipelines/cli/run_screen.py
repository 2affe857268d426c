"""What a person sees of runs on a cluster."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from pipelines.cli.connected import Access, print_json, short, tell_lost, utc
from pipelines.targets.following import follow
from pipelines.targets.kubeflow.client import Client
from pipelines.targets.kubeflow.retraining import Retraining, submission_of
from pipelines.targets.kubeflow.runs import RunView, StepView, get_run
from pipelines.targets.kubeflow.submit import submit

if TYPE_CHECKING:
    from pipelines.targets.kubeflow.pipeline_versions import PipelineVersion

_MARKS = {"succeeded": "[green]✓[/]", "cached": "[green]✓[/]", "failed": "[red]✗[/]", "running": "[cyan]▸[/]",
          "cancelled": "[yellow]■[/]", "cancelling": "[yellow]■[/]", "skipped": "[dim]–[/]"}


def submit_and_show(
    access: Access, wanted: Retraining, *, wait: bool, poll_s: float, dry_run: bool, as_json: bool
) -> int:
    """Submit a retraining and show it. Returns the exit code.

    Raises:
        RelrecError: A bad setting, or the cluster cannot be reached.
    """
    console = Console(highlight=False)
    host = access.load().host  # before the data, which may be far away
    submission = submission_of(wanted)
    if dry_run:
        if as_json:
            print_json({"host": host, "dry_run": True, **submission.to_json()})
        else:
            _show_plan(console, host, submission.to_json())
        return 0
    client = access.connect()
    if not as_json:
        console.print(f"[bold]retrain[/] {escape(wanted.dataset)} · {escape(wanted.task)} → "
                      f"{escape(host)}", soft_wrap=True)
    submitted = submit(client, submission)
    run = submitted.run
    if not as_json:
        show_version(console, submitted.version)
        console.print(f"run [bold]{escape(run.name)}[/] {run.run_id}", soft_wrap=True)
        console.print(escape(run.link), soft_wrap=True)
    code = 0
    if wait:
        run, code = wait_and_show(console, client, run.run_id, poll_s=poll_s, quiet=as_json)
    if as_json:
        version = submitted.version
        print_json(run_json(run) | {"pipeline": version.pipeline, "pipeline_id": version.pipeline_id,
                                    "version": version.name, "version_id": version.version_id,
                                    "uploaded": version.uploaded})
    return code


def _show_plan(console: Console, host: str, plan: dict[str, Any]) -> None:
    console.print(f"would send to {escape(host)}:", soft_wrap=True)
    table = Table(box=None, show_header=False, pad_edge=False)
    rows = [(key.replace("_", " "), value) for key, value in plan.items() if key != "parameters"]
    rows += [(f"  {key}", value) for key, value in plan["parameters"].items()]
    for key, value in rows:
        if value not in (None, ""):
            table.add_row(key, escape(str(value)))
    console.print(table)
    console.print("nothing was sent")


def show_version(console: Console, version: PipelineVersion) -> None:
    """Which version of the pipeline is used."""
    state = "uploaded" if version.uploaded else "already there"
    console.print(f"pipeline {escape(version.pipeline)}, version {version.name} [dim]{state}[/]")


def wait_and_show(
    console: Console, client: Client, run_id: str, *, poll_s: float, quiet: bool = False
) -> tuple[RunView, int]:
    """Follow a run: a table that changes on a terminal, a line per change elsewhere.

    Returns:
        The run at its end, and the exit code: 0 if it succeeded, 1 if not, 130 after Ctrl-C.
    """
    run: RunView | None = None
    views = follow(lambda: get_run(client, run_id), poll_s=poll_s, lost=tell_lost)
    try:
        if quiet:
            (run,) = deque(views, maxlen=1)
        elif console.is_terminal:
            with Live(console=console, refresh_per_second=4) as live:
                for run in views:
                    below = () if run.ended else (_run_line(run),)
                    live.update(Group(*_step_lines(run.steps), *below))
        else:
            run = _print_changes(console, views)
    except KeyboardInterrupt:
        typer.echo(f"stopped waiting; the run goes on. See: relrec runs show {run_id}, or end it with "
                   f"relrec runs cancel {run_id}", err=True)
        return run or get_run(client, run_id), 130
    assert run is not None
    if not quiet:
        show_end(console, run)
    return run, 0 if run.state == "succeeded" else 1


def _print_changes(console: Console, views: Iterable[RunView]) -> RunView:
    seen: dict[str, str] = {}
    run: RunView | None = None
    for run in views:
        for step in run.steps:
            if seen.get(step.name) != step.state and step.state != "pending":
                console.print(_step_line(step), soft_wrap=True)
                seen[step.name] = step.state
        sys.stdout.flush()
    assert run is not None
    return run


def _step_lines(steps: Iterable[StepView]) -> list[Text]:
    return [Text.from_markup(_step_line(step, live=True)) for step in steps]


def _step_line(step: StepView, *, live: bool = False) -> str:
    mark = _MARKS.get(step.state, "[dim]·[/]")
    # A line that stays would show a running step's first second for ever.
    seconds = _seconds(step.started_at, step.ended_at) if live or step.ended_at else ""
    note = step.state if step.state not in ("succeeded", "running", "failed") else ""
    told = " ".join(part for part in (note, seconds) if part)
    return f"{mark} {escape(step.name)}" + (f" [dim]{told}[/]" if told else "")


def _run_line(run: RunView) -> Text:
    return Text.from_markup(f"[dim]{run.state} {_seconds(run.created_at, run.ended_at)}[/]")


def _seconds(start: datetime | None, end: datetime | None) -> str:
    if start is None:
        return ""
    passed = max(((end or datetime.now(UTC)) - start).total_seconds(), 0)
    minutes, seconds = divmod(round(passed), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {seconds:02} s" if minutes else (
        f"{seconds} s")


def show_end(console: Console, run: RunView) -> None:
    """How a run ended; the last thing on the screen."""
    if run.state == "succeeded":
        console.print(f"[green]✓[/] run succeeded [dim]{_seconds(run.created_at, run.ended_at)}[/]")
        return
    failed = next((step for step in run.steps if step.state == "failed"), None)
    if run.state == "failed":
        where = f" at step {failed.name}" if failed else ""
        console.print(f"[red]✗[/] run failed{where}")
        told = (failed.error if failed else None) or run.error or "the server does not say why"
        console.print(f"  {escape(told)}", soft_wrap=True)
        step = f" {failed.name}" if failed else ""
        console.print(f"  logs: relrec runs logs {run.run_id}{step}", soft_wrap=True)
    else:
        console.print(f"[yellow]■[/] run {run.state}")
    console.print(f"  {escape(run.link)}", soft_wrap=True)


def run_json(run: RunView) -> dict[str, Any]:
    """A run for scripts."""
    return {
        "run_id": run.run_id, "name": run.name, "state": run.state, "link": run.link,
        "created_at": utc(run.created_at), "scheduled_at": utc(run.scheduled_at),
        "ended_at": utc(run.ended_at), "experiment_id": run.experiment_id, "schedule_id": run.schedule_id,
        "error": run.error, "parameters": dict(run.parameters),
        "steps": [{"name": step.name, "state": step.state, "started_at": utc(step.started_at),
                   "ended_at": utc(step.ended_at), "error": step.error} for step in run.steps],
    }


def show_run(console: Console, run: RunView) -> None:
    """One run with its steps."""
    console.print(f"[bold]{escape(run.name)}[/] {run.run_id}: {run.state}", soft_wrap=True)
    console.print(f"created {short(run.created_at)}"
                  + (f", due {short(run.scheduled_at)}" if run.scheduled_at else "")
                  + (f", ended {short(run.ended_at)}" if run.ended_at else "") + " UTC")
    for key in ("dataset", "task", "registry", "as_of"):
        if run.parameters.get(key):
            console.print(f"{key} {escape(str(run.parameters[key]))}", soft_wrap=True)
    for step in run.steps:
        console.print(_step_line(step, live=True))
    if run.ended:
        show_end(console, run)
    else:
        console.print(escape(run.link), soft_wrap=True)


def show_runs(console: Console, runs: Iterable[RunView]) -> None:
    """A table of runs."""
    table = Table(box=None, pad_edge=False)
    for heading in ("", "run", "created (UTC)", "took", "ID"):
        table.add_column(heading, no_wrap=heading != "run", overflow="fold")
    for run in runs:
        took = _seconds(run.created_at, run.ended_at) if run.ended else run.state
        table.add_row(_MARKS.get(run.state, "·"), escape(run.name), short(run.created_at), took, run.run_id)
    console.print(table)
