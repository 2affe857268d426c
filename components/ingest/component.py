"""Kubeflow face of the ingest step."""

from kfp import dsl

from components._images import image


@dsl.container_component
def ingest(
    dataset: str,
    task: str,
    snapshot: dsl.Output[dsl.Dataset],
    profile: dsl.Output[dsl.HTML],
    as_of: str = "",
    as_of_required: bool = False,
    source_fingerprint: str = "",
):
    """Check a RelBench-v3 dataset and freeze it as a snapshot.

    Args:
        dataset: Folder or URI (gs://, s3://) with manifest.yaml, or a Hub spec org/repo/name.
        task: Name of a recommendation task of the dataset.
        snapshot: Validated tables, task and stored labels (record: snapshot).
        profile: What the tables hold, as a page.
        as_of: Logical date (ISO 8601 or epoch seconds, UTC). Empty: the manifest's windows.
        as_of_required: Refuse an empty as_of, which a scheduler may hand over by mistake.
        source_fingerprint: Digest of the source files; only part of the cache key.
    """
    return dsl.ContainerSpec(
        image=image("cpu"),
        command=["python3", "-m", "components.ingest"],
        args=["--executor-input", dsl.PIPELINE_TASK_EXECUTOR_INPUT_PLACEHOLDER],
    )
