"""Submit a pipeline: compile, upload, make the experiment and the run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import kfp_server_api

from model_core.errors import ConfigError
from model_core.storage.uri import is_remote, parse_location
from pipelines.compiling import documents_of
from pipelines.targets.kubeflow.client import Client, talking
from pipelines.targets.kubeflow.errors import KubeflowError
from pipelines.targets.kubeflow.listing import pages, predicates
from pipelines.targets.kubeflow.pipeline_versions import PipelineVersion, ensure_version, version_name
from pipelines.targets.kubeflow.runs import RunView, get_run, plain, view_of

#: Prefix of the names of pipelines on the server.
PREFIX = "relrec-"


@dataclass(frozen=True)
class Submission:
    """What to run on the cluster.

    Attributes:
        pipeline: Name of the pipeline, as ``relrec compile`` takes it.
        yaml: What ``relrec compile`` would write.
        arguments: Parameters of the pipeline.
        run_name: Name of the run, or of the schedule.
        experiment: Name of the experiment.
        pipeline_root: Where artifacts go; empty for the cluster's own place.
        service_account: Kubernetes service account of the steps; empty for the cluster's default.
    """

    pipeline: str
    yaml: str = field(repr=False)
    arguments: Mapping[str, Any]
    run_name: str
    experiment: str
    pipeline_root: str = ""
    service_account: str = ""

    def __post_init__(self) -> None:
        check_arguments(self.yaml, self.arguments)

    @property
    def pipeline_name(self) -> str:
        return PREFIX + self.pipeline

    def to_json(self) -> dict[str, Any]:
        """What a dry run shows."""
        return {
            "pipeline": self.pipeline_name, "version": version_name(self.yaml), "run_name": self.run_name,
            "experiment": self.experiment, "pipeline_root": self.pipeline_root or None,
            "service_account": self.service_account or None, "parameters": dict(self.arguments),
        }


@dataclass(frozen=True)
class Submitted:
    """A run that was made.

    Attributes:
        run: As it is right after.
        version: What it runs.
        experiment_id: Where it belongs.
    """

    run: RunView
    version: PipelineVersion
    experiment_id: str


def submit(client: Client, submission: Submission) -> Submitted:
    """Upload what is new of a submission and start a run of it.

    Pipeline, version and experiment are made once and found again afterwards; each call
    makes a run.

    Args:
        client: Connected client.
        submission: What to run.

    Raises:
        KubeflowError: The server refuses something or cannot be reached.

    Example::

        submitted = submit(connect(load_connection(host=host)), submission)
        print(submitted.run.link)
    """
    version = ensure_version(client, submission.pipeline_name, submission.yaml)
    experiment_id = ensure_experiment(client, submission.experiment)
    asked_at = datetime.now(UTC)
    body = kfp_server_api.V2beta1Run(
        experiment_id=experiment_id, display_name=submission.run_name,
        pipeline_version_reference=kfp_server_api.V2beta1PipelineVersionReference(
            pipeline_id=version.pipeline_id, pipeline_version_id=version.version_id),
        runtime_config=kfp_server_api.V2beta1RuntimeConfig(
            parameters=dict(submission.arguments), pipeline_root=submission.pipeline_root or None),
        service_account=submission.service_account or None)
    try:
        with talking(client):
            run = client.runs.run_service_create_run(run=body)
        made = view_of(client, run)
    except KubeflowError as error:
        if not error.sent or (found := _made_meanwhile(client, submission, version, asked_at)) is None:
            raise
        made = get_run(client, found)
    return Submitted(made, version, experiment_id)


def _made_meanwhile(
    client: Client, submission: Submission, version: PipelineVersion, asked_at: datetime
) -> str | None:
    """The run that was made although the answer got lost; None where there is not exactly one."""
    query = {"namespace": client.get_user_namespace() or None, "sort_by": "created_at desc"}
    found = []
    for run in pages(client, client.list_runs, "runs", page_size=20,
                     filter=predicates(display_name=submission.run_name), **query):
        # The server's clock may be behind this machine's.
        if run.created_at is None or run.created_at < asked_at - timedelta(seconds=30):
            break
        reference = run.pipeline_version_reference
        parameters = (run.runtime_config.parameters if run.runtime_config else None) or {}
        if (reference is not None and reference.pipeline_version_id == version.version_id
                and plain(parameters) == plain(submission.arguments)):
            found.append(run.run_id)
    return found[0] if len(found) == 1 else None


def ensure_experiment(client: Client, name: str) -> str:
    """ID of an experiment of this name; made if there is none.

    Raises:
        KubeflowError: The server refuses it or cannot be reached.
    """
    namespace = client.get_user_namespace() or None
    query = {"filter": predicates(display_name=name), **({"namespace": namespace} if namespace else {})}

    def find() -> str | None:
        return next((entry.experiment_id for entry in pages(
            client, client.list_experiments, "experiments", **query) if entry.display_name == name), None)

    if (found := find()) is not None:
        return found
    body = kfp_server_api.V2beta1Experiment(display_name=name, namespace=namespace)
    try:
        with talking(client):
            return client.experiments.experiment_service_create_experiment(experiment=body).experiment_id
    except KubeflowError as error:
        if not (error.status == 409 or error.sent) or (found := find()) is None:
            raise
        return found


def check_arguments(text: str, arguments: Mapping[str, Any]) -> None:
    """Hold parameters against what a compiled pipeline declares; the server would do it too late.

    Raises:
        ConfigError: An unknown, missing or wrongly typed parameter.
    """
    spec = documents_of(text)[0]
    declared = spec["root"].get("inputDefinitions", {}).get("parameters", {})
    for name, value in arguments.items():
        if name not in declared:
            raise ConfigError(f"parameter {name!r}", f"one of {sorted(declared)}", "another name",
                              "compile the pipeline anew")
        kind = declared[name]["parameterType"]
        if not isinstance(value, _TYPES[kind]) or (isinstance(value, bool) and kind != "BOOLEAN"):
            raise ConfigError(f"parameter {name!r}", kind.lower(), type(value).__name__, "pass that type")
    for name, entry in declared.items():
        if name not in arguments and not (entry.get("isOptional") or "defaultValue" in entry):
            raise ConfigError(f"parameter {name!r}", "a value", "none", "pass it")


_TYPES: dict[str, tuple[type, ...]] = {
    "STRING": (str,), "NUMBER_INTEGER": (int,), "NUMBER_DOUBLE": (int, float), "BOOLEAN": (bool,),
    "LIST": (list, tuple), "STRUCT": (dict,),
}


def check_reachable(dataset: str, registry: str, checkpoint_root: str = "") -> None:
    """Refuse places that only this machine has; steps on a cluster cannot read them.

    Args:
        dataset: URI or Hub spec.
        registry: URI of the model registry.
        checkpoint_root: URI for resume states, or empty.

    Raises:
        ConfigError: A local path, or a store where two publishes cannot be kept apart.
    """
    local = Path(dataset).expanduser()
    if not is_remote(dataset) and (local.exists() or dataset.startswith((".", "/", "~", "file:"))
                                   or dataset.count("/") not in (1, 2)):
        raise ConfigError("--dataset", "a place that the cluster can read: gs://…, s3://… or a Hub spec",
                          repr(dataset), "copy the folder to a bucket, for example with "
                          "gcloud storage cp -r, and pass its URI; to run here, use relrec run retrain")
    for flag, text in (("--registry", registry), ("--checkpoint-root", checkpoint_root)):
        if not text and flag == "--checkpoint-root":
            continue
        if not is_remote(text):
            raise ConfigError(flag, "a place that the cluster can write: gs://… or s3://…", repr(text),
                              "pass the URI of a prefix in a bucket")
        scheme = parse_location(text, flag).scheme
        if flag == "--registry" and scheme not in ("gs", "s3"):
            raise ConfigError(flag, "gs://… or s3://…", f"{scheme}://",
                              "use one of those; elsewhere two publishes cannot be kept apart")
