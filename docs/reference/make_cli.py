"""Write docs/reference/cli.md from the commands themselves. A test checks that it is up to date."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from typer.main import get_command

from pipelines.cli.main import app

HEAD = """# Commands

What `relrec COMMAND --help` says, in one place. This page is written by `python docs/reference/make_cli.py`.

Exit codes: 0 done; 1 the run failed, or a person said no; 2 a fault that you can mend (the message says how).
`--output json` prints one JSON document on standard output, everything else goes to standard error.
`relrec --install-completion` sets up completion in bash, zsh, fish and PowerShell.
"""


def commands(command: Any, path: tuple[str, ...] = ("relrec",)) -> Iterator[tuple[str, Any]]:
    """(full name, command) of every command that does something."""
    children = getattr(command, "commands", None)
    if not children:
        yield " ".join(path), command
    for name, child in (children or {}).items():
        if not child.hidden:
            yield from commands(child, (*path, name))


def cli_page() -> str:
    """The page as Markdown."""
    found = sorted(commands(get_command(app)))
    lines = [HEAD, "| command | what it does |", "|---|---|"]
    for name, command in found:
        lines.append(f"| [`{name}`](#{name.replace(' ', '-')}) | {_cell(_parts(command)[0][0])} |")
    for name, command in found:
        lines += ["", *_section(name, command)]
    return "\n".join(lines) + "\n"


def _section(name: str, command: Any) -> list[str]:
    text, examples = _parts(command)
    lines = [f"## {name}", "", *(line for part in text for line in (part, ""))]
    lines += ["```text", *examples, "```", "", "| option | default | what |", "|---|---|---|"]
    for parameter in command.params:
        if parameter.name in ("help", "install_completion", "show_completion"):
            continue
        names = (parameter.name or "").upper() if parameter.param_type_name == "argument" \
            else ", ".join([*parameter.opts, *parameter.secondary_opts])
        lines.append(f"| `{names}` | {_default(parameter)} | {_cell(parameter.help or '')} |")
    return lines


def _parts(command: Any) -> tuple[list[str], list[str]]:
    """Paragraphs of a command's help, and its examples without the word."""
    paragraphs = [" ".join(part.split()) for part in inspect.cleandoc(command.help or "").split("\n\n")]
    examples = [part.removeprefix("Example: ") for part in paragraphs if part.startswith("Example: ")]
    return [part for part in paragraphs if not part.startswith("Example: ")], examples


def _default(parameter: Any) -> str:
    if parameter.required:
        return "required"
    value = parameter.default
    if value is None or value == "" or value == () or not isinstance(value, str | int | float | Path):
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"`{value}`"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    Path(__file__).with_name("cli.md").write_text(cli_page())
