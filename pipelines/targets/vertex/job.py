"""The compiled pipeline as Vertex AI's PipelineJob.

Three things differ from Kubeflow, and all are here: the service takes the first document of
the YAML alone (the second says what only Kubernetes knows), it has its own names for GPUs,
and artifacts must go to a bucket.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from model_core.errors import ConfigError
from pipelines.compiling import documents_of
from pipelines.targets.vertex.connection import VertexPlace

if TYPE_CHECKING:
    from google.cloud.aiplatform_v1 import PipelineJob

_JOB_ID = re.compile(r"[a-z][-a-z0-9]{0,127}")
#: What Kubernetes is told and Vertex AI is not.
_ONLY_KUBERNETES = {
    "nodeSelector": "node selectors (spot nodes among them)", "tolerations": "tolerations",
    "emptyDirMounts": "the size of /dev/shm", "activeDeadlineSeconds": "timeouts of steps",
    "secretAsEnv": "secrets as environment variables",
}


@dataclass(frozen=True)
class VertexJob:
    """A job to be.

    Attributes:
        message: What is sent.
        left_out: Settings of the compiled pipeline that Vertex AI does not know.
    """

    message: PipelineJob
    left_out: tuple[str, ...]


def pipeline_job(
    place: VertexPlace, text: str, arguments: Mapping[str, Any], name: str, pipeline_root: str = ""
) -> VertexJob:
    """Build the message that makes a job.

    Args:
        place: Project, region, bucket, service account, accelerator.
        text: The compiled pipeline, as ``relrec compile`` writes it.
        arguments: Its parameters.
        name: Shown in the console.
        pipeline_root: Where artifacts go; empty: under the staging bucket.

    Raises:
        ConfigError: No bucket, or a GPU that Vertex AI does not know.
    """
    from google.cloud import aiplatform_v1
    from google.protobuf import json_format, struct_pb2

    spec, *platforms = documents_of(text)
    _name_accelerators(spec, place.accelerator)
    root = pipeline_root or place.staging_bucket
    if not root.startswith("gs://"):
        raise ConfigError("--staging-bucket", "a gs:// URI, where artifacts go", repr(root),
                          "pass for example gs://my-bucket/relrec")
    values = {key: json_format.ParseDict(value, struct_pb2.Value()) for key, value in arguments.items()}
    message = aiplatform_v1.PipelineJob(
        display_name=name,
        pipeline_spec=json_format.ParseDict(spec, struct_pb2.Struct()),
        runtime_config=aiplatform_v1.PipelineJob.RuntimeConfig(
            gcs_output_directory=root,
            parameter_values=values,
            # A failed step ends the run: what runs beside it would be thrown away.
            failure_policy=aiplatform_v1.PipelineFailurePolicy.PIPELINE_FAILURE_POLICY_FAIL_FAST,
        ),
        service_account=place.service_account,
        labels={"relrec-pipeline": _label(spec["pipelineInfo"]["name"]),
                "relrec-task": _label(str(arguments.get("task", "")))},
    )
    return VertexJob(message, _left_out(platforms))


def job_id(name: str, now: datetime) -> str:
    """An ID that no other run has: the name and the moment.

    Raises:
        ConfigError: A name that the service does not take.

    Example:
        >>> job_id("retrain-buy-20260102", datetime(2026, 1, 3, 4, 5, 6))
        'retrain-buy-20260102-20260103-040506'
    """
    suffix = now.strftime("-%Y%m%d-%H%M%S")
    text = name[: 128 - len(suffix)].rstrip("-") + suffix
    if not _JOB_ID.fullmatch(text):
        raise ConfigError("--name", "lower-case letters, digits and hyphens, a letter first", repr(name),
                          "choose such a name")
    return text


def _name_accelerators(spec: dict[str, Any], accelerator: str) -> None:
    from google.cloud.aiplatform_v1 import AcceleratorType

    known = sorted(name for name, kind in AcceleratorType.__members__.items() if kind.value)
    if accelerator and accelerator not in known:
        raise ConfigError("--accelerator", f"one of {', '.join(known)}", repr(accelerator),
                          "pass one of them")
    for executor in spec.get("deploymentSpec", {}).get("executors", {}).values():
        found = executor.get("container", {}).get("resources", {}).get("accelerator")
        if found is None:
            continue
        for key in {"type", "resourceType"} & set(found):
            found[key] = found[key] if found[key] in known else accelerator
            if not found[key]:
                raise ConfigError("--accelerator", f"what Vertex AI calls the GPU: one of {', '.join(known)}",
                                  "a pipeline with GPUs and no name for them",
                                  "pass for example --accelerator NVIDIA_L4, or --resources cpu")


def _left_out(platforms: list[Any]) -> tuple[str, ...]:
    found: set[str] = set()
    for platform in platforms:
        for entry in ((platform or {}).get("platforms") or {}).values():
            for executor in (entry.get("deploymentSpec", {}).get("executors") or {}).values():
                found |= set(executor)
    return tuple(sorted(_ONLY_KUBERNETES.get(key, key) for key in found))


def _label(text: str) -> str:
    return re.sub(r"[^a-z0-9_-]", "-", text.lower())[:63]
