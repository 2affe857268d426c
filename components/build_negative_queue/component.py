"""Kubeflow face of the build_negative_queue step."""

from kfp import dsl

from components._images import image


@dsl.container_component
def build_negative_queue(
    split: dsl.Input[dsl.Dataset],
    graph: dsl.Input[dsl.Dataset],
    negative_queue: dsl.Output[dsl.Dataset],
    config: str = "{}",
    seed: int = 0,
):
    """Draw negative candidates with exact log-probabilities, births and hardness tiers.

    Args:
        split: Training seed rows (record: split).
        graph: Temporal graph (record: graph).
        negative_queue: Candidates and their report (record: negative_queue).
        config: JSON of QueueConfig.
        seed: Seed of the draws.
    """
    return dsl.ContainerSpec(
        image=image("cpu"),
        command=["python3", "-m", "components.build_negative_queue"],
        args=["--executor-input", dsl.PIPELINE_TASK_EXECUTOR_INPUT_PLACEHOLDER],
    )
