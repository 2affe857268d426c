"""Kubeflow face of the evaluate step."""

from kfp import dsl

from components._images import image


@dsl.container_component
def evaluate(
    checkpoint: dsl.Input[dsl.Model],
    graph: dsl.Input[dsl.Dataset],
    split: dsl.Input[dsl.Dataset],
    negative_queue: dsl.Input[dsl.Dataset],
    data_watch: dsl.Input[dsl.Artifact],
    champion: dsl.Input[dsl.Model],
    report: dsl.Output[dsl.Artifact],
    metrics: dsl.Output[dsl.Metrics],
    html: dsl.Output[dsl.HTML],
    config: str = "{}",
    gate_config: str = "{}",
    seed: int = 0,
):
    """Rank the full catalogue for every evaluation user, beside baselines and champion, and judge.

    Args:
        checkpoint: Trained model (record: checkpoint).
        graph: Temporal graph (record: graph).
        split: Seed rows and labels (record: split).
        negative_queue: Its report is shown (record: negative_queue).
        data_watch: Its findings are shown, its failures stand in the way of promotion (record: data_watch).
        champion: Scored on the same users, to be beaten (record: champion).
        report: Metrics with intervals, per-user values, predictions, verdict (record: report).
        metrics: Headline metrics for the UI.
        html: The report as a self-contained page.
        config: JSON of EvaluateConfig.
        gate_config: JSON of GateConfig, the rules of promotion.
        seed: Seed of the bootstrap.
    """
    return dsl.ContainerSpec(
        image=image("gpu"),
        command=["python3", "-m", "components.evaluate"],
        args=["--executor-input", dsl.PIPELINE_TASK_EXECUTOR_INPUT_PLACEHOLDER],
    )
