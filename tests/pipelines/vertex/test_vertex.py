"""Vertex AI: the real client library against a service in this process."""

from __future__ import annotations

import pickle
import subprocess
import sys
from datetime import UTC, datetime

import grpc
import pytest

pytest.importorskip("google.cloud.aiplatform_v1")

from google.auth.exceptions import RefreshError
from google.cloud import aiplatform_v1 as v1
from google.protobuf import json_format

from model_core.config import RunConfig
from model_core.errors import ConfigError
from pipelines.compiling import STEPS, ImageChoice, documents_of, pipeline_yaml
from pipelines.parameters import pipeline_arguments
from pipelines.resources import PRESETS
from pipelines.targets.following import follow
from pipelines.targets.vertex import schedules
from pipelines.targets.vertex.connection import Clients, VertexPlace, connect
from pipelines.targets.vertex.errors import VertexError, talking
from pipelines.targets.vertex.job import job_id, pipeline_job
from pipelines.targets.vertex.runs import cancel, get_run, submit
from tests.pipelines.vertex.service import PARENT, Service, serving

NOW = datetime(2026, 3, 1, 4, 5, 6, tzinfo=UTC)
PLACE = VertexPlace("my-project", "europe-west1", "gs://bucket/relrec", "robot@my-project.iam", "NVIDIA_L4")
ARGUMENTS = pipeline_arguments(dataset="gs://bucket/shop", task="buy", registry="gs://bucket/registry",
                               config=RunConfig(), as_of="2026-02-28")


@pytest.fixture(scope="module")
def text() -> str:
    return pipeline_yaml("retrain", ImageChoice(None, allow_unpinned=True), PRESETS["small_gpu"])


@pytest.fixture
def service() -> Service:
    return Service()


@pytest.fixture
def clients(service: Service):
    with serving(service) as channel:
        yield connect(PLACE, channel)


def create(clients: Clients, text: str, **changed) -> schedules.VertexSchedule:
    arguments = {"cron": "0 3 * * *", "timezone": "Europe/Berlin"} | changed
    return schedules.create(clients, "nightly", text, ARGUMENTS, **arguments)


def test_the_job_holds_the_pipeline_that_is_run_elsewhere(service, clients, text):
    run = submit(clients, text, ARGUMENTS, "retrain-buy-20260228", now=NOW)
    assert run.job_id == "retrain-buy-20260228-20260301-040506"
    assert run.state == "pending"
    assert run.link.endswith(f"/locations/europe-west1/runs/{run.job_id}?project=my-project")
    job = service.jobs[f"{PARENT}/pipelineJobs/{run.job_id}"]
    assert job.service_account == "robot@my-project.iam"
    assert job.runtime_config.gcs_output_directory == "gs://bucket/relrec"
    assert job.runtime_config.parameter_values["as_of"] == "2026-02-28T00:00:00Z"
    assert job.runtime_config.parameter_values["seed"] == ARGUMENTS["seed"]
    assert job.labels["relrec-task"] == "buy"
    sent = json_format.MessageToDict(v1.PipelineJob.pb(job).pipeline_spec)
    compiled = documents_of(text)[0]
    assert set(sent["components"]) == {f"comp-{step.replace('_', '-')}" for step in STEPS}
    for executor in sent["deploymentSpec"]["executors"].values():  # the one thing that is named otherwise
        for key, value in executor["container"].get("resources", {}).get("accelerator", {}).items():
            if value == "NVIDIA_L4":
                executor["container"]["resources"]["accelerator"][key] = "nvidia.com/gpu"
    assert sent == json_format.MessageToDict(json_format.ParseDict(compiled, v1.PipelineJob.pb(
        v1.PipelineJob()).pipeline_spec))


def test_what_only_kubernetes_knows_is_told(text):
    left_out = pipeline_job(PLACE, text, ARGUMENTS, "name").left_out
    assert any("/dev/shm" in what for what in left_out)
    assert any("spot" in what for what in left_out)
    assert not pipeline_job(PLACE, next(iter(text.split("\n---\n"))), ARGUMENTS, "name").left_out


@pytest.mark.parametrize(("changed", "message"), [
    ({"accelerator": ""}, "NVIDIA_L4"), ({"accelerator": "nvidia.com/gpu"}, "--accelerator"),
    ({"staging_bucket": ""}, "--staging-bucket"), ({"staging_bucket": "s3://bucket"}, "gs://"),
    ({"project": "My Project"}, "--project"), ({"location": "Belgium"}, "--location"),
    ({"service_account": "robot"}, "e-mail"),
])
def test_a_bad_place_is_refused_before_anything_is_sent(changed, message, text):
    with pytest.raises(ConfigError, match=message):
        pipeline_job(VertexPlace(**{**vars(PLACE), **changed}), text, ARGUMENTS, "name")


def test_a_job_without_gpu_needs_no_accelerator():
    text = pipeline_yaml("retrain", ImageChoice(None, allow_unpinned=True, cpu_only=True), PRESETS["cpu"])
    assert pipeline_job(VertexPlace("my-project", "europe-west1", "gs://b"), text, ARGUMENTS, "name").message


def test_a_lost_answer_starts_no_second_job(service, clients, text):
    service.lose_answers = 1
    run = submit(clients, text, ARGUMENTS, "retrain", now=NOW)
    assert service.calls == ["create_pipeline_job", "create_pipeline_job", "get_pipeline_job"]
    assert list(service.jobs) == [f"{PARENT}/pipelineJobs/{run.job_id}"]


def test_a_job_that_may_have_started_is_named(service, clients, text):
    service.faults = [grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.UNAVAILABLE]
    with pytest.raises(VertexError, match="look for the job retrain-20260301-040506") as caught:
        submit(clients, text, ARGUMENTS, "retrain", now=NOW)
    assert caught.value.transient


def test_a_job_of_the_same_id_is_not_taken_for_this_one(service, clients, text):
    submit(clients, text, ARGUMENTS, "retrain", now=NOW)
    with pytest.raises(VertexError, match="a name that is free"):
        submit(clients, text, ARGUMENTS, "retrain", now=NOW)


def test_a_run_is_followed_to_its_end_through_an_outage(service, clients, text):
    run = submit(clients, text, ARGUMENTS, "retrain", now=NOW)
    pauses = []

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 2:
            service.end(run.job_id, "FAILED", {
                "ingest": ("SUCCEEDED", ""), "train": ("FAILED", "out of memory")})

    service.faults = [None, grpc.StatusCode.UNAVAILABLE]
    *_, last = follow(lambda: get_run(clients, run.job_id), poll_s=3, sleep=sleep)
    assert (last.state, last.error, pauses) == ("failed", "out of memory", [3, 3])
    assert last.steps == {"ingest": "succeeded", "train": "failed"}


def test_waiting_for_a_service_that_stays_away_ends(service, clients):
    moments = iter(range(0, 10_000, 400))
    service.faults = [grpc.StatusCode.UNAVAILABLE] * 50
    with pytest.raises(VertexError, match="try again later"):
        list(follow(lambda: get_run(clients, "retrain-1"), poll_s=1, sleep=lambda seconds: None,
                    clock=lambda: next(moments)))


def test_cancel(service, clients, text):
    run = submit(clients, text, ARGUMENTS, "retrain", now=NOW)
    cancel(clients, run.job_id)
    assert get_run(clients, run.job_id).state == "cancelled"


@pytest.mark.parametrize(("code", "message"), [
    ("UNAUTHENTICATED", "application-default login"), ("PERMISSION_DENIED", "aiplatform.user"),
    ("NOT_FOUND", "--project"), ("INVALID_ARGUMENT", "correct what it names"),
    ("RESOURCE_EXHAUSTED", "quota"), ("INTERNAL", "try again later"), ("ABORTED", "try again later"),
    ("ALREADY_EXISTS", "another name"),
])
def test_refusals_say_what_to_do(code, message, service, clients):
    service.faults = [grpc.StatusCode[code]]
    with pytest.raises(VertexError, match=message) as caught:
        cancel(clients, "retrain-1")
    again = pickle.loads(pickle.dumps(caught.value))
    assert (str(again), again.transient) == (str(caught.value), caught.value.transient)


def test_credentials_that_cannot_be_renewed_for_now_may_be_later():
    for retryable in (True, False):
        with pytest.raises(VertexError, match="credentials that work") as caught, talking(PARENT):
            raise RefreshError("no answer", retryable=retryable)
        assert caught.value.transient is retryable


def test_a_schedule_is_made_once_and_changed_by_name(service, clients, text):
    made = create(clients, text)
    assert (made.change, made.state) == ("created", "active")
    assert (made.cron, made.timezone) == ("0 3 * * *", "Europe/Berlin")
    (schedule,) = service.schedules.values()
    assert schedule.cron == "TZ=Europe/Berlin 0 3 * * *"
    assert schedule.create_pipeline_job_request.parent == PARENT
    assert create(clients, text).change == "unchanged"
    changed = create(clients, text, cron="30 4 * * *", max_concurrent=2, end=datetime(2027, 1, 1, tzinfo=UTC))
    assert (changed.change, changed.cron, changed.max_concurrent) == ("changed", "30 4 * * *", 2)
    assert changed.end == datetime(2027, 1, 1, tzinfo=UTC)
    schedules.create(clients, "nightly", text, ARGUMENTS | {"seed": 9}, cron="30 4 * * *",
                     timezone="Europe/Berlin", max_concurrent=2)
    (schedule,) = service.schedules.values()
    job = schedule.create_pipeline_job_request.pipeline_job
    assert job.runtime_config.parameter_values["seed"] == 9


def test_two_calls_at_once_leave_the_older_schedule(service, clients, text):
    make = service.create_schedule

    def another_first(request):
        service.create_schedule = make
        create(clients, text, cron="30 4 * * *")
        return make(request)

    service.create_schedule = another_first
    assert create(clients, text).change == "changed"
    (schedule,) = service.schedules.values()
    assert (schedule.name, schedule.cron) == (f"{PARENT}/schedules/1000", "TZ=Europe/Berlin 0 3 * * *")


def test_schedules_are_listed_paused_resumed_deleted(service, clients, text):
    for name in ("weekly", "nightly", "hourly"):  # more than one page
        schedules.create(clients, name, text, ARGUMENTS, cron="0 3 * * *")
    foreign = v1.Schedule(display_name="somebody's", cron="* * * * *", name=f"{PARENT}/schedules/7")
    service.schedules[foreign.name] = foreign
    assert [view.name for view in schedules.list_schedules(clients)] == ["hourly", "nightly", "weekly"]
    schedules.pause(clients, "nightly")
    schedules.pause(clients, "nightly")  # changes nothing
    assert {view.name: view.state for view in schedules.list_schedules(clients)}["nightly"] == "paused"
    schedules.resume(clients, "nightly", catch_up=True)
    (nightly,) = (entry for entry in service.schedules.values() if entry.display_name == "nightly")
    assert nightly.catch_up
    schedules.resume(clients, "nightly")
    schedules.delete(clients, "nightly")
    assert [view.name for view in schedules.list_schedules(clients)] == ["hourly", "weekly"]
    for change in (schedules.pause, schedules.resume, schedules.delete):
        with pytest.raises(VertexError, match="relrec schedule list"):
            change(clients, "somebody's")


@pytest.mark.parametrize(("changed", "message"), [
    ({"cron": "0 0 3 * * *"}, "five fields"), ({"max_concurrent": 0}, "1 to 100")])
def test_a_bad_schedule_is_refused(changed, message, service, clients, text):
    with pytest.raises(ConfigError, match=message):
        create(clients, text, **changed)
    assert not service.schedules


def test_ids_are_those_that_the_service_takes():
    assert job_id("a" * 200, NOW) == "a" * 112 + "-20260301-040506"
    with pytest.raises(ConfigError, match="lower-case"):
        job_id("1-Retrain", NOW)


def test_without_the_library_one_sentence_says_what_to_install():
    code = ("import sys; sys.modules['google.cloud.aiplatform_v1'] = None\n"
            "from pipelines.targets.vertex.connection import VertexPlace, connect\n"
            "try: connect(VertexPlace('my-project', 'europe-west1'))\n"
            "except Exception as error: print(error)\n")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install 'relrec[vertex]'" in done.stdout
