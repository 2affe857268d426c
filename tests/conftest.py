"""Fixtures that every test may use."""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.compiled_once import compiled_once
from tests.storage.doubles.fixtures import (  # noqa: F401
    gcs,
    gcs_uri,
    gcs_url,
    make_store,
    remote_uri,
    s3_uri,
    s3_url,
)

_BESIDE_THE_REPO = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """With ``-n``, unless another ``--dist`` was asked for."""
    if config.getvalue("dist") != "load":
        return None
    from tests.scheduling import ByFile

    config.option.loadscopereorder = False  # the exporting files take longest, and come early
    return ByFile(config, log)


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test reads or fills the user's cache of fetched files."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("RELREC_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session", autouse=True)
def _ctrl_c_counts() -> None:
    """A shell starts what it puts in the background with SIGINT ignored, and Python leaves it so."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def _compiled_once() -> Iterator[None]:
    with compiled_once():
        yield


@pytest.fixture(scope="session")
def real_data() -> Callable[[str], Path]:
    """Folder of a real dataset by name; skips the test where it is absent.

    Datasets lie in the folder that the environment variable RELREC_DATA names.
    """

    def find(name: str) -> Path:
        folder = Path(os.environ.get("RELREC_DATA", _BESIDE_THE_REPO)) / name
        if not (folder / "manifest.yaml").is_file():
            pytest.skip(f"dataset {name} is not in {folder.parent}; set RELREC_DATA to its folder")
        return folder

    return find


@pytest.fixture(scope="session")
def demo_dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small demo shop in RelBench form; read only."""
    from model_core.tables.demo import write_demo_dataset

    return write_demo_dataset(tmp_path_factory.mktemp("demo") / "shop", scale=0.1)


@pytest.fixture(scope="session")
def demo_snapshot(demo_dataset: Path, tmp_path_factory: pytest.TempPathFactory):
    """The Snapshot of ``demo_dataset``; read only."""
    from model_core.tables.demo import DEMO_TASK
    from model_core.tables.ingest import ingest

    return ingest(str(demo_dataset), DEMO_TASK, tmp_path_factory.mktemp("demo") / "snapshot")
