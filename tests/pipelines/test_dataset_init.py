"""relrec dataset init: shown, asked, refused, written."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from model_core.errors import ConfigError
from model_core.tables.init.options import InitOptions
from pipelines.cli.dataset_init import init_dataset, with_flags
from pipelines.cli.main import app
from tests.tables.init.exports import NUM_EVENTS, write_shop


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_shop(tmp_path / "in")


def invoke(*arguments: object):
    return CliRunner().invoke(app, ["dataset", "init", *map(str, arguments)])


def test_without_a_terminal_the_accepting_command_is_printed_and_works(folder: Path, tmp_path: Path):
    out = tmp_path / "out"
    refused = invoke(folder, "--out", out)
    assert refused.exit_code == 2
    assert "no terminal" in refused.stderr
    assert not out.exists()
    (command,) = [line for line in refused.stdout.splitlines() if line.startswith("relrec dataset init")]
    done = CliRunner().invoke(app, shlex.split(command)[1:])
    assert done.exit_code == 0, done.output
    assert (out / "manifest.yaml").exists()
    assert "relrec run retrain" in done.stdout


def test_dry_run_writes_nothing(folder: Path, tmp_path: Path):
    done = invoke(folder, "--out", tmp_path / "out", "--dry-run")
    assert done.exit_code == 0
    assert "LIST(DISTINCT" in done.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_json_is_all_there_is_on_stdout(folder: Path, tmp_path: Path):
    done = invoke(folder, "--out", tmp_path / "out", "--yes", "--output", "json")
    assert done.exit_code == 0, done.output
    answer = json.loads(done.stdout)
    assert answer["rows_written"]["purchases"] == NUM_EVENTS
    assert answer["choices"][0].keys() == {"subject", "value", "reason", "confidence"}
    refused = invoke(folder, "--out", tmp_path / "other", "--output", "json")
    assert refused.exit_code == 2
    assert json.loads(refused.stdout)["written"] is None


def test_a_person_changes_the_proposal_and_accepts(folder: Path, tmp_path: Path, capsys):
    answers = iter(["what?", "change", "--window nonsense", "change", "--window 30d --name mine", "yes"])
    code = init_dataset(folder, tmp_path / "out", InitOptions(), yes=False, dry_run=False, output="text",
                        ask=lambda question: next(answers))
    assert code == 0
    shown = capsys.readouterr().out
    assert "a length of time" in shown  # the mistake is told, and asked about again
    assert "name: mine" in (tmp_path / "out" / "manifest.yaml").read_text()
    assert "30 days" in (tmp_path / "out" / "tasks" / "customer-product" / "manifest.yaml").read_text()


def test_a_person_declines(folder: Path, tmp_path: Path):
    code = init_dataset(folder, tmp_path / "out", InitOptions(), yes=False, dry_run=False, output="text",
                        ask=lambda question: "no")
    assert code == 1
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_flags_as_text():
    options = with_flags(InitOptions(), "--window='7 days' --key a=b --key c=none --fkey a.x=c --eval-k 5")
    assert (options.window, options.keys, options.eval_k) == ("7 days", {"a": "b", "c": "none"}, 5)
    assert options.fkeys == {("a", "x"): "c"}
    for text in ("--window", "--what 3", "'open", "--eval-k many", "--key a", "--fkey a=c"):
        with pytest.raises(ConfigError):
            with_flags(InitOptions(), text)


@pytest.mark.parametrize(("arguments", "message"), [
    (["--key", "customers"], "TABLE=COLUMN"), (["--timezone", "Mars/Base"], "IANA"),
    (["--dangling", "mend"], "keep or drop"), (["--output", "xml"], "text or json"),
    (["--encoding", "klingon"], "Python knows"), (["--key", "a=b", "--key", "a=c"], "twice"),
])
def test_wrong_flags_are_one_clear_error(arguments, message: str, folder: Path, tmp_path: Path):
    done = invoke(folder, "--out", tmp_path / "out", "--yes", *arguments)
    assert message in str(done.exception)
    assert not (tmp_path / "out").exists()
