"""A retraining for the cluster: what a user asked for, made into a submission."""

from __future__ import annotations

from dataclasses import dataclass

from model_core.config import RunConfig
from pipelines.compiling import ImageChoice, pipeline_yaml
from pipelines.parameters import pipeline_arguments, run_name_of
from pipelines.resources import PRESETS, ResourceProfile
from pipelines.targets.kubeflow.submit import Submission, check_reachable


@dataclass(frozen=True)
class Retraining:
    """What to retrain, and with what.

    Attributes:
        dataset: URI or Hub spec.
        task: Recommendation task of it.
        registry: URI of the model registry.
        config: All settings.
        images: Which images the steps run in.
        resources: What each step gets of the cluster.
        as_of: Logical date; empty for the dataset's own windows.
        experiment: Name of the experiment; empty for one named after pipeline and task.
        checkpoint_root: URI for resume states, or empty.
        pipeline_root: Where artifacts go; empty for the cluster's own place.
        service_account: Kubernetes service account of the steps, or empty.
        name: Of the run or schedule; empty for one from pipeline, task and date.
    """

    dataset: str
    task: str
    registry: str
    config: RunConfig
    images: ImageChoice
    resources: ResourceProfile = PRESETS["cpu"]
    as_of: str = ""
    experiment: str = ""
    checkpoint_root: str = ""
    pipeline_root: str = ""
    service_account: str = ""
    name: str = ""


def submission_of(wanted: Retraining) -> Submission:
    """The submission of one run.

    The fingerprint of the source goes in as a parameter, so that the cluster's cache never
    takes other data for this; computing it reads checksums in an object store, and no tables.

    Raises:
        ConfigError: A place that the cluster cannot reach, a bad date, or an image without digest.
        DataError: The dataset or task cannot be found.
    """
    from model_core.tables.fingerprint import source_fingerprint

    check_reachable(wanted.dataset, wanted.registry, wanted.checkpoint_root)
    yaml = pipeline_yaml("retrain", wanted.images, wanted.resources)
    name = wanted.name or run_name_of("retrain", wanted.task, wanted.as_of)
    arguments = pipeline_arguments(
        dataset=wanted.dataset, task=wanted.task, registry=wanted.registry, config=wanted.config,
        as_of=wanted.as_of, checkpoint_root=wanted.checkpoint_root, run_name=name,
        source_fingerprint=source_fingerprint(wanted.dataset, wanted.task))
    return _submission(wanted, yaml, arguments, name)


def scheduled_submission_of(wanted: Retraining) -> Submission:
    """The submission of a schedule: the logical date of a run is the time that it was due.

    No fingerprint is taken: the date differs from run to run, so that each reads the data anew.

    Raises:
        ConfigError: A place that the cluster cannot reach, or an image without digest.
    """
    from pipelines.targets.logical_date import with_schedule_time

    check_reachable(wanted.dataset, wanted.registry, wanted.checkpoint_root)
    yaml = with_schedule_time(pipeline_yaml("retrain", wanted.images, wanted.resources))
    name = wanted.name or run_name_of("retrain", wanted.task)
    arguments = pipeline_arguments(
        dataset=wanted.dataset, task=wanted.task, registry=wanted.registry, config=wanted.config,
        as_of_required=True, checkpoint_root=wanted.checkpoint_root, run_name=name)
    return _submission(wanted, yaml, arguments, name)


def _submission(wanted: Retraining, yaml: str, arguments: dict, name: str) -> Submission:
    return Submission(
        "retrain", yaml, arguments, name, wanted.experiment or run_name_of("retrain", wanted.task),
        wanted.pipeline_root, wanted.service_account)
