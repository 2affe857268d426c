"""Kubeflow face of the watch_data step."""

from kfp import dsl

from components._images import image


@dsl.container_component
def watch_data(
    snapshot: dsl.Input[dsl.Dataset],
    split: dsl.Input[dsl.Dataset],
    champion: dsl.Input[dsl.Artifact],
    data_watch: dsl.Output[dsl.Artifact],
    watch_page: dsl.Output[dsl.HTML],
    config: str = "{}",
):
    """Compare the data with those that the champion learned from; warn, or refuse promotion.

    Args:
        snapshot: Validated tables (record: snapshot).
        split: Seed rows and labels (record: split).
        champion: Statistics of its data are the reference, if it has any (record: champion).
        data_watch: Findings, and statistics of this run's data (record: data_watch).
        watch_page: The findings and statistics as a page.
        config: JSON of WatchConfig.
    """
    return dsl.ContainerSpec(
        image=image("cpu"),
        command=["python3", "-m", "components.watch_data"],
        args=["--executor-input", dsl.PIPELINE_TASK_EXECUTOR_INPUT_PLACEHOLDER],
    )
