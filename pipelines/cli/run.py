"""``relrec run``: what a person sees of a run."""

from __future__ import annotations

import shlex
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from model_core.errors import ConfigError
from model_core.logical_date import date_text, parse_as_of
from model_core.records import json_bytes, write_atomically
from model_core.storage.uri import parse_location
from pipelines.cli.flags import run_config
from pipelines.cli.gate import show_checks
from pipelines.cli.plan import show_costs, show_forecast
from pipelines.cli.rerun import command_again
from pipelines.runs import RunRequest, run_locally

if TYPE_CHECKING:
    from pipelines.targets.session import StepRun

#: Columns of the closing table: split, metric, heading. Few enough for 80 characters.
_COLUMNS = (("val", "map", "val MAP"), ("test", "map", "test MAP"), ("test", "recall", "test Recall"),
            ("test", "ndcg", "test NDCG"))
#: Findings of the data watch that are shown at the end of a run.
_MAX_ALARMS = 5


def run_retrain(
    *,
    dataset: str,
    task: str,
    model: str,
    root: str | None,
    registry: str | None,
    runner: str,
    containers: Sequence[str],
    as_of: str,
    warm_start: str | None,
    settings: Sequence[str],
    json_path: Path | None,
    cache: bool,
) -> int:
    """Run the retrain pipeline and show it. Returns the exit code.

    Raises:
        ConfigError: A bad setting or an unknown runner, before anything is started.
    """
    config = run_config(model, warm_start, settings)
    base = _place(root, "--root") if root else Path("runs") / Path(dataset).name / task
    shelf = _place(registry, "--registry") if registry else (
        base / "registry" if isinstance(base, Path) else f"{base}/registry")
    if json_path is not None and json_path.is_dir():
        raise ConfigError("--json", "a file", f"the directory {json_path}", "add a file name")
    console = Console(highlight=False)
    screen = RunScreen(console)
    request = RunRequest("retrain", dataset, task, base, shelf, as_of, config, runner,
                         tuple(containers))
    as_of_time = parse_as_of(as_of)
    date = "" if as_of_time is None else f" as of {date_text(as_of_time)}"
    console.print(f"[bold]retrain[/] {escape(dataset)} · {escape(task)}{date} → {escape(str(base))}",
                  soft_wrap=True)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        summary = run_locally(request, listener=screen.listen, output=screen.forward,
                              planned=lambda plan: show_forecast(console, plan), enable_caching=cache)
    except KeyboardInterrupt:
        show_failure(console, {"error": {"step": screen.running or "start", "message": "interrupted"}})
        return 130
    if summary["status"] == "succeeded":
        show_results(console, summary)
    else:
        show_failure(console, summary)
    if json_path is not None:
        write_atomically(json_path, json_bytes(summary))
    return 0 if summary["status"] == "succeeded" else 1


def _place(text: str, where: str) -> Path | str:
    """A local path, or a URI in its plain form."""
    location = parse_location(text, where)
    return Path(location.path) if location.is_local else str(location)


def _interrupt(*_: object) -> None:
    """SIGTERM ends a run as Ctrl-C does: the running step is stopped, not left alone."""
    raise KeyboardInterrupt


class RunScreen:
    """Prints steps as they come; indents what they say."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._at_line_start = True
        self.running: str | None = None

    def listen(self, step: StepRun) -> None:
        self.running = step.name if step.status == "running" else None
        if not self._at_line_start:
            self.console.file.write("\n")
            self._at_line_start = True
        if step.status == "running":
            self.console.print(f"[cyan]▸[/] {step.name}")
        elif step.cached:
            self.console.print(f"[green]✓[/] {step.name} [dim]cached[/]")
        elif step.status == "succeeded":
            self.console.print(
                f"[green]✓[/] {step.name} [dim]{step.wall_s:.1f} s, {step.peak_mb:,.0f} MB[/]")
        else:
            self.console.print(f"[red]✗[/] {step.name} [dim]{step.wall_s:.1f} s[/]")

    def forward(self, chunk: bytes) -> None:
        """Indent every line, also those that are drawn over with a carriage return."""
        text = chunk.decode(errors="replace").replace("\r\n", "\n")
        for part in text.splitlines(keepends=True):
            if self._at_line_start and part.strip():
                self.console.file.write("    ")
            self.console.file.write(part)
            self._at_line_start = part.endswith(("\n", "\r"))
        self.console.file.flush()


def show_results(console: Console, summary: Mapping[str, Any]) -> None:
    """The closing table: every model, validation and test, with intervals."""
    verdict = summary["verdict"]
    k, mask, deciding = verdict["k"], verdict["mask"], verdict["split"]
    rows = [row for row in summary["metrics"] if row["mask"] == mask and row["k"] == k]
    value = {(row["split"], row["model"], row["metric"]): row for row in rows}
    best_first = {name: -row["mean"] for (split, name, metric), row in value.items()
                  if split == deciding and metric == "map"}
    models = sorted({row["model"] for row in rows}, key=lambda name: best_first.get(name, 0.0))
    columns = [entry for entry in _COLUMNS if any(row["split"] == entry[0] for row in rows)]
    table = Table(title=f"Full-catalogue ranking, mask {mask}, k = {k}", title_justify="left")
    table.add_column("model", no_wrap=True)
    for _, _, heading in columns:
        table.add_column(heading, justify="right")
    table.add_column("95 % interval", justify="right", no_wrap=True)
    for name in models:
        cells = [f"{value[key, name, metric]['mean']:.4f}" if (key, name, metric) in value else "–"
                 for key, metric, _ in columns]
        row = value.get((deciding, name, "map"))
        interval = f"{row['ci_low']:.3f}–{row['ci_high']:.3f}" if row else "–"
        table.add_row(name, *cells, interval, style="bold" if name == summary["model"] else "")
    console.print()
    console.print(table)
    console.print(escape(verdict["reason"]))
    show_checks(console, verdict["checks"])
    show_alarms(console, summary["data_watch"] or [])
    show_costs(console, summary, summary["epochs_done"])
    wall_s = summary["wall_s"]
    publication = summary["publication"]
    if publication["promoted"]:
        state = "promoted to champion"
    elif publication["champion"] == publication["version"]:
        state = "the reigning champion"
    else:
        state = f"stored, not promoted ({publication['reason'].rstrip('.')})" if verdict["promote"] else (
            "stored, not promoted")
    console.print(f"version [bold]{publication['version']}[/] of {summary['logical_date']}: {state}",
                  soft_wrap=True)
    if not publication["promoted"] and publication["champion"] != publication["version"]:
        words = ["relrec", "registry", "promote", publication["version"],
                 "--registry", publication["registry"], "--reason", "…"]
        console.print(f"to serve it all the same: {escape(shlex.join(words))}", soft_wrap=True)
    console.print(f"steps took {wall_s:.0f} s; report: {escape(summary['artifacts']['report_html'])}",
                  soft_wrap=True)


def show_alarms(console: Console, alarms: Sequence[Mapping[str, Any]]) -> None:
    """One line per warning and failure of the data watch, of many the first."""
    for finding in alarms[:_MAX_ALARMS]:
        level = "[red]data failure:[/]" if finding["level"] == "fail" else "[yellow]data warning:[/]"
        console.print(f"{level} {escape(finding['message'])}", soft_wrap=True)
    if (more := len(alarms) - _MAX_ALARMS) > 0:
        console.print(f"and {more} more from the data watch; the report lists all", soft_wrap=True)


def show_failure(console: Console, summary: Mapping[str, Any]) -> None:
    """What failed, why, and how to go on; the last thing on the screen."""
    error = summary["error"] or {"step": "?", "message": "a step did not run"}
    console.print()
    console.print(f"[red bold]failed at {error['step']}[/]", soft_wrap=True)
    console.print(escape(str(error["message"])), soft_wrap=True)
    console.print("To resume at this step, mend the cause and run again:\n  " + escape(command_again()),
                  soft_wrap=True)
