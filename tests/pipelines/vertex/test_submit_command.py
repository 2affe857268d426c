"""relrec submit and schedule with --target vertex."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

pytest.importorskip("google.cloud.aiplatform_v1")

from model_core.errors import ConfigError
from pipelines.cli.main import app
from pipelines.targets.following import follow
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


def test_ctrl_c_ends_the_waiting_and_not_the_job(service, monkeypatch):
    def interrupt(seconds):
        raise KeyboardInterrupt

    monkeypatch.setattr("pipelines.targets.following.follow.__kwdefaults__", {
        **follow.__kwdefaults__, "sleep": interrupt})
    done = CliRunner().invoke(app, [*COMMAND, "--wait", "--output", "json"])
    assert done.exit_code == 130
    assert "the run goes on: https://console" in done.stderr
    assert json.loads(done.stdout)["state"] == "pending"
    assert "cancel_pipeline_job" not in service.calls


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




PLACE = ["--target", "vertex", "--project", "my-project", "--location", "europe-west1"]
CREATE = ["schedule", "create", *COMMAND[2:-2], "--cron", "0 3 * * *", "--timezone", "Europe/Berlin"]


def test_a_schedule_lives_through_its_commands(service):
    def call(*arguments: str):
        done = CliRunner().invoke(app, ["schedule", *arguments, *PLACE, "--output", "json"])
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)

    made = CliRunner().invoke(app, [*CREATE, "--end", "2027-01-01"])
    assert made.exit_code == 0, made.output
    assert "retrain-buy 1000: created, active, '0 3 * * *' Europe/Berlin" in made.stdout
    (schedule,) = service.schedules.values()
    job = schedule.create_pipeline_job_request.pipeline_job
    values = job.runtime_config.parameter_values
    assert (values["as_of"], values["as_of_required"]) == ("", True)
    ingest = job.pipeline_spec["root"]["dag"]["tasks"]["ingest"]["inputs"]["parameters"]["as_of"]
    assert "pipeline_job_schedule_time_utc" in ingest["runtimeValue"]["constant"]
    assert call("pause", "retrain-buy")["state"] == "paused"
    assert call("resume", "1000")["state"] == "active"
    assert [view["name"] for view in call("list")] == ["retrain-buy"]
    assert call("show", "retrain-buy")["end"] == "2026-12-31T23:00:00Z"
    assert call("delete", "retrain-buy")["state"] == "deleted"
    assert not service.schedules


def test_a_schedule_can_be_made_paused_or_only_looked_at(service):
    assert CliRunner().invoke(app, [*CREATE, "--dry-run"]).exit_code == 0
    assert not service.calls
    done = CliRunner().invoke(app, [*CREATE, "--paused", "--output", "json"])
    assert (json.loads(done.stdout)["state"], json.loads(done.stdout)["change"]) == ("paused", "created")
    for words, expected in ([], ("active", "resumed")), ([], ("active", "unchanged")), (
            ["--paused"], ("paused", "paused")):
        done = CliRunner().invoke(app, [*CREATE, *words, "--output", "json"])
        assert (json.loads(done.stdout)["state"], json.loads(done.stdout)["change"]) == expected


def test_every_option_reaches_the_schedule(service, monkeypatch):
    def made(*words):
        done = CliRunner().invoke(app, [*CREATE, *words, "--output", "json"])
        assert done.exit_code == 0, done.output
        (schedule,) = service.schedules.values()
        parameters = schedule.create_pipeline_job_request.pipeline_job.runtime_config.parameter_values
        return json.loads(done.stdout), schedule, parameters

    view, schedule, _ = made("--cron", "0 3 * * MON,7", "--end", "2027-01-01")
    assert (view["cron"], schedule.cron) == ("0 3 * * mon,0", "TZ=Europe/Berlin 0 3 * * mon,0")
    view, _, parameters = made("--warm-start", "champion")
    assert json.loads(parameters["train_config"])["warm_start"] == "champion"
    assert view["end"] is None, "an end that is not asked for any more is gone"
    monkeypatch.setattr("pipelines.parameters.caller", lambda: "somebody@else")
    assert made("--warm-start", "champion")[0]["change"] == "unchanged"
    for words, message in ([["--cluster-timezone", "UTC"], "leave it out"],
                           [["--start", "2027-02-01", "--end", "2027-01-01"], "after --start"]):
        refused = CliRunner().invoke(app, [*CREATE, *words])
        assert isinstance(refused.exception, ConfigError)
        assert message in str(refused.exception)
