"""``relrec runs``: look at runs on a cluster, and end them."""

from __future__ import annotations

from typing import Annotated

import typer

from pipelines.cli.connected import Access, Output, check_output, connected, print_json
from pipelines.cli.flags import Poll

runs_app = typer.Typer(no_args_is_help=True, help="Look at runs on Kubeflow Pipelines, and end them.")

RunId = Annotated[str, typer.Argument(metavar="RUN", help="ID of a run.", show_default=False)]


@runs_app.command("list")
@connected
def list_command(
    access: Access,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many, the newest.")] = 20,
    state: Annotated[str | None, typer.Option(
        help="Only runs that are pending, running, succeeded, failed, cancelling, cancelled, skipped or "
             "paused.", show_default=False)] = None,
    name: Annotated[str | None, typer.Option(help="Only runs of this name.", show_default=False)] = None,
    output: Output = "text",
) -> None:
    """List the newest runs.

    Example: relrec runs list --host https://kubeflow.example.org/pipeline --state failed
    """
    as_json = check_output(output)
    from rich.console import Console

    from pipelines.cli.run_screen import run_json, show_runs
    from pipelines.targets.kubeflow.runs import list_runs

    found = list_runs(access.connect(), limit=limit, state=state, name=name)
    if as_json:
        print_json([{key: value for key, value in run_json(run).items() if key != "steps"} for run in found])
    elif found:
        show_runs(Console(highlight=False), found)
    else:
        typer.echo("no runs")


@runs_app.command("show")
@connected
def show_command(
    access: Access,
    run_id: RunId,
    wait: Annotated[bool, typer.Option(
        "--wait", help="Follow it; exit with 0 if it succeeds, else with 1.")] = False,
    poll_s: Poll = 5.0,
    output: Output = "text",
) -> None:
    """Show a run: its state, its steps, and why a step failed.

    Example: relrec runs show 1f3c9f0e-6f0e-4f43-9d53-6f8f4a4e6d0a --wait
    """
    as_json = check_output(output)
    from rich.console import Console

    from pipelines.cli.run_screen import run_json, show_run, wait_and_show
    from pipelines.targets.kubeflow.runs import get_run

    client, console, code = access.connect(), Console(highlight=False), 0
    run = get_run(client, run_id)
    if wait and not run.ended:
        run, code = wait_and_show(console, client, run_id, poll_s=poll_s, quiet=as_json)
    elif not as_json:
        show_run(console, run)
    if wait and run.ended:
        code = 0 if run.state == "succeeded" else 1
    if as_json:
        print_json(run_json(run))
    raise typer.Exit(code)


@runs_app.command("logs")
@connected
def logs_command(
    access: Access,
    run_id: RunId,
    step: Annotated[str | None, typer.Argument(
        metavar="[STEP]", help="One step; all by default.", show_default=False)] = None,
    output: Output = "text",
) -> None:
    """Say what the server knows of a run's errors, and which command shows the logs of its pods.

    The API of Kubeflow Pipelines, v2beta1, has no logs; the web page of the run and Kubernetes do.

    Example: relrec runs logs 1f3c9f0e-6f0e-4f43-9d53-6f8f4a4e6d0a train
    """
    as_json = check_output(output)
    from pipelines.targets.kubeflow.runs import get_run, log_command

    client = access.connect()
    run = get_run(client, run_id)
    command = log_command(client, run, step)
    errors = {entry.name: entry.error for entry in run.steps
              if entry.error and step in (None, entry.name, entry.name.replace("_", "-"))}
    if as_json:
        print_json({"run_id": run.run_id, "errors": errors, "command": command, "link": run.link})
        return
    for name, error in errors.items():
        typer.echo(f"{name}: {error}")
    if run.error and not errors:
        typer.echo(run.error)
    typer.echo("the API has no logs; while the pods are there, this shows them:")
    typer.echo(f"  {command}")
    typer.echo(f"and so does the page of the run: {run.link}")


@runs_app.command("cancel")
@connected
def cancel_command(access: Access, run_id: RunId, output: Output = "text") -> None:
    """End a run; its steps are stopped, what they have stored stays.

    Example: relrec runs cancel 1f3c9f0e-6f0e-4f43-9d53-6f8f4a4e6d0a
    """
    as_json = check_output(output)
    from pipelines.cli.run_screen import run_json
    from pipelines.targets.kubeflow.runs import cancel_run

    run = cancel_run(access.connect(), run_id)
    if as_json:
        print_json(run_json(run))
    elif run.state in ("succeeded", "failed", "skipped"):
        typer.echo(f"run {run.run_id} had {run.state} already")
    else:
        typer.echo(f"run {run.run_id}: {run.state}")
