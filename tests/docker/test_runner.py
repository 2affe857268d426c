"""KFP's DockerRunner with our way of running a container: no crash passes for a success."""

from pathlib import Path

import pytest
from kfp import compiler, dsl

from components._images import image
from model_core.errors import ConfigError
from pipelines.targets import docker
from pipelines.targets.containers import ContainerSettings

WRITE = """
import json, os, sys
value = json.loads(sys.argv[-1])
mode = value["inputs"]["parameterValues"]["mode"]
print("mode", mode, "user", os.getuid(), flush=True)
if mode == "crash": sys.exit(3)
if mode == "segfault":
    import ctypes; ctypes.string_at(0)
if mode == "hungry":
    kept = []
    while True: kept.append(bytearray(b"x" * 10_000_000))
if mode == "wait":
    import time; time.sleep(60)
if mode == "outside":
    try: open("/app/x", "w")
    except OSError as error: print(error.strerror)
if mode != "forget":
    artifact = value["outputs"]["artifacts"]["text"]["artifacts"][0]
    open(artifact["uri"], "w").write(mode)
    json.dump({"artifacts": {"text": {"artifacts": [artifact]}}}, open(value["outputs"]["outputFile"], "w"))
"""


@dsl.container_component
def first(text: dsl.Output[dsl.Dataset], mode: str):
    return dsl.ContainerSpec(image=image("cpu"), command=["python3", "-c", WRITE],
                             args=["--executor-input", dsl.PIPELINE_TASK_EXECUTOR_INPUT_PLACEHOLDER])


@dsl.container_component
def second(before: dsl.Input[dsl.Dataset], text: dsl.Output[dsl.Dataset], mode: str):
    return dsl.ContainerSpec(image=image("gpu"), command=["python3", "-c", WRITE],
                             args=["--executor-input", dsl.PIPELINE_TASK_EXECUTOR_INPUT_PLACEHOLDER])


@dsl.container_component
def nonsense(text: dsl.Output[dsl.Dataset]):
    return dsl.ContainerSpec(image=image("cpu"), command=["no-such-program"],
                             args=["--executor-input", dsl.PIPELINE_TASK_EXECUTOR_INPUT_PLACEHOLDER])


@dsl.pipeline(name="pair")
def pair(one: str, two: str):
    start = first(mode=one)
    second(before=start.outputs["text"], mode=two)


@dsl.pipeline(name="lost")
def lost():
    nonsense()


@pytest.fixture(scope="module")
def yaml(tmp_path_factory, record):
    path = tmp_path_factory.mktemp("yaml") / "pair.yaml"
    compiler.Compiler().compile(pair, str(path))
    return path


def run(yaml: Path, root: Path, one: str, two: str, **options):
    return {step.name: step for step in docker.run_pipeline(
        yaml, {"one": one, "two": two}, root, ("first", "second"), **options)}


def left(client, root):
    return client.containers.list(all=True, filters={"label": f"relrec.root={root}"})


def test_runs_in_order_with_live_output_and_the_cache(yaml, tmp_path, client):
    said = []
    steps = run(yaml, tmp_path / "r", "outside", "b", output=said.append)
    assert [step.status for step in steps.values()] == ["succeeded", "succeeded"], steps
    assert Path(steps["second"].outputs["text"]).read_text() == "b"
    text = b"".join(said).decode()
    assert "mode outside user 10001" in text or "user 0" not in text
    assert "Read-only file system" in text or "Permission denied" in text
    assert "mode b" in Path(steps["second"].log).read_text()
    assert all(step.cached for step in run(yaml, tmp_path / "r", "outside", "b").values())
    assert not left(client, tmp_path / "r")


def test_arbitrary_user(yaml, tmp_path):
    root = tmp_path / "r"
    said = []
    steps = run(yaml, root, "a", "b", output=said.append, settings=ContainerSettings(user="54321:0"))
    assert steps["second"].status == "succeeded", steps
    assert b"user 54321" in b"".join(said)


@pytest.mark.parametrize(("mode", "message"), [
    ("crash", "exit code 3"), ("segfault", "killed by SIGSEGV"), ("forget", "no output text"),
])
def test_failures_are_failures_every_time(yaml, tmp_path, client, mode, message):
    for attempt in range(5):
        steps = run(yaml, tmp_path / f"{attempt}", mode, "b")
        assert (steps["first"].status, steps["second"].status) == ("failed", "not_run")
        assert message in steps["first"].error
        assert "Fix: " in steps["first"].error
    assert not left(client, tmp_path / "0")


def test_out_of_memory_is_told_as_such(yaml, tmp_path):
    steps = run(yaml, tmp_path / "r", "hungry", "b", settings=ContainerSettings(memory="60m"))
    assert steps["first"].status == "failed"
    assert "OOMKilled" in steps["first"].error
    assert "60m" in steps["first"].error
    assert steps["second"].status == "not_run"


def test_a_command_that_is_not_there(tmp_path, record):
    compiler.Compiler().compile(lost, str(tmp_path / "lost.yaml"))
    (step,) = docker.run_pipeline(tmp_path / "lost.yaml", {}, tmp_path / "r", ("nonsense",))
    assert step.status == "failed"
    assert "no-such-program" in step.error


def test_a_network_that_is_not_there(yaml, tmp_path, client):
    steps = run(yaml, tmp_path / "r", "a", "b", settings=ContainerSettings(network="no-such-network"))
    assert steps["first"].status == "failed"
    assert "no-such-network" in steps["first"].error
    assert not left(client, tmp_path / "r")


def test_a_missing_image_is_told_before_anything_starts(yaml, tmp_path):
    other = tmp_path / "other.yaml"
    other.write_text(yaml.read_text().replace(image("cpu"), "relrec.invalid/none:1"))
    with pytest.raises(ConfigError, match="make images"):
        run(other, tmp_path / "r", "a", "b")
    assert not (tmp_path / "r").exists()


def test_an_interrupt_stops_and_removes_the_container(yaml, tmp_path, client):
    def interrupt(chunk):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(yaml, tmp_path / "r", "wait", "b", output=interrupt)
    assert not left(client, tmp_path / "r")


def test_containers_of_a_killed_run_are_removed_by_the_next(yaml, tmp_path, client, record):
    root = tmp_path / "r"
    client.containers.create(record["images"]["cpu"]["name"], ["sleep", "60"],
                             labels={"relrec.root": str(root)})
    assert run(yaml, root, "a", "b")["second"].status == "succeeded"
    assert not left(client, root)


def test_the_patch_is_undone(yaml, tmp_path):
    from kfp.local import docker_task_handler

    before = docker_task_handler.run_docker_container
    run(yaml, tmp_path / "r", "a", "b")
    assert docker_task_handler.run_docker_container is before
