"""The relrec command explains itself: help, examples that parse, completion, quick answers."""

from __future__ import annotations

import inspect
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from pipelines.cli.main import app

RELREC = [sys.executable, "-m", "pipelines.cli.main"]
HEAVY = {"torch", "kfp", "kfp_server_api", "pandas", "relbench", "pyarrow", "duckdb", "onnxruntime", "grpc",
         "google.cloud.storage", "google.cloud.aiplatform_v1", "numpy"}
#: Seconds of one core that --help may take; a plain import of torch or kfp takes more.
MAX_HELP_S = 2.0
#: Commands that write or send something which is not easily taken back.
WITH_DRY_RUN = {"dataset init", "submit retrain", "schedule create", "backfill retrain", "backfill",
                "registry gc", "registry promote", "registry rollback"}


def walk(command: Any, path: tuple[str, ...] = ("relrec",)) -> Iterator[tuple[tuple[str, ...], Any]]:
    yield path, command
    for name, child in getattr(command, "commands", {}).items():
        yield from walk(child, (*path, name))


EVERY = dict(walk(get_command(app)))
COMMANDS = {path: command for path, command in EVERY.items() if not getattr(command, "commands", None)}
GROUPS = {path: command for path, command in EVERY.items() if path not in COMMANDS}


def examples(command: Any) -> list[list[str]]:
    """Words of every example, those that break over lines joined."""
    paragraphs = inspect.cleandoc(command.help or "").split("\n\n")
    return [shlex.split(" ".join(part.split()).removeprefix("Example: "))
            for part in paragraphs if part.startswith("Example: ")]


@pytest.mark.parametrize("path", GROUPS, ids=" ".join)
def test_every_group_has_help(path):
    assert GROUPS[path].help
    assert len(GROUPS[path].commands) >= 1


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_command_has_help_and_every_option_too(path):
    command = COMMANDS[path]
    first = (command.help or "").strip().splitlines()[0]
    assert first.endswith(".")
    assert not first.startswith("Example")
    for parameter in command.params:
        assert getattr(parameter, "help", None) or parameter.name == "help", parameter.name


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_command_has_examples_that_parse(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    command = COMMANDS[path]
    found = examples(command)
    assert found, "write a line 'Example: relrec …' into the docstring"
    for words in found:
        assert tuple(words[: len(path)]) == path
        # Parses every option and argument, and runs nothing.
        with command.make_context(" ".join(path), words[len(path):]):
            pass


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_help_of_every_command_is_shown(path):
    done = CliRunner().invoke(app, [*path[1:], "--help"], prog_name="relrec", terminal_width=100)
    assert done.exit_code == 0
    assert f"Usage: {' '.join(path)}" in done.stdout
    assert "Example: relrec" in done.stdout


@pytest.mark.parametrize("path", [path for path in COMMANDS if " ".join(path[1:]) in WITH_DRY_RUN],
                         ids=" ".join)
def test_what_is_not_taken_back_has_a_dry_run_and_json(path):
    names = {name for parameter in COMMANDS[path].params for name in parameter.opts}
    assert {"--dry-run", "--output"} <= names


def test_no_option_takes_a_secret():
    """A secret on a command line is seen by everybody on the machine; files and commands are not."""
    names = {name for command in COMMANDS.values() for parameter in command.params for name in parameter.opts}
    names -= {"--key"}  # a table's
    assert not {name for name in names if name.endswith(("token", "password", "secret", "-key"))}


def test_help_imports_nothing_heavy():
    """In one process: every command's help, and none of the large libraries."""
    code = (
        "import json, sys\n"
        "from pipelines.cli.main import app\n"
        "for words in json.loads(sys.argv[1]):\n"
        "    try: app(words)\n"
        "    except SystemExit as end: assert not end.code, words\n"
        f"heavy = {HEAVY!r} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    words = [["--help"], ["--version"], *([*path[1:], "--help"] for path in COMMANDS)]
    done = subprocess.run([sys.executable, "-c", code, json.dumps(words)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]


def test_help_is_quick():
    if not hasattr(os, "wait4"):
        pytest.skip("needs wait4")
    process = subprocess.Popen([*RELREC, "--help"], stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    assert used.ru_utime + used.ru_stime < MAX_HELP_S


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_script_is_printed(shell):
    done = subprocess.run([*RELREC, "--show-completion", shell], capture_output=True, text=True,
                          env=os.environ | {"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"})
    assert done.returncode == 0, done.stderr
    assert f"complete_{shell}" in done.stdout
    assert "_RELREC_COMPLETE" in done.stdout


@pytest.mark.parametrize(("shell", "typed", "expected", "absent"), [
    ("bash", "relrec da", {"dataset"}, {"run"}), ("zsh", "relrec dataset ", {"demo", "init"}, {"retrain"}),
    ("fish", "relrec run retrain --da", {"--dataset"}, {"--task"}),
])
def test_sub_commands_and_options_are_completed(shell, typed, expected, absent):
    asked = {"_RELREC_COMPLETE": f"complete_{shell}", "_TYPER_COMPLETE_ARGS": typed,
             "_TYPER_COMPLETE_FISH_ACTION": "get-args", "COMP_WORDS": typed,
             "COMP_CWORD": str(len(typed.split(" ")) - 1)}
    done = subprocess.run(RELREC, capture_output=True, text=True, env=os.environ | asked)
    for name in expected:
        assert name in done.stdout
    for name in absent:
        assert name not in done.stdout
