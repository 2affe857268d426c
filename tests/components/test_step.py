"""The inside of a step: how arguments come in and results go out."""

import json
from pathlib import Path

import pytest

from components._step import EXIT_BUG, EXIT_USER_ERROR, Input, Metadata, Output, local_path, run_step
from model_core.errors import DataError


def copy(source: Input, target: Output, times: int = 1, loud: bool = False) -> Metadata:
    """Copy a file.

    Args:
        source: What to copy.
        target: Where to.
        times: How often.
        loud: Whether to shout.
    """
    text = Path(source).read_text() * times
    Path(target).write_text(text.upper() if loud else text)
    return {"target": {"length": len(text)}}


def executor_input(tmp_path: Path, **parameters) -> dict:
    (tmp_path / "in.txt").write_text("ab")
    return {
        "inputs": {
            "parameterValues": parameters,
            "artifacts": {"source": {"artifacts": [{"uri": str(tmp_path / "in.txt")}]}},
        },
        "outputs": {
            "artifacts": {"target": {"artifacts": [
                {"name": "target", "uri": str(tmp_path / "deep" / "out.txt"),
                 "type": {"schemaTitle": "system.Dataset"}}]}},
            "outputFile": str(tmp_path / "task" / "executor_output.json"),
        },
    }


def test_kubeflow_call_casts_parameters_and_writes_executor_output(tmp_path):
    value = executor_input(tmp_path, times=2.0, loud="True")
    assert run_step(copy, ["--executor-input", json.dumps(value)]) == 0
    assert (tmp_path / "deep" / "out.txt").read_text() == "ABAB"
    output = json.loads((tmp_path / "task" / "executor_output.json").read_text())
    (artifact,) = output["artifacts"]["target"]["artifacts"]
    assert artifact["metadata"] == {"length": 4}
    assert artifact["type"] == {"schemaTitle": "system.Dataset"}


def test_person_call(tmp_path):
    (tmp_path / "a").write_text("x")
    argv = ["--source", str(tmp_path / "a"), "--target", str(tmp_path / "new" / "b"), "--times", "3"]
    assert run_step(copy, argv) == 0
    assert (tmp_path / "new" / "b").read_text() == "xxx"


def test_user_error_is_one_line_and_left_beside_the_outputs(tmp_path, capsys):
    def fail(source: Input, target: Output) -> None:
        """Fail."""
        raise DataError("table t", "rows", "none", "add rows")

    value = executor_input(tmp_path)
    assert run_step(fail, ["--executor-input", json.dumps(value)]) == EXIT_USER_ERROR
    assert capsys.readouterr().err == "error: table t: expected rows, found none. Fix: add rows.\n"
    error = json.loads((tmp_path / "task" / "error.json").read_text())
    assert error == {"type": "DataError", "user_fault": True,
                     "message": "table t: expected rows, found none. Fix: add rows."}


def test_forgotten_output_is_an_error(tmp_path, capsys):
    def forget(source: Input, target: Output) -> None:
        """Write nothing."""

    assert run_step(forget, ["--executor-input", json.dumps(executor_input(tmp_path))]) == EXIT_USER_ERROR
    assert "output 'target'" in capsys.readouterr().err


def test_bug_shows_its_traceback(tmp_path, capsys):
    def crash(source: Input, target: Output) -> None:
        """Crash."""
        raise ZeroDivisionError("no")

    assert run_step(crash, ["--executor-input", json.dumps(executor_input(tmp_path))]) == EXIT_BUG
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize(("uri", "path"), [
    ("/a/b", "/a/b"), ("file:///a/b", "/a/b"), ("gs://b/k", "/gcs/b/k"),
    ("s3://b/k", "/s3/b/k"), ("minio://b/k", "/minio/b/k"),
])
def test_local_path(uri, path):
    assert local_path(uri) == Path(path)
