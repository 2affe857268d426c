"""What the tests with a real engine share. They need ``make images`` before."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from components._images import code_digest, recipe_digest
from pipelines.targets.engine import connect

ROOT = Path(__file__).resolve().parents[2]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.docker)


@pytest.fixture(scope="session")
def record() -> dict[str, Any]:
    """What ``make images`` wrote; of this code, or the test fails."""
    path = ROOT / "build" / "images.json"
    assert path.is_file(), "run make images first"
    record = json.loads(path.read_bytes())
    now = code_digest(), recipe_digest()
    assert (record["code_digest"], record["recipe"]) == now, "the code has changed: run make images again"
    return record


@pytest.fixture(scope="session")
def client() -> Iterator[Any]:
    client = connect()
    yield client
    client.close()


@pytest.fixture(scope="session")
def run_in(record: dict[str, Any], client: Any) -> Callable[..., str]:
    """Output of a shell command in an image of a role; read-only root, no network, no capabilities."""

    def run(role: str, command: str, user: str = "10001:0") -> str:
        output = client.containers.run(
            record["images"][role]["name"], ["sh", "-c", command], user=user, read_only=True, remove=True,
            network_mode="none", tmpfs={"/tmp": ""}, cap_drop=["ALL"], stderr=True)
        return output.decode()

    return run
