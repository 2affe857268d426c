"""The gate's rules on the screen, after a run and for a stored version."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table


def show_checks(console: Console, checks: Sequence[Mapping[str, Any]]) -> None:
    """The gate's rules: what each required and found."""
    table = Table(title="Gate", title_justify="left")
    for heading in ("", "check", "required", "found"):
        table.add_column(heading, overflow="fold", no_wrap=heading == "check")
    for check in checks:
        mark = "[green]✓[/]" if check["passed"] else "[red]✗[/]"
        table.add_row(mark, check["name"].replace("_", " "), escape(check["required"]),
                      escape(check["found"]))
    console.print(table)
