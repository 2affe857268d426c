"""``relrec schedule``: retraining that a cluster starts by itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from pipelines.cli import flags
from pipelines.cli import vertex_schedules as vertex
from pipelines.cli.connected import Access, Output, check_output, connected, print_json
from pipelines.cli.submit import retraining
from pipelines.cli.vertex import on_vertex

if TYPE_CHECKING:
    from pipelines.targets.kubeflow.client import Client

schedule_app = typer.Typer(
    no_args_is_help=True, help="Let Kubeflow Pipelines or Vertex AI retrain by itself.")

Name = Annotated[str, typer.Argument(metavar="NAME", help="Name or ID of a schedule.", show_default=False)]


@schedule_app.command("create")
@on_vertex(vertex.create_schedule, with_job=True)
@connected
def create_command(
    access: Access,
    cron: Annotated[str, typer.Option(
        help="Minute, hour, day of month, month, day of week; '0 3 * * *' is every night at three.",
        show_default=False)],
    dataset: flags.RemoteDataset,
    task: flags.Task,
    registry: flags.RemoteRegistry,
    timezone: Annotated[str, typer.Option(help="Time zone of --cron, --start and --end.")] = "UTC",
    cluster_timezone: Annotated[str | None, typer.Option(
        help="Zone in which the cluster reads expressions (its CRON_SCHEDULE_TIMEZONE). "
             "[default: the connection file's, else UTC]", show_default=False)] = None,
    name: Annotated[str, typer.Option(
        help="Name of the schedule. [default: retrain-TASK]", show_default=False)] = "",
    start: Annotated[str, typer.Option(
        help="No run before this date or time.", show_default=False)] = "",
    end: Annotated[str, typer.Option(
        help="No run after this time; of a date, its beginning counts.", show_default=False)] = "",
    catch_up: Annotated[bool, typer.Option(
        help="Make up for every run that was missed, not only for the newest.")] = False,
    max_concurrency: Annotated[int, typer.Option(
        help="Runs of it on the way at the same time, 1 to 10.")] = 1,
    paused: Annotated[bool, typer.Option("--paused", help="Make it, but do not let it fire.")] = False,
    model: flags.Model = "contextgnn",
    warm_start: flags.WarmStart = None,
    settings: flags.Settings = None,
    images: flags.PinsFile = None,
    allow_unpinned: flags.AllowUnpinned = False,
    resources: flags.Resources = "cpu",
    experiment: flags.Experiment = "",
    checkpoint_root: flags.CheckpointRoot = "",
    pipeline_root: flags.PipelineRoot = "",
    service_account: flags.ServiceAccount = "",
    dry_run: Annotated[bool, typer.Option(
        "--dry-run", help="Show what would be made and when it would fire, and send nothing.")] = False,
    output: Output = "text",
) -> None:
    """Retrain on a schedule; a schedule of this name that differs is replaced, an equal one is kept.

    The logical date of each run is the time at which it was due.

    Example: relrec schedule create --host https://kubeflow.example.org/pipeline --cron "0 3 * * *"
    --timezone Europe/Berlin --dataset gs://bucket/shop --task customer-purchase
    --registry gs://bucket/registry --images build/pins.json
    """
    as_json = check_output(output)
    wanted = retraining(
        dataset=dataset, task=task, registry=registry, model=model, warm_start=warm_start,
        settings=settings, images=images, allow_unpinned=allow_unpinned, resources=resources,
        experiment=experiment, name=name, checkpoint_root=checkpoint_root, pipeline_root=pipeline_root,
        service_account=service_account)
    from pipelines.cli.schedule_screen import Timing, create_and_show

    timing = Timing(cron, timezone, cluster_timezone, start, end, catch_up, max_concurrency, paused)
    create_and_show(access, wanted, timing, dry_run=dry_run, as_json=as_json)


@schedule_app.command("list")
@on_vertex(vertex.list_schedules)
@connected
def list_command(access: Access, output: Output = "text") -> None:
    """List all schedules of the namespace, with the next time at which each fires.

    Example: relrec schedule list --host https://kubeflow.example.org/pipeline
    """
    as_json = check_output(output)
    from pipelines.cli.schedule_screen import schedule_json, show_schedules
    from pipelines.targets.kubeflow.schedule_views import list_schedules

    found = list_schedules(access.connect())
    if as_json:
        print_json([schedule_json(view) for view in found])
    else:
        show_schedules(found)


@schedule_app.command("show")
@on_vertex(vertex.show_schedule)
@connected
def show_command(access: Access, name: Name, output: Output = "text") -> None:
    """Show a schedule: when it fires and what it runs.

    Example: relrec schedule show retrain-customer-purchase
    """
    as_json = check_output(output)
    from pipelines.cli.schedule_screen import schedule_json, show_schedule
    from pipelines.targets.kubeflow.schedule_views import get_schedule

    view = get_schedule(access.connect(), name)
    if as_json:
        print_json(schedule_json(view))
    else:
        show_schedule(view)


@schedule_app.command("pause")
@on_vertex(vertex.pause_schedule)
@connected
def pause_command(access: Access, name: Name, output: Output = "text") -> None:
    """Let a schedule not fire until it is resumed; a run that is on its way goes on.

    Example: relrec schedule pause retrain-customer-purchase
    """
    from pipelines.targets.kubeflow.schedule_views import pause_schedule

    _change(pause_schedule, access, name, output, "paused", "is paused", "was paused already")


@schedule_app.command("resume")
@on_vertex(vertex.resume_schedule)
@connected
def resume_command(access: Access, name: Name, output: Output = "text") -> None:
    """Let a paused schedule fire again.

    Example: relrec schedule resume retrain-customer-purchase
    """
    from pipelines.targets.kubeflow.schedule_views import resume_schedule

    _change(resume_schedule, access, name, output, "active", "fires again", "was active already")


@schedule_app.command("delete")
@on_vertex(vertex.delete_schedule)
@connected
def delete_command(access: Access, name: Name, output: Output = "text") -> None:
    """Delete a schedule; its runs stay.

    Example: relrec schedule delete retrain-customer-purchase
    """
    from pipelines.targets.kubeflow.schedule_views import delete_schedule

    _change(delete_schedule, access, name, output, "deleted", "is deleted")


def _change(act: Callable[[Client, str], bool | int], access: Access, name: str, output: str, state: str,
            done: str, already: str = "") -> None:
    """Do something to a schedule, and tell it: what became of it, or that it was so before."""
    as_json = check_output(output)
    changed = bool(act(access.connect(), name))
    if as_json:
        print_json({"name": name, "state": state, "changed": changed})
    else:
        typer.echo(f"{name} {done if changed else already}")
