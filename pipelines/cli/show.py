"""``relrec validate`` and ``relrec describe``: what a dataset holds, on a screen."""

from __future__ import annotations

from datetime import UTC, datetime

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from model_core.tables.validate import ValidationReport, validate_dataset


def show_validation(dataset: str, task: str | None) -> None:
    """Check a dataset, and each of its recommendation tasks or the one that is named.

    Raises:
        DataError: The first fault found.
    """
    console = Console(highlight=False)
    report = validate_dataset(dataset, task)
    rows = sum(table.num_rows for table in report.tables.values())
    console.print(f"[green]✓[/] {escape(report.dataset)}: {len(report.tables)} tables, {rows:,} rows")
    if report.task is not None:
        labels = ", ".join(f"{split} {number:,}" for split, number in report.num_labels.items())
        console.print(f"[green]✓[/] task {escape(report.task.name)}"
                      + (f": label rows {labels}" if labels else ": labels come from its SQL"))
    else:
        tasks = ", ".join(report.task_names) or "none"
        console.print(f"  no task checked; there are: {escape(tasks)}. Add --task NAME.", soft_wrap=True)
    _show_treated(console, report)


def show_dataset(dataset: str) -> None:
    """Tables, keys, columns, time ranges and tasks of a dataset.

    Raises:
        DataError: The dataset cannot be used.
    """
    console = Console(highlight=False)
    report = validate_dataset(dataset, None)
    console.print(f"[bold]{escape(report.dataset)}[/] {escape(report.path)}", soft_wrap=True)
    if report.description:
        console.print(escape(report.description))
    table = Table(pad_edge=False)
    for heading in ("table", "rows", "times", "keys", "columns"):
        table.add_column(heading, justify="right" if heading == "rows" else "left", overflow="fold")
    for name, schema in report.tables.items():
        keys = [f"{schema.pkey} (primary)"] if schema.pkey else []
        keys += [f"{column} → {target}" for column, target in schema.fkeys.items()]
        others = [f"{column} ({kind})" for column, kind in schema.columns.items()
                  if kind not in ("pkey", "fkey", "time")]
        times = "–"
        if name in report.time_ranges:
            times = "\nto ".join(_date(moment) for moment in report.time_ranges[name])
        table.add_row(name, f"{schema.num_rows:,}", times, "\n".join(keys), ", ".join(others))
    console.print(table)
    console.print(f"validation from {_date(report.val_time)}, test from {_date(report.test_time)}, "
                  f"last event {_date(report.max_time)}")
    console.print(f"tasks: {escape(', '.join(report.task_names) or 'none')}", soft_wrap=True)
    _show_treated(console, report)


def _show_treated(console: Console, report: ValidationReport) -> None:
    for place, faults in report.counts.items():
        for fault, number in faults.items():
            console.print(f"[yellow]·[/] {escape(place)}: {number:,} {fault.replace('_', ' ')}",
                          soft_wrap=True)
    for warning in report.warnings:
        console.print(f"[yellow]![/] {escape(warning)}", soft_wrap=True)


def _date(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d")
