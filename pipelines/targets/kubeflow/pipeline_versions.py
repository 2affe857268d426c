"""Pipelines and their versions on the server: the same YAML is uploaded once."""

from __future__ import annotations

import hashlib
import tempfile
from dataclasses import dataclass
from pathlib import Path

import kfp_server_api

from pipelines.targets.kubeflow.client import Client, talking
from pipelines.targets.kubeflow.errors import KubeflowError
from pipelines.targets.kubeflow.listing import pages, predicates


@dataclass(frozen=True)
class PipelineVersion:
    """A version of a pipeline on the server.

    Attributes:
        pipeline: Name of the pipeline.
        pipeline_id: Its ID.
        name: Name of the version: a digest of its YAML.
        version_id: Its ID.
        uploaded: Whether it was uploaded now.
    """

    pipeline: str
    pipeline_id: str
    name: str
    version_id: str
    uploaded: bool


def version_name(yaml: str) -> str:
    """Name of a YAML's version: the start of its SHA-256.

    Example:
        >>> version_name("a: 1")
        'sha256-41d11df9d1a7'
    """
    return f"sha256-{hashlib.sha256(yaml.encode()).hexdigest()[:12]}"


def ensure_version(client: Client, pipeline: str, yaml: str) -> PipelineVersion:
    """The version that holds this YAML; uploaded if there is none, its pipeline made if needed.

    Calling it again, also from elsewhere at the same time, gives the same version.

    Args:
        client: Connected client.
        pipeline: Name of the pipeline.
        yaml: Compiled pipeline.

    Raises:
        KubeflowError: The server refuses it or cannot be reached.
    """
    pipeline_id = _pipeline_id(client, pipeline) or _created(client, pipeline)
    name = version_name(yaml)
    found = _version_id(client, pipeline_id, name)
    uploaded = found is None
    if found is None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"{pipeline}.yaml"
            path.write_text(yaml, encoding="utf-8")
            try:
                with talking(client):
                    found = client.pipeline_uploads.upload_pipeline_version(
                        str(path), name=name, pipelineid=pipeline_id).pipeline_version_id
            except KubeflowError as error:
                # Somebody else was first, or the answer was lost after the upload.
                if error.status != 409 and not error.sent:
                    raise
                found, uploaded = _version_id(client, pipeline_id, name), error.sent
                if found is None:
                    raise
    return PipelineVersion(pipeline, pipeline_id, name, found, uploaded)


def _pipeline_id(client: Client, name: str) -> str | None:
    query = {"namespace": client.get_user_namespace()} if client.get_user_namespace() else {}
    query["filter"] = predicates(display_name=name)
    for entry in pages(client, client.list_pipelines, "pipelines", **query):
        if entry.display_name == name:
            return entry.pipeline_id
    return None


def _created(client: Client, name: str) -> str:
    body = kfp_server_api.V2beta1Pipeline(
        name=name, display_name=name, description="Made by relrec; one version per compiled pipeline.",
        namespace=client.get_user_namespace() or None)
    try:
        with talking(client):
            # Not upload_pipeline, which would name the first version after the pipeline.
            return client.pipelines.pipeline_service_create_pipeline(pipeline=body).pipeline_id
    except KubeflowError as error:
        if error.status != 409 and not error.sent:
            raise
        if (found := _pipeline_id(client, name)) is None:
            raise
        return found


def _version_id(client: Client, pipeline_id: str, name: str) -> str | None:
    versions = pages(client, client.list_pipeline_versions, "pipeline_versions", pipeline_id=pipeline_id,
                     filter=predicates(display_name=name))
    return next((entry.pipeline_version_id for entry in versions if entry.display_name == name), None)
