"""Where on Vertex AI, as whom, and the clients that talk to it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from model_core.errors import ConfigError
from pipelines.targets.vertex.errors import talking

if TYPE_CHECKING:
    import grpc
    from google.cloud.aiplatform_v1 import PipelineServiceClient, ScheduleServiceClient

_PROJECT = re.compile(r"[a-z0-9][a-z0-9.:-]{1,61}[a-z0-9]")
_LOCATION = re.compile(r"[a-z]+-[a-z]+\d+")


@dataclass(frozen=True)
class VertexPlace:
    """A project and region, and what jobs there need.

    Attributes:
        project: ID of the Google Cloud project.
        location: Region, such as ``europe-west1``.
        staging_bucket: ``gs://`` URI under which artifacts go.
        service_account: E-mail address that the steps run as; empty: the project's default.
        accelerator: What Vertex AI calls the GPU, such as ``NVIDIA_L4``; stands in for the
            Kubernetes name in the compiled pipeline.
    """

    project: str
    location: str
    staging_bucket: str = ""
    service_account: str = ""
    accelerator: str = ""

    def __post_init__(self) -> None:
        if not _PROJECT.fullmatch(self.project):
            raise ConfigError("--project", "the ID of a Google Cloud project", repr(self.project),
                              "pass it as gcloud projects list shows it")
        if not _LOCATION.fullmatch(self.location):
            raise ConfigError("--location", "a region such as europe-west1", repr(self.location),
                              "pass one in which Vertex AI Pipelines is offered")
        if self.staging_bucket and not re.fullmatch(r"gs://[^/]+(/.*)?", self.staging_bucket):
            raise ConfigError("--staging-bucket", "a gs:// URI", repr(self.staging_bucket),
                              "pass for example gs://my-bucket/relrec")
        if self.service_account and "@" not in self.service_account:
            raise ConfigError("--service-account", "an e-mail address", repr(self.service_account),
                              "pass it as gcloud iam service-accounts list shows it")

    @property
    def parent(self) -> str:
        return f"projects/{self.project}/locations/{self.location}"


@dataclass(frozen=True)
class Clients:
    """Connected clients of one place."""

    place: VertexPlace
    pipelines: PipelineServiceClient
    schedules: ScheduleServiceClient


def connect(place: VertexPlace, channel: grpc.Channel | None = None) -> Clients:
    """Clients for a place; nobody is contacted yet.

    Args:
        place: Where.
        channel: A gRPC channel in place of Google's; for tests.

    Raises:
        ConfigError: The client library is not installed.
        VertexError: This machine has no credentials.
    """
    try:
        from google.cloud import aiplatform_v1
        from google.cloud.aiplatform_v1.services.pipeline_service.transports import (
            PipelineServiceGrpcTransport,
        )
        from google.cloud.aiplatform_v1.services.schedule_service.transports import (
            ScheduleServiceGrpcTransport,
        )
    except ImportError as error:
        raise ConfigError("--target vertex", "the package google-cloud-aiplatform",
                          "that it is not installed", "run pip install 'relrec[vertex]'") from error
    if channel is not None:
        return Clients(
            place,
            aiplatform_v1.PipelineServiceClient(transport=PipelineServiceGrpcTransport(channel=channel)),
            aiplatform_v1.ScheduleServiceClient(transport=ScheduleServiceGrpcTransport(channel=channel)))
    options = {"api_endpoint": f"{place.location}-aiplatform.googleapis.com"}
    with talking(place.parent):
        return Clients(place, aiplatform_v1.PipelineServiceClient(client_options=options),
                       aiplatform_v1.ScheduleServiceClient(client_options=options))
