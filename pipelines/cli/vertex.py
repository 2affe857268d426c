"""``relrec submit --target vertex``: options, and what a person sees of a job on Vertex AI."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from model_core.errors import ConfigError
from pipelines.cli.connected import CONNECTION_OPTIONS, print_json, tell_lost

if TYPE_CHECKING:
    from pipelines.targets.kubeflow.retraining import Retraining
    from pipelines.targets.vertex.connection import Clients, VertexPlace
    from pipelines.targets.vertex.runs import VertexRun

Target = Annotated[str, typer.Option(
    "--target", metavar="kubeflow|vertex", help="Kubeflow Pipelines, or Vertex AI Pipelines.")]
Project = Annotated[str, typer.Option(
    "--project", envvar="GOOGLE_CLOUD_PROJECT", show_default=False,
    help="For --target vertex: ID of the Google Cloud project.")]
Location = Annotated[str, typer.Option(
    "--location", show_default=False, help="For --target vertex: region, such as europe-west1.")]
StagingBucket = Annotated[str, typer.Option(
    "--staging-bucket", metavar="URI", show_default=False,
    help="For --target vertex: gs:// URI under which artifacts go.")]
Accelerator = Annotated[str, typer.Option(
    "--accelerator", show_default=False,
    help="For --target vertex: what it calls the GPU, such as NVIDIA_L4.")]


@dataclass(frozen=True)
class VertexFlags:
    """The options above, not yet looked at."""

    project: str
    location: str
    staging_bucket: str
    accelerator: str

    def place(self, wanted: Retraining) -> VertexPlace:
        """Where the job goes.

        Raises:
            ConfigError: A flag is missing or bad.
        """
        from pipelines.targets.vertex.connection import VertexPlace

        return VertexPlace(self.project, self.location, self.staging_bucket or wanted.pipeline_root,
                           wanted.service_account, self.accelerator)


def is_vertex(target: str, flags: VertexFlags) -> bool:
    """Whether Vertex AI is meant.

    Raises:
        ConfigError: Another target, or flags of Vertex AI for Kubeflow.
    """
    if target not in ("kubeflow", "vertex"):
        raise ConfigError("--target", "kubeflow or vertex", repr(target), "pass one of the two")
    # The project may come from the environment, where it is meant for other programs.
    if target == "kubeflow" and (flags.location or flags.staging_bucket or flags.accelerator):
        raise ConfigError("--location, --staging-bucket, --accelerator", "--target vertex",
                          "--target kubeflow", "add --target vertex, or leave them out")
    return target == "vertex"


def submit_to_vertex(
    flags: VertexFlags, wanted: Retraining, *, wait: bool, poll_s: float, dry_run: bool, as_json: bool
) -> int:
    """Start a retraining on Vertex AI and show it. Returns the exit code.

    Raises:
        RelrecError: A bad setting, or the service cannot be reached.
    """
    from pipelines.targets.kubeflow.retraining import submission_of
    from pipelines.targets.vertex import connection, runs

    place = flags.place(wanted)
    submission = submission_of(wanted)
    clients = None if dry_run else connection.connect(place)
    if clients is None:
        from pipelines.targets.vertex.job import pipeline_job

        job = pipeline_job(place, submission.yaml, submission.arguments, submission.run_name,
                           submission.pipeline_root)
        plan = {"target": "vertex", "parent": place.parent, "dry_run": True, **submission.to_json(),
                "pipeline_root": job.message.runtime_config.gcs_output_directory,
                "not_on_vertex": list(job.left_out)}
        if as_json:
            print_json(plan)
        else:
            for key, value in plan.items():
                typer.echo(f"{key.replace('_', ' ')}: {value}")
            typer.echo("nothing was sent")
        return 0
    run = runs.submit(clients, submission.yaml, submission.arguments, submission.run_name,
                      pipeline_root=submission.pipeline_root)
    left_out = run.left_out
    if not as_json:
        typer.echo(f"run {run.name} {run.job_id}")
        typer.echo(run.link)
    for what in left_out:
        typer.echo(f"not on Vertex AI: {what}", err=True)
    code = 0
    if wait:
        run, code = _wait(clients, run, poll_s=poll_s, quiet=as_json)
    if as_json:
        print_json({"target": "vertex", "job_id": run.job_id, "name": run.name, "state": run.state,
                    "link": run.link, "error": run.error or None, "steps": dict(run.steps or {}),
                    "not_on_vertex": list(left_out)})
    return code


def _wait(clients: Clients, run: VertexRun, *, poll_s: float, quiet: bool) -> tuple[VertexRun, int]:
    """A line per change of a step; the run at its end, and the exit code, 130 after Ctrl-C."""
    from pipelines.targets.following import follow
    from pipelines.targets.vertex.runs import get_run

    seen: dict[str, str] = {}
    job = run.job_id
    try:
        for run in follow(lambda: get_run(clients, job), poll_s=poll_s, lost=tell_lost):
            for step, state in (run.steps or {}).items():
                if seen.get(step) != state and not quiet:
                    typer.echo(f"{step} {state}")
                seen[step] = state
    except KeyboardInterrupt:
        typer.echo(f"stopped waiting; the run goes on: {run.link}", err=True)
        return run, 130
    if not quiet:
        typer.echo(f"run {run.state}" + (f": {run.error}" if run.error else ""))
    return run, 0 if run.state == "succeeded" else 1


_SHARED = {"target": Target, "project": Project, "location": Location}
_OF_JOBS = {"staging_bucket": StagingBucket, "accelerator": Accelerator}


def on_vertex(
    action: Callable[..., None], *, with_job: bool = False
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command ``--target vertex``: then ``action`` runs in place of the command.

    Args:
        action: Takes VertexFlags and the command's own arguments by name.
        with_job: Whether it makes jobs and needs a bucket and the name of a GPU, too.

    Example::

        @schedule_app.command("pause")
        @on_vertex(pause_on_vertex)
        @connected
        def pause_command(access: Access, name: Name) -> None: ...
    """
    options = _SHARED | (_OF_JOBS if with_job else {})

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(command)
        def with_target(**arguments: Any) -> None:
            target = arguments.pop("target")
            flags = VertexFlags(**{name: arguments.pop(name, "") for name in (*_SHARED, *_OF_JOBS)
                                   if name != "target"})
            if is_vertex(target, flags):
                # Everything but the way to Kubeflow: an option that ``action`` forgot is a TypeError.
                action(flags, **{name: value for name, value in arguments.items()
                                 if name not in CONNECTION_OPTIONS})
            else:
                command(**arguments)

        signature = inspect.signature(command)
        added = [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=kind,
                                   default="kubeflow" if name == "target" else "")
                 for name, kind in options.items()]
        parameters = [*signature.parameters.values(), *added]
        with_target.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
        with_target.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        del with_target.__wrapped__  # type: ignore[attr-defined]
        return with_target

    return decorate
