"""Commands in the docs work as they stand."""

import importlib
import re
import shlex
from pathlib import Path

import pytest
import typer
from typer.core import TyperGroup

from pipelines.cli.main import app
from tests.command_line import relrec
from tests.steps_in_process import steps_in_process

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]

CLI = typer.main.get_command(app)
#: What … stands for at the end of a command.
OTHER_FLAGS = ["--host", "URL", "--dataset", "gs://b/shop", "--task", "customer-purchase",
               "--registry", "gs://b/registry", "--images", "pins.json"]

# Added to a command so that it is quick; what it does stays the same.
FASTER = {
    ("relrec", "dataset", "demo"): ["--scale", "0.1"],
    ("relrec", "run", "retrain"): [
        part for setting in (
            "model.name=two_tower", "model.channels=16", "model.embedding_dim=8", "model.encoder_blocks=0",
            "model.num_layers=1", "model.num_neighbors=8", "train.epochs=1", "train.max_steps_per_epoch=2",
            "evaluate.num_bootstrap=20", "queue.size=256", "export.num_parity_users=16",
        ) for part in ("--set", setting)
    ],
}


def commands(page: Path) -> list[list[str]]:
    found = []
    for block in re.findall(r"```sh\n(.*?)```", page.read_text(), flags=re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            if words := shlex.split(line, comments=True):
                found.append(words)
    return found


@pytest.mark.parametrize("page", [p for p in PAGES if commands(p)], ids=lambda p: p.name)
def test_commands_run(page, tmp_path, monkeypatch):
    makefile = (ROOT / "Makefile").read_text()
    monkeypatch.chdir(tmp_path)
    for words in commands(page):
        if words[0] == "make":
            assert re.search(rf"^{words[1]}:", makefile, flags=re.MULTILINE), words
            continue
        assert words[0] == "relrec", f"{page.name}: only make and relrec are run here, found {words}"
        extra = next((add for head, add in FASTER.items() if tuple(words[: len(head)]) == head), [])
        with steps_in_process():
            done = relrec(*words[1:], *extra)
        assert done.code == 0, f"{words}\n{done.out[-2000:]}\n{done.err[-2000:]}"


def shown(page: Path) -> list[str]:
    """Commands that are not run, because they need a cluster, a bucket, an engine or a long time."""
    text = re.sub(r"```sh\n.*?```", "", page.read_text(), flags=re.DOTALL).replace("\\\n", " ")
    blocks = "\n".join(re.findall(r"```\w*\n(.*?)```", text, flags=re.DOTALL))
    lines = [*blocks.splitlines(), *re.findall(r"^ {4}(?=relrec )(.*)$", text, flags=re.MULTILINE)]
    return [line.removeprefix("$ ") for line in lines if re.match(r"(\$ )?relrec \w", line)]


@pytest.mark.parametrize("line", sorted({line for page in PAGES for line in shown(page)}))
def test_commands_that_are_not_run_are_right(line, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("pins.json", "build/pins.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("{}")
    words = shlex.split(line.split(" # ")[0])
    command, rest = CLI, words[1:] if words[-1] != "…" else [*words[1:-1], *OTHER_FLAGS]
    while isinstance(command, TyperGroup):
        name, *rest = rest
        assert name in command.commands, f"no command {name}"
        command = command.commands[name]
    command.make_context(words[0], rest)  # what the command line does before it does anything else


@pytest.mark.parametrize("name", ["settings", "components", "cli"])
def test_written_pages_are_up_to_date(name, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "docs" / "reference"))
    page = getattr(importlib.import_module(f"make_{name}"), f"{name}_page")()
    assert (ROOT / "docs" / "reference" / f"{name}.md").read_text() == page


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_make_help_lists_every_verb():
    verbs = set(re.findall(r"^([a-z-]+):.*?## ", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    phony = set(re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)[1].split())
    assert verbs == phony
