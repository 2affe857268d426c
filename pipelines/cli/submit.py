"""``relrec submit``: run a pipeline on a cluster."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from model_core.errors import ConfigError
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

Dataset = Annotated[str, typer.Option(
    help="URI (gs://, s3://) or Hub spec of a RelBench-v3 dataset.", show_default=False)]
Task = Annotated[str, typer.Option(help="Recommendation task of it.", show_default=False)]
Registry = Annotated[str, typer.Option(help="URI (gs://, s3://) of the model registry.", show_default=False)]
Model = Annotated[str, typer.Option(help="Model to train.")]
PinsFile = Annotated[Path | None, typer.Option(
    "--images", metavar="FILE", show_default=False,
    help="Pin the images that make push wrote to this file.")]
AllowUnpinned = Annotated[bool, typer.Option("--allow-unpinned", help="Accept images without a digest.")]
Resources = Annotated[str, typer.Option(
    help="Processors, memory, GPUs and nodes of steps: cpu, small_gpu, large_gpu, laptop or a YAML file.")]
Settings = Annotated[list[str] | None, typer.Option(
    "--set", metavar="KEY=VALUE", help="A setting, such as train.epochs=3. Repeatable.", show_default=False)]
WarmStart = Annotated[str | None, typer.Option(
    "--warm-start", metavar="none|champion", show_default=False,
    help="What training begins with; the same as --set train.warm_start.")]
Experiment = Annotated[str, typer.Option(
    help="Experiment of the run. [default: retrain-TASK]", show_default=False)]
CheckpointRoot = Annotated[str, typer.Option(
    help="URI for resume states; without one a lost node starts training over.", show_default=False)]
PipelineRoot = Annotated[str, typer.Option(
    help="URI for artifacts. [default: the cluster's own place]", show_default=False)]
ServiceAccount = Annotated[str, typer.Option(
    help="Service account of the steps: a Kubernetes name, or an e-mail address on Vertex AI. "
         "[default: the cluster's]", show_default=False)]


@submit_app.command("retrain")
@connected
def submit_retrain(
    access: Access,
    dataset: Dataset,
    task: Task,
    registry: Registry,
    model: Model = "contextgnn",
    as_of: Annotated[str, typer.Option(
        help="Logical date (UTC); rows after it are cut. Empty: the dataset's own windows.")] = "",
    warm_start: WarmStart = None,
    settings: Settings = None,
    images: PinsFile = None,
    allow_unpinned: AllowUnpinned = False,
    resources: Resources = "cpu",
    experiment: Experiment = "",
    run_name: Annotated[str, typer.Option(
        "--name", help="Name of the run. [default: retrain-TASK-DATE]", show_default=False)] = "",
    checkpoint_root: CheckpointRoot = "",
    pipeline_root: PipelineRoot = "",
    service_account: ServiceAccount = "",
    target: Target = "kubeflow",
    project: Project = "",
    location: Location = "",
    staging_bucket: StagingBucket = "",
    accelerator: Accelerator = "",
    wait: Annotated[bool, typer.Option(
        "--wait", help="Follow the run; exit with 0 if it succeeds, else with 1.")] = False,
    poll_s: Annotated[float, typer.Option(
        "--poll", min=0.05, help="Seconds between looks of --wait.")] = 5.0,
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
    from model_core.config import parse_overrides
    from pipelines.compiling import STEPS, ImageChoice
    from pipelines.resources import load_profile
    from pipelines.targets.kubeflow.retraining import Retraining

    begins = [] if warm_start is None else [f"train.warm_start={warm_start}"]
    config = parse_overrides([f"model.name={model}", *begins, *(settings or [])])
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
