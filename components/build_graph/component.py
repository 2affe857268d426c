"""Kubeflow face of the build_graph step."""

from kfp import dsl

from components._images import image


@dsl.container_component
def build_graph(
    snapshot: dsl.Input[dsl.Dataset],
    split: dsl.Input[dsl.Dataset],
    graph: dsl.Output[dsl.Dataset],
    config: str = "{}",
):
    """Turn tables into a typed graph with time-sorted edges and column tensors.

    Args:
        snapshot: Validated tables (record: snapshot).
        split: Its cutoff bounds what statistics may know (record: split).
        graph: Memory-mapped temporal graph (record: graph).
        config: JSON of GraphConfig.
    """
    return dsl.ContainerSpec(
        image=image("cpu"),
        command=["python3", "-m", "components.build_graph"],
        args=["--executor-input", dsl.PIPELINE_TASK_EXECUTOR_INPUT_PLACEHOLDER],
    )
