"""Kubeflow face of the publish step."""

from kfp import dsl

from components._images import image


@dsl.container_component
def publish(
    bundle: dsl.Input[dsl.Model],
    report: dsl.Input[dsl.Artifact],
    data_watch: dsl.Input[dsl.Artifact],
    registry: str,
    publication: dsl.Output[dsl.Artifact],
    run_name: str = "",
    who: str = "",
    settings_digest: str = "",
):
    """Store the bundle under a version; move the champion pointer only if every rule is met.

    Args:
        bundle: Exported model (record: bundle).
        report: Holds the verdict (record: report).
        data_watch: Statistics of the data, kept with the version for later runs (record: data_watch).
        registry: Directory or URI (gs://, s3://) of the model registry.
        publication: What was published and who is champion now (JSON).
        run_name: Name of the run, kept in the registry's log.
        who: Who runs it, kept in the registry's log; empty for the step's own user@host.
        settings_digest: As load_champion was given it, kept with the version.
    """
    return dsl.ContainerSpec(
        image=image("serve"),
        command=["python3", "-m", "components.publish"],
        args=["--executor-input", dsl.PIPELINE_TASK_EXECUTOR_INPUT_PLACEHOLDER],
    )
