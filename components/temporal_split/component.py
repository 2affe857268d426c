"""Kubeflow face of the temporal_split step."""

from kfp import dsl

from components._images import image


@dsl.container_component
def temporal_split(
    snapshot: dsl.Input[dsl.Dataset],
    split: dsl.Output[dsl.Dataset],
    config: str = "{}",
):
    """Cut label rows into train, val and test by time, and certify that nothing leaks.

    Args:
        snapshot: Validated tables (record: snapshot).
        split: Seed rows, leakage certificate and locality score (record: split).
        config: JSON of SplitConfig.
    """
    return dsl.ContainerSpec(
        image=image("cpu"),
        command=["python3", "-m", "components.temporal_split"],
        args=["--executor-input", dsl.PIPELINE_TASK_EXECUTOR_INPUT_PLACEHOLDER],
    )
