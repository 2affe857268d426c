"""A Vertex AI in this process: the service's own protobuf messages over gRPC on 127.0.0.1.

It keeps jobs and schedules in memory and refuses what the service refuses, as far as its
messages and documentation say: IDs, parents, pipeline specs, parameters, cron expressions.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from concurrent import futures
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import grpc
from google.cloud import aiplatform_v1 as v1
from google.longrunning import operations_pb2
from google.protobuf import any_pb2, empty_pb2, json_format
from kfp.pipeline_spec import pipeline_spec_pb2

PARENT = "projects/my-project/locations/europe-west1"


class Refused(Exception):
    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        super().__init__(message)
        self.code = code


class Service:
    """State, and what was asked for.

    Attributes:
        jobs, schedules: Resource name to message.
        calls: Names of the methods called, in order.
        faults: Codes to answer the next calls with; None lets one pass.
        lose_answers: Calls of create_pipeline_job that are done but answered with UNAVAILABLE.
    """

    def __init__(self) -> None:
        self.jobs: dict[str, v1.PipelineJob] = {}
        self.schedules: dict[str, v1.Schedule] = {}
        self.calls: list[str] = []
        self.faults: list[grpc.StatusCode | None] = []
        self.lose_answers = 0

    def create_pipeline_job(self, request: v1.CreatePipelineJobRequest) -> v1.PipelineJob:
        self._check(request)
        name = f"{request.parent}/pipelineJobs/{request.pipeline_job_id}"
        if name in self.jobs:
            raise Refused(grpc.StatusCode.ALREADY_EXISTS, f"{name} exists")
        job = v1.PipelineJob(request.pipeline_job)
        job.name, job.state = name, v1.PipelineState.PIPELINE_STATE_PENDING
        self.jobs[name] = job
        if self.lose_answers:
            self.lose_answers -= 1
            raise Refused(grpc.StatusCode.UNAVAILABLE, "connection lost")
        return job

    def get_pipeline_job(self, request: v1.GetPipelineJobRequest) -> v1.PipelineJob:
        return self._known(self.jobs, request.name)

    def cancel_pipeline_job(self, request: v1.CancelPipelineJobRequest) -> empty_pb2.Empty:
        self._known(self.jobs, request.name).state = v1.PipelineState.PIPELINE_STATE_CANCELLED
        return empty_pb2.Empty()

    def create_schedule(self, request: v1.CreateScheduleRequest) -> v1.Schedule:
        schedule = v1.Schedule(request.schedule)
        self._check_schedule(schedule)
        schedule.name = f"{request.parent}/schedules/{1000 + len(self.schedules)}"
        schedule.state = v1.Schedule.State.ACTIVE
        schedule.next_run_time = datetime(2026, 3, 2, 3, tzinfo=UTC)
        self.schedules[schedule.name] = schedule
        return schedule

    def update_schedule(self, request: v1.UpdateScheduleRequest) -> v1.Schedule:
        schedule = self._known(self.schedules, request.schedule.name)
        self._check_schedule(request.schedule)
        for path in request.update_mask.paths:
            setattr(schedule, path, getattr(request.schedule, path))
        return schedule

    def list_schedules(self, request: v1.ListSchedulesRequest) -> v1.ListSchedulesResponse:
        # Two to a page, so that paging is seen.
        names = sorted(self.schedules)
        start = int(request.page_token or 0)
        more = str(start + 2) if start + 2 < len(names) else ""
        return v1.ListSchedulesResponse(
            schedules=[self.schedules[name] for name in names[start : start + 2]], next_page_token=more)

    def pause_schedule(self, request: v1.PauseScheduleRequest) -> empty_pb2.Empty:
        schedule = self._known(self.schedules, request.name)
        self._check_state(schedule, v1.Schedule.State.ACTIVE)
        schedule.state = v1.Schedule.State.PAUSED
        return empty_pb2.Empty()

    def resume_schedule(self, request: v1.ResumeScheduleRequest) -> empty_pb2.Empty:
        schedule = self._known(self.schedules, request.name)
        self._check_state(schedule, v1.Schedule.State.PAUSED)
        schedule.state, schedule.catch_up = v1.Schedule.State.ACTIVE, request.catch_up
        return empty_pb2.Empty()

    def delete_schedule(self, request: v1.DeleteScheduleRequest) -> operations_pb2.Operation:
        self._known(self.schedules, request.name)
        del self.schedules[request.name]
        answer = any_pb2.Any()
        answer.Pack(empty_pb2.Empty())
        return operations_pb2.Operation(name="operations/1", done=True, response=answer)

    def end(self, job_id: str, state: str, steps: dict[str, tuple[str, str]] | None = None) -> None:
        """Let a job be in a state; steps are (state, error)."""
        job = self.jobs[f"{PARENT}/pipelineJobs/{job_id}"]
        job.state = v1.PipelineState[f"PIPELINE_STATE_{state}"]
        for step, (step_state, message) in (steps or {}).items():
            detail = v1.PipelineTaskDetail(task_name=step, state=v1.PipelineTaskDetail.State[step_state])
            if message:
                detail.error.message = message
            job.job_detail.task_details.append(detail)

    def _check(self, request: v1.CreatePipelineJobRequest, has_id: bool = True) -> None:
        if request.parent != PARENT:
            raise Refused(grpc.StatusCode.NOT_FOUND, f"no {request.parent}")
        if has_id and not re.fullmatch(r"[a-z][-a-z0-9]{0,127}", request.pipeline_job_id):
            raise Refused(grpc.StatusCode.INVALID_ARGUMENT, f"job ID {request.pipeline_job_id}")
        job = request.pipeline_job
        if not job.runtime_config.gcs_output_directory.startswith("gs://"):
            raise Refused(grpc.StatusCode.INVALID_ARGUMENT, "gcs_output_directory")
        raw = json_format.MessageToDict(v1.PipelineJob.pb(job).pipeline_spec)
        spec = json_format.ParseDict(raw, pipeline_spec_pb2.PipelineSpec())
        declared = spec.root.input_definitions.parameters
        for name in job.runtime_config.parameter_values:
            if name not in declared:
                raise Refused(grpc.StatusCode.INVALID_ARGUMENT, f"unknown parameter {name}")
        for name, entry in declared.items():
            if name not in job.runtime_config.parameter_values and not (
                    entry.is_optional or entry.HasField("default_value")):
                raise Refused(grpc.StatusCode.INVALID_ARGUMENT, f"no parameter {name}")
        config = json_format.ParseDict(
            raw["deploymentSpec"], pipeline_spec_pb2.PipelineDeploymentConfig())
        for executor in config.executors.values():
            kind = executor.container.resources.accelerator.type
            if kind and kind not in v1.AcceleratorType.__members__:
                raise Refused(grpc.StatusCode.INVALID_ARGUMENT, f"accelerator {kind}")
        for value in job.labels.values():
            if not re.fullmatch(r"[a-z0-9_-]{0,63}", value):
                raise Refused(grpc.StatusCode.INVALID_ARGUMENT, f"label {value}")

    def _check_schedule(self, schedule: v1.Schedule) -> None:
        self._check(schedule.create_pipeline_job_request, has_id=False)
        if not re.fullmatch(r"(CRON_)?TZ=[\w/+-]+( \S+){5}", schedule.cron):
            raise Refused(grpc.StatusCode.INVALID_ARGUMENT, f"cron {schedule.cron}")
        if not schedule.max_concurrent_run_count:
            raise Refused(grpc.StatusCode.INVALID_ARGUMENT, "max_concurrent_run_count")

    @staticmethod
    def _check_state(schedule: v1.Schedule, needed: v1.Schedule.State) -> None:
        if schedule.state != needed:
            raise Refused(grpc.StatusCode.FAILED_PRECONDITION, f"it is {schedule.state.name}")

    @staticmethod
    def _known(resources: dict[str, Any], name: str) -> Any:
        if name not in resources:
            raise Refused(grpc.StatusCode.NOT_FOUND, f"{name} is not found")
        return resources[name]


_METHODS = {
    "PipelineService": {
        "CreatePipelineJob": ("create_pipeline_job", v1.CreatePipelineJobRequest, v1.PipelineJob),
        "GetPipelineJob": ("get_pipeline_job", v1.GetPipelineJobRequest, v1.PipelineJob),
        "CancelPipelineJob": ("cancel_pipeline_job", v1.CancelPipelineJobRequest, empty_pb2.Empty),
    },
    "ScheduleService": {
        "CreateSchedule": ("create_schedule", v1.CreateScheduleRequest, v1.Schedule),
        "UpdateSchedule": ("update_schedule", v1.UpdateScheduleRequest, v1.Schedule),
        "ListSchedules": ("list_schedules", v1.ListSchedulesRequest, v1.ListSchedulesResponse),
        "PauseSchedule": ("pause_schedule", v1.PauseScheduleRequest, empty_pb2.Empty),
        "ResumeSchedule": ("resume_schedule", v1.ResumeScheduleRequest, empty_pb2.Empty),
        "DeleteSchedule": ("delete_schedule", v1.DeleteScheduleRequest, operations_pb2.Operation),
    },
}


@contextmanager
def serving(service: Service) -> Iterator[grpc.Channel]:
    """A channel to the service, for the time of a block."""
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=2))
    for name, methods in _METHODS.items():
        handlers = {
            method: grpc.unary_unary_rpc_method_handler(
                _handler(service, function),
                request_deserializer=request.deserialize,
                response_serializer=lambda message, kind=answer: (
                    kind.serialize(message) if hasattr(kind, "serialize") else message.SerializeToString()))
            for method, (function, request, answer) in methods.items()}
        server.add_generic_rpc_handlers((
            grpc.method_handlers_generic_handler(f"google.cloud.aiplatform.v1.{name}", handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield channel
    finally:
        server.stop(0)


def _handler(service: Service, function: str) -> Callable[[Any, grpc.ServicerContext], Any]:
    def handle(request: Any, context: grpc.ServicerContext) -> Any:
        service.calls.append(function)
        fault = service.faults.pop(0) if service.faults else None
        try:
            if fault is not None:
                raise Refused(fault, "as the test has it")
            return getattr(service, function)(request)
        except Refused as error:
            context.abort(error.code, str(error))

    return handle
