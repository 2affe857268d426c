"""Kubeflow face of the load_champion step."""

from kfp import dsl

from components._images import image


@dsl.container_component
def load_champion(
    split: dsl.Input[dsl.Dataset],
    registry: str,
    champion: dsl.Output[dsl.Model],
    settings_digest: str = "",
):
    """Copy the champion as of the run's logical date out of the registry; empty where there is none.

    Args:
        split: Says the logical date (record: split).
        registry: Directory or URI (gs://, s3://) of the model registry.
        champion: The newest champion of an earlier date, or why there is none (record: champion).
        settings_digest: Tells a repeated run from another one of the same date, whose champion then
            counts, too. Empty: only champions of earlier dates count.
    """
    return dsl.ContainerSpec(
        image=image("serve"),
        command=["python3", "-m", "components.load_champion"],
        args=["--executor-input", dsl.PIPELINE_TASK_EXECUTOR_INPUT_PLACEHOLDER],
    )
