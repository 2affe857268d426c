"""``relrec plan`` and what ``relrec run`` shows of a plan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from model_core.config import parse_overrides
from model_core.errors import ConfigError
from model_core.logical_date import parse_as_of
from model_core.planning.machine import DEFAULT_SPEED, available_memory_bytes, calibrate
from model_core.planning.plan import make_plan
from model_core.records import json_bytes, write_atomically

#: Parts of a step's memory that are named in the table, and the least share worth a name.
_NUM_PARTS, _LEAST_SHARE = 3, 0.05


def show_plan(
    *,
    dataset: str,
    task: str,
    model: str,
    as_of: str,
    settings: Sequence[str],
    json_path: Path | None,
    memory_gb: float | None,
    calibrated: bool,
) -> int:
    """Estimate a run and show it. Returns the exit code: 1 if a step would not fit.

    Raises:
        ConfigError: A bad setting, date or file.
        DataError: The dataset or task cannot be used.
    """
    config = parse_overrides([f"model.name={model}", *settings])
    if json_path is not None and json_path.is_dir():
        raise ConfigError("--json", "a file", f"the directory {json_path}", "add a file name")
    memory = available_memory_bytes() if memory_gb is None else int(memory_gb * 1e9)
    plan = make_plan(dataset, task, config, memory_bytes=memory, as_of=parse_as_of(as_of),
                     speed=calibrate() if calibrated else DEFAULT_SPEED).to_json()
    console = Console(highlight=False)
    _show_counts(console, plan)
    table = Table(pad_edge=False)
    for heading in ("step", "time", "peak MB", "most of it"):
        table.add_column(heading, justify="right" if heading in ("time", "peak MB") else "left",
                         no_wrap=heading != "most of it")
    for step in plan["steps"]:
        table.add_row(step["name"], duration(step["wall_s"]), f"{step['peak_mb']:,.0f}",
                      _most_of(step["parts_mb"]), style="" if step["fits"] else "red")
    console.print(table)
    total = sum(step["wall_s"] for step in plan["steps"])
    epochs = plan["counts"]["epochs"]
    console.print(f"all steps: {duration(total)} if training takes all {epochs} epochs; "
                  "it may stop earlier")
    if config.train.device == "cuda":
        console.print("[yellow]![/] times are for a CPU; on a GPU the memory of train is needed there")
    show_problems(console, plan)
    if plan["fits"]:
        console.print(f"[green]✓[/] fits into {plan['memory_mb'] / 1e3:,.1f} GB")
    if json_path is not None:
        write_atomically(json_path, json_bytes(plan))
    return 0 if plan["fits"] else 1


def show_problems(console: Console, plan: Mapping[str, Any]) -> None:
    """Every step that needs more memory than there is, and what helps."""
    for problem in plan["problems"]:
        console.print(
            f"[red]✗[/] {problem['step']} would need {problem['peak_mb'] / 1e3:,.1f} GB of "
            f"{plan['memory_mb'] / 1e3:,.1f} GB, most of it for {problem['largest'].replace('_', ' ')}. "
            f"Fix: {escape(problem['fix'])}", soft_wrap=True)


def show_forecast(console: Console, plan: Mapping[str, Any]) -> None:
    """One line before a run, and what would not fit."""
    if "error" in plan:
        console.print(f"[yellow]![/] no estimate: {escape(plan['error'])}", soft_wrap=True)
        return
    largest = max(plan["steps"], key=lambda step: step["peak_mb"])
    total = sum(step["wall_s"] for step in plan["steps"])
    console.print(f"[dim]estimate: {duration(total)} at most (nothing cached, all "
                  f"{plan['counts']['epochs']} epochs), {largest['peak_mb']:,.0f} MB in "
                  f"{largest['name']}[/]", soft_wrap=True)
    show_problems(console, plan)


def show_costs(console: Console, summary: Mapping[str, Any], epochs: int | None) -> None:
    """Estimate beside measurement, after a run."""
    plan = summary["plan"]
    if "error" in plan or all(step["cached"] for step in summary["steps"]):
        return
    table = Table(title="Time and memory, estimated → measured", title_justify="left")
    table.add_column("step", no_wrap=True)
    for heading in ("seconds", "peak MB"):
        table.add_column(heading, justify="right", no_wrap=True)
    for step in summary["steps"]:
        if step["cached"] or step["status"] != "succeeded":
            continue
        name = step["name"]
        if name == "train" and epochs and epochs < plan["counts"]["epochs"]:
            name += f" ({epochs} of {plan['counts']['epochs']} epochs)"
        table.add_row(name, f"{step['estimated_s']:,.1f} → {step['wall_s']:,.1f}",
                      f"{step['estimated_mb']:,.0f} → {step['peak_mb']:,.0f}")
    console.print(table)


def duration(seconds: float) -> str:
    """Seconds for people, with no more digits than an estimate deserves.

    Example:
        >>> duration(4.24), duration(75), duration(5400), duration(200_000)
        ('4 s', '75 s', '90 min', '56 h')
    """
    if seconds < 100:
        return f"{max(seconds, 1):.0f} s"
    if seconds < 100 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3_600:,.0f} h"


def _show_counts(console: Console, plan: Mapping[str, Any]) -> None:
    counts = plan["counts"]
    console.print(f"[bold]{escape(plan['dataset'])}[/] · {escape(plan['task'])}: {counts['rows']:,} rows, "
                  f"{counts['items']:,} items, {counts['train_rows']:,} training rows", soft_wrap=True)
    fan_out = "/".join(map(str, counts["fan_out"]))
    console.print(f"fan-out {fan_out}, {counts['nodes_per_seed']:.0f} nodes per seed, "
                  f"{counts['steps_per_epoch']:,} steps of {counts['rows_per_step']:,} rows per epoch, "
                  f"{counts['epochs']} epochs", soft_wrap=True)
    if counts["share_of_rows_looked_at"] < 1:
        console.print(f"[yellow]![/] subgraphs were looked at in {counts['share_of_rows_looked_at']:.1%} of "
                      "the rows: their size is rough", soft_wrap=True)


def _most_of(parts: Mapping[str, float]) -> str:
    total = sum(parts.values())
    largest = sorted(parts, key=lambda name: -parts[name])[:_NUM_PARTS]
    return ", ".join(f"{name.replace('_', ' ')} {parts[name]:,.0f}" for name in largest
                     if parts[name] >= _LEAST_SHARE * total)
