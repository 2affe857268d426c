"""``relrec registry``: versions of a model, and which of them is served."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from pipelines.cli.connected import Output, check_output, print_json

if TYPE_CHECKING:
    from model_core.storage.registry import Registry

registry_app = typer.Typer(no_args_is_help=True, help="Versions in a model registry, and its champion.")

Place = Annotated[str, typer.Option(
    "--registry", metavar="PLACE", envvar="RELREC_REGISTRY", show_default=False,
    help="Directory or URI (gs://, s3://) of the registry.")]
Version = Annotated[str, typer.Argument(metavar="VERSION", help="As relrec registry list has it.",
                                        show_default=False)]
Reason = Annotated[str, typer.Option("--reason", metavar="TEXT", show_default=False,
                                     help="Why; it goes into the registry's log.")]
Who = Annotated[str, typer.Option("--who", metavar="NAME", show_default=False,
                                  help="Who, for the log. [default: USER@HOST]")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would happen, and change nothing.")]


def _open(place: str) -> Registry:
    from model_core.storage.registry import Registry

    return Registry(place)


@registry_app.command("list")
def list_command(registry: Place, output: Output = "text") -> None:
    """List the versions, oldest logical date first.

    Example: relrec registry list --registry gs://bucket/registry
    """
    as_json = check_output(output)
    from rich.console import Console

    from pipelines.cli.registry_screen import show_versions, versions_json

    found = versions_json(opened := _open(registry))
    if as_json:
        print_json(found)
    elif found:
        show_versions(Console(highlight=False), found)
    else:
        typer.echo(f"no versions in {opened.store.uri}")


@registry_app.command("show")
def show_command(
    registry: Place,
    version: Annotated[str | None, typer.Argument(
        metavar="[VERSION]", help="One version; the champion by default.", show_default=False)] = None,
    log: Annotated[int, typer.Option("--log", min=0, help="So many of the newest log entries.")] = 10,
    output: Output = "text",
) -> None:
    """Show a version, with its verdict.

    Every check of the gate, its run, and how the champion pointer moved.

    Example: relrec registry show --registry gs://bucket/registry 20111125-1a2b3c4d
    """
    as_json = check_output(output)
    from rich.console import Console

    from pipelines.cli.registry_screen import show_version, version_json

    found = version_json(_open(registry), version, log)
    if as_json:
        print_json(found)
    else:
        show_version(Console(highlight=False), found)


@registry_app.command("promote")
def promote_command(
    registry: Place, version: Version, reason: Reason, who: Who = "", dry_run: DryRun = False,
    output: Output = "text",
) -> None:
    """Make a version champion by hand, whatever the gate said of it.

    Example: relrec registry promote 20111125-1a2b3c4d --reason "new item table" --registry gs://bucket/registry
    """
    as_json = check_output(output)
    import time

    from model_core.storage.pointer import caller
    from pipelines.cli.registry_screen import tell_move

    opened = _open(registry)
    before = opened.champion()
    opened.version_info(version)
    if not dry_run:
        opened.promote(version, reason=reason, who=who or caller(), now=int(time.time()))
    tell_move(before, version, dry_run=dry_run, as_json=as_json)


@registry_app.command("rollback")
def rollback_command(
    registry: Place, reason: Reason, who: Who = "", dry_run: DryRun = False, output: Output = "text",
) -> None:
    """Go back to the champion before; repeated, further back. One write, at once.

    Example: relrec registry rollback --reason "clicks fell by half" --registry gs://bucket/registry
    """
    as_json = check_output(output)
    import time

    from model_core.storage.pointer import caller
    from pipelines.cli.registry_screen import tell_move

    opened = _open(registry)
    before = opened.champion()
    target = opened.rollback_target(before)
    if not dry_run:
        target = opened.rollback(now=int(time.time()), reason=reason, who=who or caller()).version
    tell_move(before, target, dry_run=dry_run, as_json=as_json)


@registry_app.command("gc")
def gc_command(
    registry: Place,
    keep: Annotated[int, typer.Option(
        min=0, help="So many of the newest versions stay, and so many champions before the present one.",
    )] = 10,
    older_than: Annotated[str, typer.Option(
        metavar="AGE", help="Only versions stored longer ago go: 30d, 12h.")] = "30d",
    dry_run: DryRun = False,
    output: Output = "text",
) -> None:
    """Remove old versions and uploads that were never finished.

    The champion, the version that a rollback leads to, and what is younger than a day always stay.

    Example: relrec registry gc --keep 5 --older-than 90d --dry-run --registry gs://bucket/registry
    """
    as_json = check_output(output)
    import time

    from model_core.storage.registry_gc import collect, plan_gc
    from pipelines.cli.registry_screen import parse_age, tell_gc

    opened, now = _open(registry), int(time.time())
    plan = plan_gc(opened, keep=keep, older_than_s=parse_age(older_than), now=now)
    if not dry_run:
        plan = collect(opened, plan, now=now)
    tell_gc(plan, now=now, dry_run=dry_run, as_json=as_json)
