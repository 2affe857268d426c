"""What a person sees of schedules on a cluster."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from model_core.errors import ConfigError
from pipelines.cli.connected import Access, print_json, short, utc
from pipelines.cli.run_screen import show_version
from pipelines.targets.kubeflow.cron import parse_cron, parse_zone
from pipelines.targets.kubeflow.retraining import Retraining, scheduled_submission_of
from pipelines.targets.kubeflow.schedule_views import ScheduleView
from pipelines.targets.kubeflow.schedules import Schedule, create_schedule


@dataclass(frozen=True)
class Timing:
    """When to run, as it was written."""

    cron: str
    timezone: str
    cluster_timezone: str | None
    start: str
    end: str
    catch_up: bool
    max_concurrency: int
    paused: bool

    def schedule(self, submission: Any, cluster_timezone: str) -> Schedule:
        """Checked, with everything else.

        Raises:
            ConfigError: A field, zone or date that is not valid.
        """
        zone = parse_zone(self.timezone, "--timezone")
        return Schedule(
            submission, parse_cron(self.cron), zone,
            parse_zone(self.cluster_timezone or cluster_timezone, "--cluster-timezone"),
            moment_of(self.start, zone, "--start"), moment_of(self.end, zone, "--end"), self.catch_up,
            self.max_concurrency, self.paused)


def moment_of(text: str, zone: ZoneInfo, where: str) -> datetime | None:
    """A date or time as UTC; one without zone is of ``zone``, an empty one None.

    Raises:
        ConfigError: Neither a date nor a time.
    """
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
        moment = moment.replace(tzinfo=zone) if moment.tzinfo is None else moment
        return moment.astimezone(UTC).replace(microsecond=0)
    except (ValueError, OverflowError):
        raise ConfigError(where, "a date or time such as 2026-12-01 or 2026-12-01T03:00", repr(text),
                          "correct it") from None


def create_and_show(access: Access, wanted: Retraining, timing: Timing, *, dry_run: bool, as_json: bool
                    ) -> None:
    """Make a schedule and show what became of it.

    Raises:
        RelrecError: A bad setting, or the cluster cannot be reached.
    """
    connection = access.load()
    schedule = timing.schedule(scheduled_submission_of(wanted), connection.settings.cluster_timezone)
    now = datetime.now(UTC)
    cron, off_from = schedule.for_cluster(now)
    fires = schedule.next_fires(now)
    if not as_json and off_from is not None:
        typer.echo(f"the clocks change: from {short(off_from)} UTC on this fires at another time of "
                   f"{schedule.zone.key}; run the same command again then, which moves the schedule",
                   err=True)
    facts = {
        "name": schedule.name, "cron": schedule.cron.text, "timezone": schedule.zone.key,
        "cluster_cron": cron.six_fields, "cluster_timezone": schedule.cluster_zone.key,
        "off_from": utc(off_from), "next_fires": [utc(moment) for moment in fires]}
    console = Console(highlight=False)
    if dry_run:
        if as_json:
            print_json({"host": connection.host, "dry_run": True, **facts, "start": utc(schedule.start),
                        "end": utc(schedule.end), "catch_up": schedule.catch_up,
                        "max_concurrency": schedule.at_once, "paused": schedule.paused,
                        **schedule.submission.to_json()})
        else:
            console.print(f"would schedule [bold]{escape(schedule.name)}[/] on {escape(connection.host)}",
                          soft_wrap=True)
            _show_times(console, schedule, cron.six_fields, fires)
            console.print("nothing was sent")
        return
    change = create_schedule(access.connect(), schedule, clock=lambda: now)
    if as_json:
        print_json({"change": change.what, **facts, **schedule_json(change.schedule),
                    "pipeline": change.version.pipeline, "version": change.version.name})
        return
    console.print(f"schedule [bold]{escape(schedule.name)}[/] {change.what}"
                  + (", paused" if schedule.paused and change.what != "paused" else ""))
    show_version(console, change.version)
    _show_times(console, schedule, cron.six_fields, [] if schedule.paused else fires)
    console.print(escape(change.schedule.link), soft_wrap=True)


def _show_times(console: Console, schedule: Schedule, six_fields: str, fires: Sequence[datetime]) -> None:
    console.print(f"cron {escape(schedule.cron.text)} in {schedule.zone.key}, for the cluster "
                  f"{escape(six_fields)} in {schedule.cluster_zone.key}", soft_wrap=True)
    for moment in fires:
        there = moment.astimezone(schedule.zone)
        console.print(f"  fires {there:%a %Y-%m-%d %H:%M} {there.tzname()} [dim]{moment:%H:%M} UTC[/]")


def schedule_json(view: ScheduleView) -> dict[str, Any]:
    """A schedule for scripts."""
    return {
        "schedule_id": view.schedule_id, "name": view.name, "state": view.state, "cluster_cron": view.cron,
        "meant": view.meant or None, "cluster_timezone": view.cluster_zone, "start": utc(view.start),
        "end": utc(view.end), "catch_up": view.catch_up, "max_concurrency": view.at_once,
        "version_id": view.version_id, "experiment_id": view.experiment_id, "error": view.error,
        "next_fires": [utc(moment) for moment in view.next_fires], "link": view.link,
        "parameters": dict(view.parameters),
    }


def show_schedules(views: Iterable[ScheduleView]) -> None:
    """A table of schedules."""
    console = Console(highlight=False)
    table = Table(box=None, pad_edge=False)
    for heading in ("schedule", "state", "when", "next (UTC)"):
        table.add_column(heading, no_wrap=heading not in ("schedule", "when"), overflow="fold")
    for view in views:
        when = view.meant or f"{view.cron} in {view.cluster_zone}"
        table.add_row(escape(view.name), view.state, escape(when),
                      short(view.next_fires[0] if view.next_fires else None))
    if table.row_count:
        console.print(table)
    else:
        console.print("no schedules")


def show_schedule(view: ScheduleView) -> None:
    """One schedule."""
    console = Console(highlight=False)
    console.print(f"[bold]{escape(view.name)}[/] {view.schedule_id}: {view.state}", soft_wrap=True)
    if view.meant:
        console.print(f"cron {escape(view.meant)}")
    console.print(f"for the cluster {escape(view.cron)} in {view.cluster_zone}")
    console.print(f"catch-up {'on' if view.catch_up else 'off'}, at most {view.at_once} at once, "
                  f"from {short(view.start)}, until {short(view.end)}")
    for key in ("dataset", "task", "registry"):
        if view.parameters.get(key):
            console.print(f"{key} {escape(str(view.parameters[key]))}", soft_wrap=True)
    for moment in view.next_fires:
        console.print(f"  fires {moment:%a %Y-%m-%d %H:%M} UTC")
    if view.error:
        console.print(f"[red]✗[/] {escape(view.error)}", soft_wrap=True)
    console.print(escape(view.link), soft_wrap=True)
