"""The compiled pipeline is deterministic, complete and pinned."""

import pytest
import yaml

from model_core.errors import ConfigError
from pipelines.compiling import STEPS, compile_pipeline


def test_same_code_same_bytes(tmp_path):
    first = compile_pipeline("retrain", tmp_path / "a.yaml").read_bytes()
    assert compile_pipeline("retrain", tmp_path / "b.yaml").read_bytes() == first


def test_every_step_is_there_and_wired_by_artifacts(tmp_path):
    spec = yaml.safe_load(compile_pipeline("retrain", tmp_path / "a.yaml").read_text())
    tasks = spec["root"]["dag"]["tasks"]
    assert {name.replace("-", "_") for name in tasks} == set(STEPS)
    for name, task in tasks.items():
        needs = {entry["taskOutputArtifact"]["producerTask"]
                 for entry in task["inputs"].get("artifacts", {}).values()}
        # Order comes from data alone; a bare .after() would hide lineage from Kubeflow.
        assert needs == set(task.get("dependentTasks", [])), name


@pytest.mark.parametrize(("name", "out"), [("retrian", "a.yaml"), ("retrain", "a.json")])
def test_bad_arguments(tmp_path, name, out):
    with pytest.raises(ConfigError):
        compile_pipeline(name, tmp_path / out)
