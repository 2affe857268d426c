"""The relrec command: fast, documented, and clear when something is wrong."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipelines.cli.main import app
from pipelines.compiling import STEPS, documents_of
from tests.command_line import Said, relrec


def relrec_process(*words: str) -> Said:
    done = subprocess.run([sys.executable, "-m", "pipelines.cli.main", *words], capture_output=True,
                          text=True)
    return Said(done.returncode, done.stdout, done.stderr)


def test_a_terminal_without_the_characters_ends_nothing():
    code = ("import sys; from pipelines.cli import main; sys.argv = ['relrec', '--version']\n"
            "try: main.main()\nexcept SystemExit: pass\nprint('\u2713 done')")
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True,
                          env={**os.environ, "PYTHONIOENCODING": "latin-1"})
    assert done.stdout.endswith(b"? done\n")


def test_compile_does_not_import_torch(tmp_path):
    code = (
        "import sys\n"
        "from pipelines.cli.main import app\n"
        f"try: app(['compile', 'retrain', '-o', {str(tmp_path / 'r.yaml')!r}, '--allow-unpinned'])\n"
        "except SystemExit: pass\n"
        "assert 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    assert (tmp_path / "r.yaml").read_text().startswith("# PIPELINE DEFINITION")


@pytest.mark.parametrize(("arguments", "message"), [
    (["run", "retrain", "--dataset", "nowhere", "--task", "t", "--set", "train.epoch=1"], "'epochs'"),
    (["run", "retrain", "--dataset", "nowhere", "--task", "t", "--runner", "moon"], "process"),
    (["run", "retrain", "--dataset", "nowhere", "--task", "t", "--warm-start", "yes"], "warm_start"),
    (["run", "retrain", "--dataset", "nowhere", "--task", "t", "--as-of", "[[ScheduledTime]]"], "macro"),
    (["run", "retrain", "--dataset", "./nowhere", "--task", "t"], "nowhere"),
    (["run", "retrain", "--dataset", "x", "--task", "t", "--registry", "gs://u:p@b/r"], "credentials"),
    (["run", "retrain", "--dataset", "x", "--task", "t", "--root", "s3://"], "name the bucket"),
    (["run", "retrain", "--dataset", "x", "--task", "t", "--json", "."], "directory"),
    (["run", "retrain", "--dataset", "x", "--task", "t", "--model", "nonsense"], "two_tower"),
    (["components", "export", "-o", "/proc/none", "--allow-unpinned"], "/proc/none"),
    (["validate", "./nowhere"], "nowhere"),
    (["describe", "./nowhere"], "nowhere"),
    (["compile", "retrain", "-o", "r.json"], ".yaml"),
    (["compile", "retrain"], "--allow-unpinned"),
    (["components", "export"], "--allow-unpinned"),
    (["compile", "retrain", "--allow-unpinned", "--cpu-only", "--resources", "small_gpu"], "without GPU"),
    (["compile", "retrain", "--images", "nowhere.json"], "make push"),
    (["run", "retrain", "--dataset", "x", "--task", "t", "--docker", "memory=1g"], "--runner docker"),
    (["run", "retrain", "--dataset", "x", "--task", "t", "--runner", "docker", "--docker", "ram=1g"],
     "memory"),
])
def test_mistakes_are_one_line_and_exit_2(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    check_mistake(relrec(*arguments), message, tmp_path)


def test_no_import_adds_a_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    said = relrec_process("run", "retrain", "--dataset", "./nowhere", "--task", "t")
    check_mistake(said, "nowhere", tmp_path)


def check_mistake(said: Said, message: str, folder: Path) -> None:
    assert said.code == 2
    assert said.err.startswith("error: ")
    assert said.err.count("\n") == 1
    assert message in said.err
    assert "Fix: " in said.err
    assert not list(folder.rglob("*.parquet"))


def test_validate_and_describe_show_the_demo(demo_dataset):
    done = CliRunner().invoke(app, ["validate", str(demo_dataset)])
    assert done.exit_code == 0, done.output
    done = CliRunner().invoke(app, ["describe", str(demo_dataset)])
    assert done.exit_code == 0, done.output
    for table in (demo_dataset / "db").glob("*.parquet"):
        assert Path(table).stem in done.output


def test_components_export_writes_every_step(tmp_path):
    done = CliRunner().invoke(app, ["components", "export", "-o", str(tmp_path), "--allow-unpinned"])
    assert done.exit_code == 0, done.output
    assert len(list(tmp_path.glob("*/component.yaml"))) == len(STEPS)


@pytest.mark.parametrize(("resources", "role", "warns"), [
    ("laptop", "gpu", False), ("cpu", "cpu", False), ("small_gpu", "gpu", True)])
def test_image_and_warning_follow_the_resources(resources, role, warns, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    said = relrec("compile", "retrain", "--allow-unpinned", "--resources", resources, "-o", "r.yaml")
    assert said.code == 0, said.err
    spec = documents_of((tmp_path / "r.yaml").read_text())[0]
    assert f"relrec-{role}:" in spec["deploymentSpec"]["executors"]["exec-train"]["container"]["image"]
    assert ("checkpoint_root" in said.err) == warns
