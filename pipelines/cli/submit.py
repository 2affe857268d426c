"""``relrec submit``: run a pipeline on a cluster."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from model_core.errors import ConfigError
from pipelines.cli import flags
from pipelines.cli.connected import Access, Output, check_output, connected
from pipelines.cli.vertex import (
    Accelerator,
    Location,
    Project,
    StagingBucket,
    Target,
    VertexFlags,
    is_vertex,
    submit_to_vertex,
)

if TYPE_CHECKING:
    from pipelines.targets.kubeflow.retraining import Retraining

submit_app = typer.Typer(no_args_is_help=True, help="Run a pipeline on Kubeflow Pipelines or Vertex AI.")


@submit_app.command("retrain")
@connected
def submit_retrain(
    access: Access,
    dataset: flags.RemoteDataset,
    task: flags.Task,
    registry: flags.RemoteRegistry,
    model: flags.Model = "contextgnn",
    as_of: Annotated[str, typer.Option(
        help="Logical date (UTC); rows after it are cut. Empty: the dataset's own windows.")] = "",
    warm_start: flags.WarmStart = None,
    settings: flags.Settings = None,
    images: flags.PinsFile = None,
    allow_unpinned: flags.AllowUnpinned = False,
    resources: flags.Resources = "cpu",
    experiment: flags.Experiment = "",
    run_name: Annotated[str, typer.Option(
        "--name", help="Name of the run. [default: retrain-TASK-DATE]", show_default=False)] = "",
    checkpoint_root: flags.CheckpointRoot = "",
    pipeline_root: flags.PipelineRoot = "",
    service_account: flags.ServiceAccount = "",
    target: Target = "kubeflow",
    project: Project = "",
    location: Location = "",
    staging_bucket: StagingBucket = "",
    accelerator: Accelerator = "",
    wait: Annotated[bool, typer.Option(
        "--wait", help="Follow the run; exit with 0 if it succeeds, else with 1.")] = False,
    poll_s: flags.Poll = 5.0,
    dry_run: Annotated[bool, typer.Option(
        "--dry-run", help="Show what would be sent, and send nothing.")] = False,
    output: Output = "text",
) -> None:
    """Run the retrain pipeline on a cluster: compile, upload if it is new, start.

    Example: relrec submit retrain --host https://kubeflow.example.org/pipeline --dataset gs://bucket/shop
    --task customer-purchase --registry gs://bucket/registry --images build/pins.json --wait

    Example: relrec submit retrain --target vertex --project my-project --location europe-west1
    --staging-bucket gs://bucket/runs --dataset gs://bucket/shop --task customer-purchase
    --registry gs://bucket/registry --images build/pins.json
    """
    as_json = check_output(output)
    vertex = VertexFlags(project, location, staging_bucket, accelerator)
    to_vertex = is_vertex(target, vertex)
    wanted = retraining(
        dataset=dataset, task=task, registry=registry, model=model, as_of=as_of,
        warm_start=warm_start, settings=settings, images=images, allow_unpinned=allow_unpinned,
        resources=resources, experiment=experiment, name=run_name, checkpoint_root=checkpoint_root,
        pipeline_root=pipeline_root, service_account=service_account)
    if to_vertex:
        raise typer.Exit(submit_to_vertex(vertex, wanted, wait=wait, poll_s=poll_s, dry_run=dry_run,
                                          as_json=as_json))
    from pipelines.cli.run_screen import submit_and_show

    raise typer.Exit(submit_and_show(access, wanted, wait=wait, poll_s=poll_s, dry_run=dry_run,
                                     as_json=as_json))


def retraining(
    *, dataset: str, task: str, registry: str, model: str, settings: list[str] | None, images: Path | None,
    allow_unpinned: bool, resources: str, experiment: str, name: str, checkpoint_root: str,
    pipeline_root: str, service_account: str, as_of: str = "",
    warm_start: str | None = None,
) -> Retraining:
    """What the flags ask for.

    Raises:
        ConfigError: A bad setting, resource profile or file of pins.
    """
    from components._images import Pins
    from pipelines.compiling import STEPS, ImageChoice
    from pipelines.resources import load_profile
    from pipelines.targets.kubeflow.retraining import Retraining

    config = flags.run_config(model, warm_start, settings)
    profile = load_profile(resources, STEPS)
    if images is None and not allow_unpinned:
        raise ConfigError("--images", "the file of pinned images that make push wrote", "none",
                          "pass --images build/pins.json, or --allow-unpinned to do without digests")
    choice = ImageChoice(Pins.read(images) if images else None, allow_unpinned,
                         cpu_only=not profile.uses_gpu(STEPS))
    if profile.of("train").spot and not checkpoint_root:
        typer.echo("train is on spot nodes: pass --checkpoint-root such as gs://bucket/states, or a lost "
                   "node starts it over", err=True)
    return Retraining(dataset, task, registry, config, choice, profile, as_of, experiment, checkpoint_root,
                      pipeline_root, service_account, name)
