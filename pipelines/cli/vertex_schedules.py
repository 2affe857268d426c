"""``relrec schedule --target vertex``: what each command does on Vertex AI."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import typer

from model_core.errors import ConfigError
from pipelines.cli.connected import check_output, print_json, short
from pipelines.cli.vertex import VertexFlags

if TYPE_CHECKING:
    from pipelines.targets.vertex.connection import Clients
    from pipelines.targets.vertex.schedules import VertexSchedule


def create_schedule(
    flags: VertexFlags, *, cron: str, timezone: str, name: str, start: str, end: str, catch_up: bool,
    max_concurrency: int, paused: bool, dry_run: bool, output: str, cluster_timezone: str | None, **job: Any,
) -> None:
    """Make or change a schedule of Vertex AI; ``job`` is what ``submit.retraining`` takes.

    Raises:
        RelrecError: A bad setting, or the service cannot be reached.
    """
    as_json = check_output(output)
    if cluster_timezone is not None:
        raise ConfigError("--cluster-timezone", "--target kubeflow", "--target vertex",
                          "leave it out: Vertex AI knows time zones")
    from pipelines.cli.schedule_screen import moment_of
    from pipelines.cli.submit import retraining
    from pipelines.targets.kubeflow.cron import parse_cron, parse_zone
    from pipelines.targets.kubeflow.retraining import scheduled_submission_of
    from pipelines.targets.vertex import connection, schedules
    from pipelines.targets.vertex.job import pipeline_job

    zone = parse_zone(timezone, "--timezone")
    wanted = retraining(name=name, **job)
    place = flags.place(wanted)
    submission = scheduled_submission_of(wanted)
    timing: dict[str, Any] = {
        "cron": parse_cron(cron).five_fields, "timezone": timezone, "max_concurrent": max_concurrency,
        "start": moment_of(start, zone, "--start"), "end": moment_of(end, zone, "--end"),
        # Where runs that are due at once may not be left out, they wait for each other.
        "queueing": catch_up,
    }
    if dry_run:
        planned = pipeline_job(place, submission.yaml, submission.arguments, submission.run_name,
                               submission.pipeline_root)
        plan = {"target": "vertex", "parent": place.parent, "dry_run": True, "schedule": submission.run_name,
                **timing, **submission.to_json(), "not_on_vertex": list(planned.left_out)}
        if as_json:
            print_json(plan)
        else:
            for key, value in plan.items():
                typer.echo(f"{key.replace('_', ' ')}: {value}")
            typer.echo("nothing was sent")
        return
    clients = connection.connect(place)
    view = schedules.create(clients, submission.run_name, submission.yaml, submission.arguments,
                            pipeline_root=submission.pipeline_root, **timing)
    if paused != (view.state == "paused"):
        (schedules.pause if paused else schedules.resume)(clients, view.schedule_id)
        done = "paused" if paused else "resumed"
        view = _one(clients, view.schedule_id, done if view.change == "unchanged" else view.change)
    _show(view, as_json)


def list_schedules(flags: VertexFlags, *, output: str) -> None:
    """All schedules that relrec made in the project and region."""
    as_json = check_output(output)
    from pipelines.targets.vertex import schedules

    found = schedules.list_schedules(_clients(flags))
    if as_json:
        print_json([asdict(view) for view in found])
    for view in found if not as_json else ():
        _show(view, as_json=False)


def show_schedule(flags: VertexFlags, *, name: str, output: str) -> None:
    """One schedule."""
    as_json = check_output(output)
    _show(_one(_clients(flags), name), as_json)


def pause_schedule(flags: VertexFlags, *, name: str, output: str) -> None:
    """Let a schedule start nothing until it is resumed."""
    from pipelines.targets.vertex.schedules import pause

    _change(pause, flags, name, output)


def resume_schedule(flags: VertexFlags, *, name: str, output: str) -> None:
    """Let a paused schedule go on; what was due in between is left out."""
    from pipelines.targets.vertex.schedules import resume

    _change(resume, flags, name, output)


def _change(act: Callable[[Clients, str], None], flags: VertexFlags, name: str, output: str) -> None:
    as_json = check_output(output)
    clients = _clients(flags)
    act(clients, name)
    _show(_one(clients, name), as_json)


def delete_schedule(flags: VertexFlags, *, name: str, output: str) -> None:
    """Remove a schedule; its runs stay."""
    as_json = check_output(output)
    from pipelines.targets.vertex import schedules

    schedules.delete(_clients(flags), name)
    if as_json:
        print_json({"name": name, "state": "deleted", "changed": True})
    else:
        typer.echo(f"{name} is deleted")


def _clients(flags: VertexFlags) -> Clients:
    from pipelines.targets.vertex import connection

    return connection.connect(connection.VertexPlace(flags.project, flags.location))


def _one(clients: Clients, name: str, change: str = "") -> VertexSchedule:
    from pipelines.targets.vertex import schedules

    return schedules.get_schedule(clients, name, change)


def _show(view: VertexSchedule, as_json: bool) -> None:
    if as_json:
        print_json(asdict(view))
        return
    change = f"{view.change}, " if view.change else ""
    typer.echo(f"{view.name} {view.schedule_id}: {change}{view.state}, '{view.cron}' {view.timezone}, "
               f"next {short(view.next_run)} UTC")
