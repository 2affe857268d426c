"""Object stores to test against: real server processes on loopback, one of a kind per session."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from model_core.storage.gcs import GcsStore
from model_core.storage.object_store import ObjectStore
from model_core.storage.opening import open_store
from model_core.storage.settings import StorageSettings
from tests.storage.doubles import servers

#: Short waits, small chunks: what takes minutes in the world takes a second here.
QUICK = StorageSettings(deadline_s=4, timeout_s=1.5, chunk_bytes=1 << 20, parallel=4, first_wait_s=0.02,
                        longest_wait_s=0.1)
_number = itertools.count()


@pytest.fixture(scope="session")
def gcs_url() -> Iterator[str]:
    pytest.importorskip("gcp_storage_emulator")
    with servers.gcs_server() as url:
        yield url


@pytest.fixture(scope="session")
def s3_url() -> Iterator[str]:
    pytest.importorskip("moto.server")
    pytest.importorskip("s3fs")
    with servers.s3_server() as url:
        yield url


@pytest.fixture
def gcs_uri(gcs_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A fresh prefix on the emulator, which the client is told of as users tell it."""
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", gcs_url)
    return f"gs://{servers.BUCKET}/test{next(_number)}"


@pytest.fixture
def s3_uri(s3_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A fresh prefix on the S3 server."""
    for name, value in (servers.S3_ENVIRONMENT | {"AWS_ENDPOINT_URL": s3_url}).items():
        monkeypatch.setenv(name, value)
    return f"s3://{servers.BUCKET}/test{next(_number)}"


@pytest.fixture(params=["gs", "s3"])
def remote_uri(request: pytest.FixtureRequest) -> str:
    """Each remote store in turn."""
    return request.getfixturevalue({"gs": "gcs_uri", "s3": "s3_uri"}[request.param])


@pytest.fixture(params=["local", "gs", "s3"])
def make_store(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], ObjectStore]:
    """Makes clients of one place, as several processes would have."""
    if request.param == "local":
        return lambda: open_store(tmp_path / "store")
    uri = request.getfixturevalue({"gs": "gcs_uri", "s3": "s3_uri"}[request.param])
    return lambda: open_store(uri, settings=QUICK)


@pytest.fixture
def gcs(gcs_uri: str) -> GcsStore:
    store = open_store(gcs_uri, settings=QUICK)
    assert isinstance(store, GcsStore)
    return store
