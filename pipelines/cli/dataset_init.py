"""``relrec dataset init``: show the proposal, ask, write."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from model_core.errors import ConfigError, RelrecError
from model_core.tables.init.options import InitOptions, parse_columns, parse_pairs
from model_core.tables.init.proposal import Proposal, propose
from model_core.tables.init.reading import ReadTable, read_folder
from model_core.tables.init.workspace import Workspace, open_workspace
from model_core.tables.init.writing import Written, check_out, write_dataset

_COLOURS = {"given": "cyan", "high": "green", "medium": "yellow", "low": "red"}
_MAX_SHOWN = 6
_HELP = """Write the flags that change it, as on the command line. For example:
  --window 30d
  --event-table views --time views=opened_at
  --key customers=email --fkey orders.customer=customers"""


def init_dataset(
    folder: Path, out: Path, options: InitOptions, *, yes: bool, dry_run: bool, output: str,
    ask: Callable[[str], str] | None = None,
) -> int:
    """Propose a dataset, have it accepted, write it.

    Args:
        folder: Source files.
        out: Folder to write.
        options: What is fixed in advance.
        yes: Accept the proposal as it is.
        dry_run: Stop after the proposal.
        output: ``"text"`` or ``"json"``.
        ask: Asks a person and returns the answer; unset: the terminal, if there is one.

    Returns:
        Exit code: 0 written (or shown, with ``dry_run``), 1 declined, 2 nobody could be asked.

    Raises:
        RelrecError: Files, flags or the resulting dataset cannot be used.
    """
    if output not in ("text", "json"):
        raise ConfigError("--output", "text or json", repr(output), "pass one of the two")
    if not dry_run:
        check_out(out)
    if ask is None and sys.stdin.isatty() and sys.stdout.isatty() and output == "text":
        ask = _prompt
    console = Console(highlight=False)
    with open_workspace(out.resolve().parent) as workspace:
        tables = read_folder(workspace, folder, options)
        proposal = propose(workspace, folder, tables, options)
        if output == "text":
            show_files(console, tables)
            show_proposal(console, proposal)
        command = proposal.command(folder, out)
        if dry_run:
            if output == "json":
                typer.echo(json.dumps(proposal.as_json() | {"command": command}, indent=2))
            else:
                _show_command(console, command)
            return 0
        if not yes and ask is None:
            if output == "json":
                typer.echo(json.dumps(proposal.as_json() | {"command": command, "written": None}, indent=2))
            else:
                _show_command(console, command)
            typer.echo("nothing written: there is no terminal to ask on. Pass --yes, or run the command "
                       "that accepts this proposal", err=True)
            return 2
        if not yes:
            assert ask is not None
            accepted = _agree(console, workspace, folder, tables, proposal, ask)
            if accepted is None:
                console.print("nothing written")
                return 1
            proposal = accepted
        written = write_dataset(workspace, proposal, out)
    if output == "json":
        typer.echo(json.dumps(proposal.as_json() | {
            "command": command, "written": str(written.path), "rows_written": written.rows,
            "rows_left_out": written.dropped, "validation_warnings": list(written.report.warnings),
        }, indent=2))
    else:
        _show_written(console, proposal, written)
    return 0


def show_files(console: Console, tables: Mapping[str, ReadTable]) -> None:
    """What was read, as a table."""
    read = Table(box=SIMPLE_HEAD, pad_edge=False, title="what the files hold", title_justify="left",
                 title_style="bold")
    for heading in ("table", "rows", "columns"):
        read.add_column(heading, justify="right" if heading == "rows" else "left", overflow="fold")
    for name, table in tables.items():
        columns = ", ".join(f"{column.name} ({column.kind})" for column in table.columns.values())
        read.add_row(escape(name), f"{table.num_rows:,}", escape(columns))
    console.print(read)


def show_proposal(console: Console, proposal: Proposal) -> None:
    """The proposal as a table, the task's SQL, and what is odd."""
    chosen = Table(box=SIMPLE_HEAD, pad_edge=False, title="proposal", title_justify="left",
                   title_style="bold")
    for heading, is_whole in (("sure", True), ("what", True), ("proposed", True), ("why", False)):
        chosen.add_column(heading, overflow="fold", no_wrap=is_whole)
    for choice in proposal.choices:
        colour = _COLOURS[choice.confidence]
        chosen.add_row(f"[{colour}]{choice.confidence}[/]", escape(choice.subject),
                       f"[bold]{escape(choice.value)}[/]", escape(choice.reason))
    console.print(chosen)
    console.print(f"[bold]task {escape(proposal.task_name)}[/]")
    console.print(escape(proposal.sql), soft_wrap=True)
    console.print()
    for sentence in _faults(proposal):
        console.print(f"[yellow]![/] {escape(sentence)}", soft_wrap=True)
    for warning in proposal.warnings:
        console.print(f"[yellow]·[/] {escape(warning)}", soft_wrap=True)
    if proposal.unsure:
        subjects = ", ".join(choice.subject for choice in proposal.unsure)
        console.print(f"[red]![/] look at what is marked low: {escape(subjects)}", soft_wrap=True)


def _faults(proposal: Proposal) -> Iterator[str]:
    """Rows and values that are not as their column or header says, the first ones by line."""
    for name, table in proposal.tables.items():
        if table.num_bad:
            yield f"{name}: rows that do not fit the header, left out: {table.num_bad:,}"
        for column in table.columns.values():
            if column.num_odd:
                place = f"{name}.{column.name}"
                yield f"{place}: values that are no {column.kind}, left empty: {column.num_odd:,}"
        for bad in table.bad_rows[:_MAX_SHOWN]:
            yield f"  {bad}"


def _agree(
    console: Console, workspace: Workspace, folder: Path, tables: dict[str, ReadTable], proposal: Proposal,
    ask: Callable[[str], str],
) -> Proposal | None:
    """Ask until the proposal is accepted or declined."""
    while True:
        console.print()
        answer = ask("Write this dataset? yes, change or no").strip().lower()
        if answer in ("y", "yes"):
            return proposal
        if answer in ("n", "no", "q", "quit", ""):
            return None
        if answer not in ("c", "change"):
            continue
        console.print(_HELP, markup=False)
        try:
            options = with_flags(proposal.options, ask("flags"))
            if _reads_anew(options, proposal.options):
                tables = read_folder(workspace, folder, options)
                show_files(console, tables)
            proposal = propose(workspace, folder, tables, options)
        except RelrecError as error:
            console.print(f"[red]{escape(str(error))}[/]", soft_wrap=True)
            continue
        show_proposal(console, proposal)


def with_flags(options: InitOptions, text: str) -> InitOptions:
    """Options changed by flags as they are written on the command line.

    Raises:
        ConfigError: An unknown flag, or one without a value.
    """
    plain = {"--name": "name", "--user-table": "user_table", "--item-table": "item_table",
             "--event-table": "event_table", "--window": "window", "--task-name": "task_name",
             "--val": "val", "--test": "test", "--timezone": "timezone", "--dangling": "dangling",
             "--encoding": "encoding", "--delimiter": "delimiter", "--eval-k": "eval_k"}
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise ConfigError("flags", "words and closed quotes", repr(text), str(error)) from error
    words = [part for word in words for part in (word.split("=", 1) if word.startswith("--") else [word])]
    if len(words) % 2:
        raise ConfigError("flags", "a value after every flag", repr(text), "write for example --window 30d")
    for flag, value in zip(words[::2], words[1::2], strict=True):
        if flag == "--key":
            options = replace(options, keys={**options.keys, **parse_pairs(flag, [value])})
        elif flag == "--time":
            options = replace(options, times={**options.times, **parse_pairs(flag, [value])})
        elif flag == "--fkey":
            options = replace(options, fkeys={**options.fkeys, **parse_columns(flag, [value])})
        elif flag == "--time-format":
            options = replace(options, time_formats={**options.time_formats, **parse_columns(flag, [value])})
        elif flag in plain:
            if flag == "--eval-k" and not value.isdecimal():
                raise ConfigError(flag, "a whole number", repr(value), "write for example --eval-k 10")
            changed: object = int(value) if flag == "--eval-k" else value
            options = replace(options, **{plain[flag]: changed})  # type: ignore[arg-type]
        else:
            known = sorted([*plain, "--key", "--fkey", "--time", "--time-format"])
            raise ConfigError("flags", f"one of {', '.join(known)}", repr(flag), "correct the flag")
    return options


def _reads_anew(options: InitOptions, former: InitOptions) -> bool:
    return any(getattr(options, key) != getattr(former, key)
               for key in ("encoding", "delimiter", "time_formats"))


def _show_command(console: Console, command: str) -> None:
    console.print("\nThis command accepts the proposal:")
    console.print(command, soft_wrap=True, markup=False)


def _show_written(console: Console, proposal: Proposal, written: Written) -> None:
    for name, number in written.dropped.items():
        if number:
            console.print(f"[yellow]·[/] {escape(name)}: source rows left out: {number:,}")
    rows = sum(written.rows.values())
    console.print(f"[green]✓[/] wrote {escape(str(written.path))}: {len(written.rows)} tables, {rows:,} "
                  f"rows, validated with task {escape(proposal.task_name)}", soft_wrap=True)
    for warning in written.report.warnings:
        console.print(f"[yellow]![/] {escape(warning)}", soft_wrap=True)
    words = ["relrec", "run", "retrain", "--dataset", str(written.path), "--task", proposal.task_name]
    console.print(f"next: {shlex.join(words)}", soft_wrap=True, markup=False)


def _prompt(question: str) -> str:
    return str(typer.prompt(question))
