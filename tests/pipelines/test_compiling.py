"""The compiled pipeline is deterministic, complete and pinned."""

import pytest

from components._images import ROLES, Pins, image
from model_core.errors import ConfigError
from pipelines.compiling import STEPS, ImageChoice, compile_pipeline, documents_of, export_components
from tests.compiled_once import compiled_anew

#: Steps that wait for one of which they read nothing: bad data may stop a run before it trains,
#: but must not train anew what has not changed.
WAITS = {"train": {"watch-data"}}


def test_same_code_same_bytes(tmp_path):
    first = compile_pipeline("retrain", tmp_path / "a.yaml").read_bytes()
    with compiled_anew():
        assert compile_pipeline("retrain", tmp_path / "b.yaml").read_bytes() == first


def test_every_step_is_there_and_wired_by_artifacts(tmp_path):
    spec = documents_of(compile_pipeline("retrain", tmp_path / "a.yaml").read_text())[0]
    tasks = spec["root"]["dag"]["tasks"]
    assert {name.replace("-", "_") for name in tasks} == set(STEPS)
    for name, task in tasks.items():
        needs = {entry["taskOutputArtifact"]["producerTask"]
                 for entry in task["inputs"].get("artifacts", {}).values()}
        # Order comes from data; a bare .after() would hide lineage from Kubeflow.
        assert needs | WAITS.get(name, set()) == set(task.get("dependentTasks", [])), name


@pytest.mark.parametrize(("name", "out"), [("retrian", "a.yaml"), ("retrain", "a.json")])
def test_bad_arguments(tmp_path, name, out):
    with pytest.raises(ConfigError):
        compile_pipeline(name, tmp_path / out)


def images_of(text):
    spec = documents_of(text)[0]
    return {name.removeprefix("exec-"): executor["container"]["image"]
            for name, executor in spec["deploymentSpec"]["executors"].items()}


PINS = Pins({role: f"r.example/t/relrec-{role}@sha256:{'0' * 64}" for role in ROLES}, "pins.json")


def test_pinned_images_take_the_place_of_every_name(tmp_path):
    local = images_of(compile_pipeline("retrain", tmp_path / "a.yaml").read_text())
    pinned = images_of(compile_pipeline("retrain", tmp_path / "b.yaml", ImageChoice(PINS)).read_text())
    for step, name in local.items():
        role = next(role for role in ROLES if name == image(role))
        assert pinned[step] == PINS.images[role], step
    assert {step for step, name in pinned.items() if "-gpu@" in name} == {"train", "evaluate"}
    assert "-serve@" in pinned["publish"]


def test_cpu_only_needs_no_gpu_image(tmp_path):
    pins = Pins({role: name for role, name in PINS.images.items() if role != "gpu"}, "pins.json")
    with pytest.raises(ConfigError, match="gpu"):
        compile_pipeline("retrain", tmp_path / "a.yaml", ImageChoice(pins))
    text = compile_pipeline("retrain", tmp_path / "a.yaml", ImageChoice(pins, cpu_only=True)).read_text()
    assert images_of(text)["train"] == pins.images["cpu"]


def test_a_cluster_gets_no_unpinned_image(tmp_path):
    with pytest.raises(ConfigError, match="--allow-unpinned"):
        compile_pipeline("retrain", tmp_path / "a.yaml", ImageChoice())
    with pytest.raises(ConfigError, match="--allow-unpinned"):
        list(export_components(tmp_path / "specs", ImageChoice()))
    assert not list(tmp_path.rglob("*.yaml"))


def test_exported_components_are_pinned(tmp_path):
    for path in export_components(tmp_path, ImageChoice(PINS)):
        assert "@sha256:" in images_of(path.read_text()).popitem()[1]
