"""``relrec run``: what a person sees of a run."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from model_core.config import parse_overrides
from model_core.errors import ConfigError
from model_core.records import json_bytes, write_atomically
from pipelines.runs import RunRequest, run_locally

if TYPE_CHECKING:
    from pipelines.targets.process import StepRun

RUNNERS = ("process",)

#: Columns of the closing table: split, metric, heading. Few enough for 80 characters.
_COLUMNS = (("val", "map", "val MAP"), ("test", "map", "test MAP"), ("test", "recall", "test Recall"),
            ("test", "ndcg", "test NDCG"))


def run_retrain(
    *,
    dataset: str,
    task: str,
    model: str,
    root: Path | None,
    registry: Path | None,
    runner: str,
    as_of: str,
    settings: Sequence[str],
    json_path: Path | None,
    cache: bool,
) -> int:
    """Run the retrain pipeline and show it. Returns the exit code.

    Raises:
        ConfigError: A bad setting or an unknown runner, before anything is started.
    """
    if runner not in RUNNERS:
        raise ConfigError("--runner", f"one of {list(RUNNERS)}", repr(runner), "use a known runner")
    config = parse_overrides([f"model.name={model}", *settings])
    root = root or Path("runs") / task
    console = Console(highlight=False)
    screen = RunScreen(console)
    request = RunRequest("retrain", dataset, task, root, registry or root / "registry", as_of, config)
    console.print(f"[bold]retrain[/] {escape(dataset)} · {escape(task)} → {escape(str(root))}")
    summary = run_locally(request, listener=screen.listen, output=screen.forward, enable_caching=cache)
    if json_path is not None:
        write_atomically(json_path, json_bytes(summary))
    if summary["status"] == "succeeded":
        show_results(console, summary)
        return 0
    show_failure(console, summary)
    return 1


class RunScreen:
    """Prints steps as they come; indents what they say."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._at_line_start = True

    def listen(self, step: StepRun) -> None:
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
    k = verdict["k"]
    rows = [row for row in summary["metrics"] if row["mask"] == "none" and row["k"] == k]
    value = {(row["split"], row["model"], row["metric"]): row for row in rows}
    best_first = {name: -row["mean"] for (split, name, metric), row in value.items()
                  if split == "test" and metric == "map"}
    models = sorted({row["model"] for row in rows}, key=lambda name: best_first.get(name, 0.0))
    table = Table(title=f"Full-catalogue ranking, no mask, k = {k}", title_justify="left")
    table.add_column("model", no_wrap=True)
    for _, _, heading in _COLUMNS:
        table.add_column(heading, justify="right")
    table.add_column("95 % interval", justify="right", no_wrap=True)
    for name in models:
        cells = [f"{value[key, name, metric]['mean']:.4f}" if (key, name, metric) in value else "–"
                 for key, metric, _ in _COLUMNS]
        row = value.get(("test", name, "map"))
        interval = f"{row['ci_low']:.3f}–{row['ci_high']:.3f}" if row else "–"
        table.add_row(name, *cells, interval, style="bold" if name == summary["model"] else "")
    console.print()
    console.print(table)
    console.print(escape(verdict["reason"]))
    wall_s = summary["wall_s"]
    publication = summary["publication"]
    state = "promoted to champion" if publication["promoted"] else "stored, not promoted"
    console.print(f"version [bold]{publication['version']}[/]: {state}")
    console.print(f"steps took {wall_s:.0f} s; report: {escape(summary['artifacts']['report_html'])}",
                  soft_wrap=True)


def show_failure(console: Console, summary: Mapping[str, Any]) -> None:
    """What failed, why, and how to go on; the last thing on the screen."""
    error = summary["error"] or {"step": "?", "message": "a step did not run"}
    console.print()
    console.print(f"[red bold]failed at {error['step']}[/]", soft_wrap=True)
    console.print(escape(str(error["message"])), soft_wrap=True)
    command = shlex.join(["relrec", *sys.argv[1:]])
    console.print(f"To resume at this step, mend the cause and run again:\n  {escape(command)}",
                  soft_wrap=True)
