"""Kubeflow face of the train step."""

from kfp import dsl

from components._images import image


@dsl.container_component
def train(
    graph: dsl.Input[dsl.Dataset],
    split: dsl.Input[dsl.Dataset],
    negative_queue: dsl.Input[dsl.Dataset],
    champion: dsl.Input[dsl.Model],
    checkpoint: dsl.Output[dsl.Model],
    tensorboard: dsl.Output[dsl.Artifact],
    metrics: dsl.Output[dsl.Metrics],
    model_config: str = "{}",
    train_config: str = "{}",
    checkpoint_root: str = "",
):
    """Train a recommender; killed and started again, it resumes and ends with the same weights.

    Args:
        graph: Temporal graph (record: graph).
        split: Seed rows (record: split).
        negative_queue: Negative candidates (record: negative_queue).
        champion: What a warm start begins with; an empty record will do (record: champion).
        checkpoint: Best weights by validation MAP, with curves (record: checkpoint).
        tensorboard: TensorBoard log directory.
        metrics: Validation MAP, epochs and speed.
        model_config: JSON of ModelConfig; its name picks the model.
        train_config: JSON of TrainConfig.
        checkpoint_root: Directory or URI that outlives the step, for resume states. Empty: no resume.
    """
    return dsl.ContainerSpec(
        image=image("gpu"),
        command=["python3", "-m", "components.train"],
        args=["--executor-input", dsl.PIPELINE_TASK_EXECUTOR_INPUT_PLACEHOLDER],
    )
