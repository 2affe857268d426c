"""A training container that is taken away: another one goes on and ends with the same weights.

The first container ends in the middle of an epoch, by SIGTERM (the node is needed) or SIGKILL
(the node is gone), and all that it had on its disk is lost. Resume states are in an object
store, and nothing else is shared.
"""

import os
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from model_core.config import GraphConfig, ModelConfig, QueueConfig, SplitConfig, TrainConfig
from model_core.graph.build import build_graph
from model_core.negatives.build import build_negative_queue
from model_core.records import MANIFEST
from model_core.split.temporal import temporal_split
from model_core.storage.champion import write_champion
from model_core.storage.opening import open_store
from model_core.storage.registry import Registry
from model_core.tables.demo import DEMO_TASK
from model_core.tables.ingest import ingest
from tests.storage.doubles import servers

MODEL = ModelConfig(channels=16, embedding_dim=8, encoder_blocks=1, num_neighbors=8)
TRAIN = TrainConfig(epochs=2, min_steps_per_epoch=30, batch_size=64, checkpoint_every_steps=4, patience=9)
STRIKE_AT = 11
MADE = ("weights.safetensors", "selected.safetensors")


@pytest.fixture(scope="module")
def inputs(demo_dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("inputs")
    snapshot = ingest(str(demo_dataset), DEMO_TASK, folder / "snapshot")
    split = temporal_split(snapshot, SplitConfig(), folder / "split")
    graph = build_graph(snapshot, split, GraphConfig(), folder / "graph")
    build_negative_queue(split, graph, QueueConfig(size=256), 0, folder / "queue")
    write_champion(Registry(folder / "registry"), split.test_time, folder / "champion")
    for place in (folder, *folder.rglob("*")):
        place.chmod(0o755 if place.is_dir() else 0o644)
    return folder


@pytest.fixture
def start(record: dict[str, Any], client: Any, inputs: Path, tmp_path: Path):
    """Starts a train container that writes to a folder of its own."""
    started = []

    def start(name: str, states: str = "", environment: dict[str, str] | None = None) -> tuple[Any, Path]:
        out = tmp_path / name
        out.mkdir()
        out.chmod(0o777)
        command = ["train", "--graph", f"{inputs}/graph", "--split", f"{inputs}/split",
                   "--negative-queue", f"{inputs}/queue", "--champion", f"{inputs}/champion",
                   "--checkpoint", f"{out}/checkpoint",
                   "--tensorboard", f"{out}/tensorboard", "--metrics", f"{out}/metrics",
                   "--model-config", MODEL.model_dump_json(), "--train-config", TRAIN.model_dump_json(),
                   "--checkpoint-root", states]
        container = client.containers.run(
            record["images"]["cpu"]["name"], command, detach=True, user="10001:0", read_only=True,
            network_mode="host", tmpfs={"/tmp": ""}, cap_drop=["ALL"],
            environment={"OMP_NUM_THREADS": "1", **(environment or {})},
            volumes={str(inputs): {"bind": str(inputs), "mode": "ro"},
                     str(out): {"bind": str(out), "mode": "rw"}})
        started.append(container)
        return container, out

    yield start
    for container in started:
        container.remove(force=True)


def steps_of(container: Any) -> list[int]:
    """Numbers of the steps that the log names, in order."""
    return [int(number) for number in re.findall(r"step (\d+)/", container.logs().decode())]


def strike(container: Any, sent: signal.Signals, stored: Callable[[], bool]) -> int:
    """Send a signal once training is under way and a state is stored; the exit code."""
    for line in container.logs(stream=True, follow=True):
        found = re.search(r"step (\d+)/", line.decode())
        if found and int(found[1]) >= STRIKE_AT and stored():
            container.kill(sent.name)
            break
    return container.wait(timeout=120)["StatusCode"]


def made(out: Path) -> dict[str, bytes]:
    return {name: (out / "checkpoint" / name).read_bytes() for name in MADE}


@pytest.fixture(scope="module")
def gcs():
    with servers.gcs_server() as url:
        yield f"gs://{servers.BUCKET}", {"STORAGE_EMULATOR_HOST": url}


@pytest.fixture(scope="module")
def s3():
    with servers.s3_server() as url:
        yield f"s3://{servers.BUCKET}", {**servers.S3_ENVIRONMENT, "AWS_ENDPOINT_URL": url}


@pytest.mark.parametrize(("place", "sent"), [("gcs", signal.SIGTERM), ("s3", signal.SIGKILL)])
def test_another_container_goes_on(start, request, monkeypatch, place, sent):
    assert os.environ.get("OMP_NUM_THREADS"), "set OMP_NUM_THREADS: sums depend on the thread count"
    uri, environment = request.getfixturevalue(place)
    whole, undisturbed = start("whole")
    assert whole.wait(timeout=300)["StatusCode"] == 0, whole.logs().decode()

    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    store = open_store(f"{uri}/states")
    victim, lost = start("victim", f"{uri}/states", environment)
    code = strike(victim, sent, lambda: any(key.endswith(MANIFEST) for key in store.list("")))
    assert code == 128 + sent, victim.logs().decode()
    assert not (lost / "checkpoint").exists()
    if sent is signal.SIGTERM:
        assert f"; the state is in {uri}/states/" in victim.logs().decode()

    heir, out = start("heir", f"{uri}/states", environment)
    assert heir.wait(timeout=300)["StatusCode"] == 0, heir.logs().decode()
    resumed = re.search(r"resumed after step (\d+)", heir.logs().decode())
    assert resumed is not None, heir.logs().decode()
    last = max(steps_of(victim))
    # SIGTERM loses nothing; SIGKILL what came after the last upload.
    assert int(resumed[1]) >= (last if sent is signal.SIGTERM else 4)
    assert made(out) == made(undisturbed)
