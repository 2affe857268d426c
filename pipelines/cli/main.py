"""Entry point of the ``relrec`` command: which commands there are.

Each command imports what it needs when it is called, so that ``relrec --help`` is fast.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from model_core.errors import ConfigError, RelrecError
from model_core.version import __version__
from pipelines.cli import flags
from pipelines.cli.backfill import backfill_app
from pipelines.cli.dataset import dataset_app
from pipelines.cli.registry import registry_app
from pipelines.cli.runs import runs_app
from pipelines.cli.schedule import schedule_app
from pipelines.cli.submit import submit_app

if TYPE_CHECKING:
    from pipelines.compiling import ImageChoice

app = typer.Typer(
    name="relrec", no_args_is_help=True, add_completion=True, rich_markup_mode=None,
    pretty_exceptions_enable=False, context_settings={"max_content_width": 100},
    help="Retrain graph recommenders on relational data with Kubeflow pipelines.",
)
run_app = typer.Typer(no_args_is_help=True, help="Run a pipeline on this machine.")
compile_app = typer.Typer(no_args_is_help=True, help="Compile a pipeline to Kubeflow YAML.")
components_app = typer.Typer(no_args_is_help=True, help="Use single steps in your own pipelines.")
app.add_typer(run_app, name="run")
app.add_typer(compile_app, name="compile")
app.add_typer(components_app, name="components")
app.add_typer(dataset_app, name="dataset")
app.add_typer(submit_app, name="submit")
app.add_typer(backfill_app, name="backfill")
app.add_typer(runs_app, name="runs")
app.add_typer(schedule_app, name="schedule")
app.add_typer(registry_app, name="registry")

Dataset = Annotated[str, typer.Argument(
    help="RelBench-v3 folder, URI of one (gs://, s3://), or a Hub spec org/repo/name.", show_default=False)]
CpuOnly = Annotated[bool, typer.Option(
    "--cpu-only", help="Train and evaluate in the cpu image, too.")]


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"relrec {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[bool, typer.Option(
        "--version", callback=_print_version, is_eager=True, help="Print the version and exit.",
    )] = False,
) -> None:
    pass


@run_app.command("retrain")
def run_retrain(
    dataset: flags.Dataset,
    task: flags.Task,
    model: flags.Model = "contextgnn",
    root: Annotated[str | None, typer.Option(
        help="Directory or URI (gs://, s3://) where artifacts, cache and registry go. "
             "[default: runs/DATASET/TASK]",
        show_default=False)] = None,
    registry: Annotated[str | None, typer.Option(
        help="Model registry, directory or URI. [default: ROOT/registry]", show_default=False)] = None,
    runner: Annotated[str, typer.Option(
        help="Where steps run: process, or docker (the images of make images).")] = "process",
    containers: Annotated[list[str] | None, typer.Option(
        "--docker", metavar="KEY=VALUE", show_default=False,
        help="For --runner docker: network=host, memory=4g, shm=2g, user=UID:GID, env=NAME[=VALUE], "
             "mount=PATH. Repeatable.")] = None,
    as_of: Annotated[str, typer.Option(
        help="Logical date (UTC); rows after it are cut and the newest whole window is test. "
             "Empty: the dataset's own windows.")] = "",
    settings: flags.Settings = None,
    warm_start: flags.WarmStart = None,
    json_path: Annotated[Path | None, typer.Option(
        "--json", help="Also write the summary here.", show_default=False)] = None,
    cache: Annotated[bool, typer.Option(help="Reuse steps whose inputs are unchanged.")] = True,
) -> None:
    """Retrain a recommender: tables in; trained, evaluated, exported, published model out.

    Example: relrec run retrain --dataset shop --task customer-purchase --set train.epochs=3
    """
    from pipelines.cli.run import run_retrain as run

    raise typer.Exit(run(
        dataset=dataset, task=task, model=model, root=root, registry=registry, runner=runner,
        containers=containers or [], as_of=as_of, warm_start=warm_start, settings=settings or [],
        json_path=json_path, cache=cache,
    ))


@compile_app.command("retrain")
def compile_retrain(
    out: Annotated[Path, typer.Option("-o", "--out", help="YAML file to write.")] = Path("retrain.yaml"),
    images: flags.PinsFile = None,
    allow_unpinned: flags.AllowUnpinned = False,
    cpu_only: CpuOnly = False,
    resources: flags.Resources = "laptop",
) -> None:
    """Compile the retrain pipeline for a cluster, with images pinned by digest.

    Example: relrec compile retrain -o retrain.yaml --images build/pins.json --resources small_gpu
    """
    from pipelines.compiling import STEPS, compile_pipeline
    from pipelines.resources import load_profile

    profile = load_profile(resources, STEPS)
    if cpu_only and profile.uses_gpu(STEPS):
        raise ConfigError("--cpu-only", "a resource profile without GPU", f"--resources {resources}",
                          "pass --resources cpu, or leave --cpu-only out")
    # Whoever gives steps a cluster's resources and no GPU has none for the CUDA image.
    on_cpu = cpu_only or (resources != "laptop" and not profile.uses_gpu(STEPS))
    choice = _images(images, allow_unpinned, on_cpu)
    typer.echo(f"wrote {compile_pipeline('retrain', out, choice, profile)}")
    if profile.of("train").spot:
        typer.echo("train is on spot nodes: give the run a checkpoint_root such as gs://bucket/states, or a "
                   "lost node starts it over", err=True)


def _images(pins: Path | None, allow_unpinned: bool, cpu_only: bool) -> ImageChoice:
    from components._images import Pins
    from pipelines.compiling import ImageChoice

    return ImageChoice(Pins.read(pins) if pins else None, allow_unpinned, cpu_only)


@components_app.command("export")
def components_export(
    out: Annotated[
        Path, typer.Option("-o", "--out", help="Directory to write to.")
    ] = Path("component-specs"),
    images: flags.PinsFile = None,
    allow_unpinned: flags.AllowUnpinned = False,
    cpu_only: CpuOnly = False,
) -> None:
    """Write one component.yaml per step, to load in pipelines of your own.

    Example: relrec components export -o component-specs --images build/pins.json
    """
    from pipelines.compiling import export_components

    for path in export_components(out, _images(images, allow_unpinned, cpu_only)):
        typer.echo(f"wrote {path}")


@app.command()
def plan(
    dataset: flags.Dataset,
    task: flags.Task,
    model: flags.Model = "contextgnn",
    as_of: Annotated[str, typer.Option(help="Logical date (UTC), as for relrec run.")] = "",
    settings: flags.Settings = None,
    json_path: Annotated[Path | None, typer.Option(
        "--json", help="Also write the plan here.", show_default=False)] = None,
    memory_gb: Annotated[float | None, typer.Option(
        min=0.001, help="Memory to fit into, 10^9 bytes. [default: what is available here]",
        show_default=False)] = None,
    calibrate: Annotated[bool, typer.Option(help="Measure this machine's speed first (1 s).")] = True,
) -> None:
    """Estimate memory and time of every step of a run.

    The exit code is 1 if one would not fit.

    Example: relrec plan --dataset runs/shop --task customer-purchase --memory-gb 8
    """
    from pipelines.cli.plan import show_plan

    raise typer.Exit(show_plan(
        dataset=dataset, task=task, model=model, as_of=as_of, settings=settings or [],
        json_path=json_path, memory_gb=memory_gb, calibrated=calibrate,
    ))


@app.command()
def validate(
    dataset: Dataset,
    task: Annotated[str | None, typer.Option(help="Check this task too.", show_default=False)] = None,
) -> None:
    """Check a dataset; say what is wrong with it and how to mend it.

    Example: relrec validate runs/shop --task customer-purchase
    """
    from pipelines.cli.show import show_validation

    show_validation(dataset, task)


@app.command()
def describe(
    dataset: Annotated[str, typer.Argument(
        help="RelBench-v3 folder, or a Hub spec org/repo/name; or the word pipeline.", show_default=False)],
    pipeline: Annotated[str | None, typer.Argument(
        help="After the word pipeline: its name.", show_default=False)] = None,
    resources: flags.Resources = "laptop",
) -> None:
    """Show what a dataset holds, or what a pipeline does.

    Of a pipeline: its steps, and what each of them gets.

    Example: relrec describe runs/shop

    Example: relrec describe pipeline retrain --resources small_gpu
    """
    if dataset == "pipeline" and pipeline is not None:
        from pipelines.cli.pipeline import show_pipeline

        show_pipeline(pipeline, resources)
        return
    if pipeline is not None:
        raise typer.BadParameter(f"only 'pipeline' takes a second word, found {dataset} {pipeline}")
    from pipelines.cli.show import show_dataset

    show_dataset(dataset)


def main() -> None:
    """Console script: run a command; show a fault that the user can mend as one line."""
    for stream in (sys.stdout, sys.stderr):
        # A terminal that has no ✓ shows a ?; nothing that was started ends for want of a character.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    try:
        # The name is given, so that help and completion are the same for python -m.
        app(standalone_mode=True, prog_name="relrec")
    except RelrecError as error:
        typer.secho(f"error: {error}", err=True, fg="red")
        sys.exit(2)
    except BrokenPipeError:
        sys.exit(1)
    except OSError as error:
        typer.secho(f"error: {error}. Fix: pass a path that can be read and written", err=True, fg="red")
        sys.exit(2)


if __name__ == "__main__":
    main()
