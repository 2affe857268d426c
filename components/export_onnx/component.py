"""Kubeflow face of the export_onnx step."""

from kfp import dsl

from components._images import image


@dsl.container_component
def export_onnx(
    checkpoint: dsl.Input[dsl.Model],
    graph: dsl.Input[dsl.Dataset],
    split: dsl.Input[dsl.Dataset],
    report: dsl.Input[dsl.Artifact],
    bundle: dsl.Output[dsl.Model],
    config: str = "{}",
):
    """Export the scoring path to ONNX and prove that it ranks as torch does.

    Args:
        checkpoint: Trained model (record: checkpoint).
        graph: Temporal graph of the parity users (record: graph).
        split: Seed rows the parity users are taken from (record: split).
        report: Metrics for the model card (record: report).
        bundle: ONNX model, item vectors, id map, config, model card (record: bundle).
        config: JSON of ExportConfig.
    """
    return dsl.ContainerSpec(
        image=image("cpu"),
        command=["python3", "-m", "components.export_onnx"],
        args=["--executor-input", dsl.PIPELINE_TASK_EXECUTOR_INPUT_PLACEHOLDER],
    )
