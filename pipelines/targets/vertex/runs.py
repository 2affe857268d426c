"""Jobs on Vertex AI: start one, look at it, end it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from model_core.errors import one_line
from pipelines.targets.vertex.connection import Clients
from pipelines.targets.vertex.errors import VertexError, talking
from pipelines.targets.vertex.job import job_id, pipeline_job

if TYPE_CHECKING:
    from google.cloud.aiplatform_v1 import PipelineJob

_TIMEOUT_S = 60.0


@dataclass(frozen=True)
class VertexRun:
    """A job as it is.

    Attributes:
        job_id: Its ID.
        name: As shown in the console.
        state: ``pending``, ``running``, ``succeeded``, ``failed`` or ``cancelled``.
        link: Its page in the console.
        error: Why it failed, where the service says so.
        steps: Step to its state.
        left_out: Settings of the compiled pipeline that the service does not know.
    """

    job_id: str
    name: str
    state: str
    link: str
    error: str = ""
    steps: Mapping[str, str] | None = None
    left_out: tuple[str, ...] = ()

    @property
    def ended(self) -> bool:
        return self.state in ("succeeded", "failed", "cancelled")


def submit(
    clients: Clients, text: str, arguments: Mapping[str, Any], name: str, *, pipeline_root: str = "",
    now: datetime | None = None,
) -> VertexRun:
    """Start a run of a compiled pipeline.

    The ID of the job is chosen here, so a request whose answer was lost cannot start two.

    Args:
        clients: Connected clients.
        text: The compiled pipeline.
        arguments: Its parameters.
        name: Of the run.
        pipeline_root: Where artifacts go; empty: under the staging bucket.
        now: Part of the ID; by default the moment of the call.

    Raises:
        ConfigError: No bucket, a GPU without a name, or a name that is not taken.
        VertexError: The service refuses the job or cannot be reached.
    """
    from google.api_core import exceptions

    place = clients.place
    job = pipeline_job(place, text, arguments, name, pipeline_root)
    chosen = job_id(name, now or datetime.now(UTC))
    with talking(place.parent):
        for attempt in (1, 2):
            try:
                made = clients.pipelines.create_pipeline_job(
                    parent=place.parent, pipeline_job=job.message, pipeline_job_id=chosen, timeout=_TIMEOUT_S)
                break
            except (exceptions.ServiceUnavailable, exceptions.DeadlineExceeded) as error:
                if attempt == 2:
                    raise VertexError(
                        place.parent, "an answer of Vertex AI", one_line(error),
                        f"look for the job {chosen} in the console before trying again: it may have started",
                        transient=True) from error
            except exceptions.AlreadyExists:
                if attempt == 1:
                    raise
                made = clients.pipelines.get_pipeline_job(name=f"{place.parent}/pipelineJobs/{chosen}",
                                                          timeout=_TIMEOUT_S)
                break
    return _view(clients, made, job.left_out)


def get_run(clients: Clients, job: str) -> VertexRun:
    """A job by its ID.

    Raises:
        VertexError: There is none, or the service cannot be reached.
    """
    name = job if job.startswith("projects/") else f"{clients.place.parent}/pipelineJobs/{job}"
    with talking(clients.place.parent):
        return _view(clients, clients.pipelines.get_pipeline_job(name=name, timeout=_TIMEOUT_S))


def cancel(clients: Clients, job: str) -> None:
    """Ask the service to end a job.

    Raises:
        VertexError: There is none, or the service cannot be reached.
    """
    with talking(clients.place.parent):
        clients.pipelines.cancel_pipeline_job(name=f"{clients.place.parent}/pipelineJobs/{job}",
                                              timeout=_TIMEOUT_S)


def _view(clients: Clients, job: PipelineJob, left_out: tuple[str, ...] = ()) -> VertexRun:
    place, chosen = clients.place, job.name.rsplit("/", 1)[-1]
    steps = {task.task_name: task.state.name.lower() for task in job.job_detail.task_details
             if task.task_name}
    errors = [task.error.message for task in job.job_detail.task_details if task.error.message]
    return VertexRun(
        job_id=chosen, name=job.display_name, state=_state(job.state.name),
        link=f"https://console.cloud.google.com/vertex-ai/pipelines/locations/{place.location}/runs/{chosen}"
             f"?project={place.project}",
        error=errors[0] if errors else job.error.message, steps=steps, left_out=left_out)


def _state(name: str) -> str:
    plain = name.removeprefix("PIPELINE_STATE_").lower()
    return {"queued": "pending", "unspecified": "pending", "cancelling": "running", "paused": "pending"
            }.get(plain, plain)
