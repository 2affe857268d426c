"""Schedules on the server: seen, paused, resumed, deleted."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Any
from zoneinfo import ZoneInfo

from model_core.errors import ConfigError
from pipelines.targets.kubeflow.client import Client, talking
from pipelines.targets.kubeflow.cron import Cron, parse_cron, parse_zone
from pipelines.targets.kubeflow.errors import KubeflowError, shortened
from pipelines.targets.kubeflow.listing import pages, predicates
from pipelines.targets.kubeflow.runs import plain

#: The API has no field for a time zone, so what the user wrote stands in the description.
_DESCRIPTION = re.compile(r"relrec: (.+) in (\S+); the cluster reads it in (\S+)")


def description(cron: Cron, zone: ZoneInfo, cluster_zone: ZoneInfo) -> str:
    """What a schedule's description says, and ``ScheduleView.meant`` is read from."""
    return f"relrec: {cron.text} in {zone.key}; the cluster reads it in {cluster_zone.key}"


@dataclass(frozen=True)
class ScheduleView:
    """A schedule as the server has it.

    Attributes:
        schedule_id, name: Of the recurring run.
        state: ``active`` or ``paused``.
        cron: As the server has it, six fields; or the interval of a periodic one.
        meant: As the user wrote it, with its zone; empty for schedules that relrec did not make.
        cluster_zone: Zone in which the cluster reads it, as far as known.
        start, end: Bounds, or None.
        catch_up, at_once: As for ``Schedule``.
        version_id, experiment_id, parameters: What it runs.
        next_fires: UTC; empty where it is paused or not understood.
        error: What the server says is wrong with it.
        link: Its web page.
    """

    schedule_id: str
    name: str
    state: str
    cron: str
    meant: str
    cluster_zone: str
    start: datetime | None
    end: datetime | None
    catch_up: bool
    at_once: int
    version_id: str
    experiment_id: str
    parameters: Mapping[str, Any]
    next_fires: tuple[datetime, ...]
    error: str | None
    link: str


def settings_of(run: Any) -> dict[str, Any]:
    """The same of a recurring run of the API."""
    cron = run.trigger.cron_schedule if run.trigger else None
    config, reference = run.runtime_config, run.pipeline_version_reference
    return {
        "cron": cron.cron if cron else "", "description": run.description or "",
        "start": _moment(cron.start_time if cron else None), "end": _moment(cron.end_time if cron else None),
        "at_once": int(run.max_concurrency or 1), "catch_up": not run.no_catchup,
        "version": reference.pipeline_version_id if reference else "", "experiment": run.experiment_id or "",
        "parameters": plain((config.parameters if config else None) or {}),
        "pipeline_root": (config.pipeline_root if config else None) or "",
        "service_account": run.service_account or "",
    }


def _moment(value: datetime | None) -> datetime | None:
    """A bound in UTC; the epoch stands for none."""
    return None if value is None or value.timestamp() == 0 else value.astimezone(UTC)


def list_schedules(client: Client, *, now: datetime | None = None) -> list[ScheduleView]:
    """All recurring runs of the namespace, also those that relrec did not make, by name.

    Raises:
        KubeflowError: The server cannot be reached.
    """
    runs = pages(client, client.list_recurring_runs, "recurring_runs",
                 namespace=client.get_user_namespace() or None)
    moment = now or datetime.now(UTC)
    return sorted((_view(client, run, moment) for run in runs),
                  key=lambda view: (view.name, view.schedule_id))


def get_schedule(client: Client, name: str, *, now: datetime | None = None) -> ScheduleView:
    """A schedule by name or ID.

    Raises:
        KubeflowError: There is none, or there are several of that name.
    """
    runs = _found(client, name)
    if len(runs) > 1:
        raise _several(name, runs)
    return _view(client, runs[0], now or datetime.now(UTC))


def pause_schedule(client: Client, name: str) -> bool:
    """Let a schedule not fire. Whether it fired before.

    Raises:
        KubeflowError: There is none, or the server cannot be reached.
    """
    changed = [set_mode(client, run, fires=False) for run in _found(client, name)]
    return any(changed)


def resume_schedule(client: Client, name: str) -> bool:
    """Let a schedule fire again. Whether it did not before.

    Raises:
        KubeflowError: There is none, there are several of that name, or the server cannot be reached.
    """
    runs = _found(client, name)
    if len(runs) > 1:
        raise _several(name, runs)
    return set_mode(client, runs[0], fires=True)


def delete_schedule(client: Client, name: str) -> int:
    """Delete a schedule, or all of that name; runs that it made stay. How many there were.

    Raises:
        KubeflowError: There is none, or the server cannot be reached.
    """
    runs = _found(client, name)
    for run in runs:
        delete(client, run.recurring_run_id)
    return len(runs)


def named(client: Client, name: str) -> list[Any]:
    runs = pages(client, client.list_recurring_runs, "recurring_runs", filter=predicates(display_name=name),
                 namespace=client.get_user_namespace() or None)
    return [run for run in runs if run.display_name == name]


def _found(client: Client, name: str) -> list[Any]:
    if runs := named(client, name):
        return runs
    try:
        with talking(client):
            return [client.get_recurring_run(name)]
    except KubeflowError as error:
        if error.status not in (400, 404):
            raise
        raise KubeflowError("schedule", "the name or ID of a schedule on this server", repr(name),
                            "see relrec schedule list", status=404) from None


def _several(name: str, runs: Iterable[Any]) -> KubeflowError:
    ids = ", ".join(run.recurring_run_id for run in runs)
    return KubeflowError(f"schedule {name!r}", "one of that name", f"several: {ids}",
                         "run relrec schedule create again, which leaves one; or name one by its ID")


def set_mode(client: Client, run: Any, *, fires: bool) -> bool:
    """Whether the mode was another one."""
    if _is_active(run) == fires:
        return False
    with talking(client):
        (client.enable_recurring_run if fires else client.disable_recurring_run)(run.recurring_run_id)
    return True


def _is_active(run: Any) -> bool:
    # The server answers with a status; what was asked for is the mode.
    return run.status == "ENABLED" if run.status else run.mode == "ENABLE"


@contextlib.contextmanager
def unless_gone() -> Iterator[None]:
    """Within this, it is no fault that somebody else has deleted the schedule."""
    try:
        yield
    except KubeflowError as error:
        if error.status != 404:
            raise


def delete(client: Client, recurring_run_id: str) -> None:
    with unless_gone(), talking(client):
        client.delete_recurring_run(recurring_run_id)


def _view(client: Client, run: Any, now: datetime) -> ScheduleView:
    settings = settings_of(run)
    told = _DESCRIPTION.fullmatch(settings["description"])
    zone = told[3] if told else client.connection.settings.cluster_timezone
    active = _is_active(run)
    periodic = run.trigger.periodic_schedule if run.trigger else None
    fires: list[datetime] = []
    words = settings["cron"].split()
    if active and len(words) == 6 and words[0] == "0":
        with contextlib.suppress(ConfigError):  # somebody else's, which only the server understands
            fires = fires_of(parse_cron(" ".join(words[1:])), parse_zone(zone, "cluster_timezone"),
                           settings["start"], settings["end"], now, 3)
    return ScheduleView(
        schedule_id=run.recurring_run_id, name=run.display_name or "", state="active" if active else "paused",
        cron=settings["cron"] or (f"every {periodic.interval_second} s" if periodic else ""),
        meant=f"{told[1]} in {told[2]}" if told else "", cluster_zone=zone, start=settings["start"],
        end=settings["end"], catch_up=settings["catch_up"], at_once=settings["at_once"],
        version_id=settings["version"], experiment_id=settings["experiment"],
        parameters=settings["parameters"], next_fires=tuple(fires),
        error=shortened(run.error.message) if run.error and run.error.message else None,
        link=client.connection.schedule_link(run.recurring_run_id))


def fires_of(cron: Cron, zone: ZoneInfo, start: datetime | None, end: datetime | None, now: datetime,
           count: int) -> list[datetime]:
    after = max(now, start) if start is not None else now
    return [moment for moment in islice(cron.fires(zone, after), count) if end is None or moment <= end]
