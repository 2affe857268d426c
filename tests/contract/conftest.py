"""A backend per test, and what is sent to it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from model_core.config import RunConfig
from model_core.errors import RelrecError
from pipelines.compiling import pipeline_yaml
from pipelines.parameters import pipeline_arguments
from pipelines.targets.kubeflow.client import Client, connect
from pipelines.targets.kubeflow.connection import load_connection
from pipelines.targets.kubeflow.submit import Submission
from tests.contract.kfp_server import KfpServer


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """No setting, proxy or context file of the person who runs the tests."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "KF_PIPELINES_ENDPOINT",
                 "KF_PIPELINES_UI_ENDPOINT", "KUBERNETES_SERVICE_HOST", "RELREC_KUBEFLOW",
                 "RELREC_KUBEFLOW_HOST", "RELREC_KUBEFLOW_NAMESPACE", "RELREC_KUBEFLOW_TOKEN_COMMAND",
                 "RELREC_KUBEFLOW_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setattr("kfp.Client._LOCAL_KFP_CONTEXT",
                        str(tmp_path_factory.mktemp("home") / "context.json"))
    monkeypatch.setenv("COLUMNS", "200")


@pytest.fixture
def server() -> Iterator[KfpServer]:
    with KfpServer() as started:
        yield started


@pytest.fixture
def quick(tmp_path) -> str:
    """A connection file with short pauses; no test waits for the time limit."""
    path = tmp_path / "connection.yaml"
    path.write_text("timeout_s: 10.0\nretry_pause_s: 0.01\n")
    return str(path)


@pytest.fixture
def client(server: KfpServer, quick: str) -> Client:
    return connect(load_connection(host=server.url, file=Path(quick), environment={}))


@pytest.fixture(scope="session")
def yaml() -> str:
    return pipeline_yaml("retrain")


@pytest.fixture
def submission(yaml: str) -> Submission:
    arguments = pipeline_arguments(dataset="gs://bucket/shop", task="buy", registry="gs://bucket/registry",
                                   config=RunConfig(), as_of="2026-11-20")
    return Submission("retrain", yaml, arguments, "retrain-buy-20261120", "retrain-buy")


@dataclass(frozen=True)
class Said:
    """What a command printed and how it ended."""

    code: int
    out: str
    err: str


@pytest.fixture
def relrec(server: KfpServer, quick: str, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Said]:
    """Runs a command against the server, as the console script would."""
    from pipelines.cli.main import app

    monkeypatch.setenv("RELREC_KUBEFLOW_HOST", server.url)
    monkeypatch.setenv("RELREC_KUBEFLOW", quick)
    monkeypatch.setattr("model_core.tables.fingerprint.source_fingerprint", lambda *_: "ab" * 32)

    def run(*words: Any) -> Said:
        done = CliRunner().invoke(app, [str(word) for word in words])
        if isinstance(done.exception, RelrecError):
            return Said(2, done.stdout, f"error: {done.exception}")
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exc_info
        return Said(done.exit_code, done.stdout, done.stderr)

    return run
