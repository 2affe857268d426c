"""relrec submit retrain --target vertex."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

pytest.importorskip("google.cloud.aiplatform_v1")

from model_core.errors import ConfigError
from pipelines.cli.main import app
from pipelines.targets.vertex import connection
from tests.pipelines.vertex.service import PARENT, Service, serving

COMMAND = ["submit", "retrain", "--target", "vertex", "--project", "my-project", "--location", "europe-west1",
           "--staging-bucket", "gs://bucket/runs", "--dataset", "gs://bucket/shop", "--task", "buy",
           "--registry", "gs://bucket/registry", "--allow-unpinned", "--as-of", "2026-02-28"]


@pytest.fixture
def service(monkeypatch):
    service = Service()
    monkeypatch.setattr("model_core.tables.fingerprint.source_fingerprint", lambda *_: "fingerprint")
    with serving(service) as channel:
        connect = connection.connect
        monkeypatch.setattr(connection, "connect", lambda place: connect(place, channel))
        yield service


def test_submit_shows_the_link(service):
    done = CliRunner().invoke(app, COMMAND)
    assert done.exit_code == 0, done.output
    (name,) = service.jobs
    assert name.startswith(f"{PARENT}/pipelineJobs/retrain-buy-20260228-")
    assert "console.cloud.google.com/vertex-ai/pipelines" in done.stdout
    values = service.jobs[name].runtime_config.parameter_values
    assert (values["source_fingerprint"], values["as_of"]) == ("fingerprint", "2026-02-28T00:00:00Z")


@pytest.mark.parametrize(("state", "code"), [("SUCCEEDED", 0), ("FAILED", 1)])
def test_wait_exits_by_the_result(state, code, service, monkeypatch):
    create = service.create_pipeline_job

    def create_and_end(request):
        job = create(request)
        service.end(request.pipeline_job_id, state, {"train": ("FAILED" if code else "SUCCEEDED", "")})
        return job

    monkeypatch.setattr(service, "create_pipeline_job", create_and_end)
    done = CliRunner().invoke(app, [*COMMAND, "--wait", "--output", "json"])
    assert done.exit_code == code, done.output
    answer = json.loads(done.stdout)
    assert (answer["state"], answer["steps"]) == (state.lower(), {"train": state.lower()})


def test_dry_run_sends_nothing(service):
    done = CliRunner().invoke(app, [*COMMAND, "--dry-run", "--output", "json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["parent"] == PARENT
    assert not service.calls


@pytest.mark.parametrize(("changed", "message"), [
    (["--target", "moon"], "kubeflow or vertex"), (["--target", "kubeflow"], "add --target vertex"),
    (["--location", "Belgium"], "region"), (["--staging-bucket", "s3://bucket"], "gs:// URI"),
    (["--resources", "small_gpu", "--checkpoint-root", "gs://bucket/states"], "NVIDIA_L4"),
])
def test_bad_flags_are_one_clear_error(changed, message, service):
    done = CliRunner().invoke(app, [*COMMAND, *changed])
    assert isinstance(done.exception, ConfigError)
    assert message in str(done.exception)
    assert not service.calls


