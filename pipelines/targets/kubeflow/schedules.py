"""Schedules: KFP's recurring runs, one per name."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from model_core.errors import ConfigError
from pipelines.targets.kubeflow.client import Client, talking
from pipelines.targets.kubeflow.cron import Cron, converted
from pipelines.targets.kubeflow.errors import KubeflowError
from pipelines.targets.kubeflow.pipeline_versions import PipelineVersion, ensure_version
from pipelines.targets.kubeflow.runs import plain
from pipelines.targets.kubeflow.schedule_views import (
    ScheduleView,
    delete,
    description,
    fires_of,
    get_schedule,
    named,
    set_mode,
    settings_of,
    unless_gone,
)
from pipelines.targets.kubeflow.submit import Submission, ensure_experiment

#: What the server allows.
MOST_AT_ONCE = 10

_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9 ._-]{0,98}[A-Za-z0-9])?")

@dataclass(frozen=True)
class Schedule:
    """What to run, and when.

    Attributes:
        submission: Pipeline with parameters; its ``run_name`` is the name of the schedule.
        cron: As the user means it, in ``zone``.
        zone: Its time zone.
        cluster_zone: The one in which the cluster reads expressions.
        start, end: No run before and after; None for no bound.
        catch_up: Make up for runs that were missed, one by one; else only the newest of them.
        at_once: How many runs of it may be on the way at the same time, 1 to 10.
        paused: Make it, but do not let it fire.
    """

    submission: Submission
    cron: Cron
    zone: ZoneInfo
    cluster_zone: ZoneInfo
    start: datetime | None = None
    end: datetime | None = None
    catch_up: bool = False
    at_once: int = 1
    paused: bool = False

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ConfigError("--name", "1 to 100 letters, digits, spaces, dots, hyphens and underscores",
                              repr(self.name), "choose another name")
        if not 1 <= self.at_once <= MOST_AT_ONCE:
            raise ConfigError("--max-concurrency", f"1 to {MOST_AT_ONCE}", str(self.at_once), "correct it")
        if self.start is not None and self.end is not None and self.end <= self.start:
            raise ConfigError("--end", "a moment after --start", self.end.isoformat(), "correct one of them")

    @property
    def name(self) -> str:
        return self.submission.run_name

    @property
    def description(self) -> str:
        return description(self.cron, self.zone, self.cluster_zone)

    def for_cluster(self, now: datetime) -> tuple[Cron, datetime | None]:
        """The expression for the cluster, and from when on it is off because clocks change."""
        after = now if self.start is None else max(now, self.start)
        cron, off_from = converted(self.cron, self.zone, self.cluster_zone, after)
        ends_before = off_from is not None and self.end is not None and self.end < off_from
        return cron, None if ends_before else off_from

    def next_fires(self, now: datetime, count: int = 3) -> list[datetime]:
        """When the cluster will start the next runs, UTC."""
        cron, _ = self.for_cluster(now)
        return fires_of(cron, self.cluster_zone, self.start, self.end, now, count)


@dataclass(frozen=True)
class Change:
    """What ``create_schedule`` did.

    Attributes:
        what: ``created``, ``replaced``, ``unchanged``, ``resumed`` or ``paused``.
        schedule: As it is now.
        version: What it runs.
    """

    what: str
    schedule: ScheduleView
    version: PipelineVersion


def create_schedule(client: Client, schedule: Schedule, *, clock: Callable[[], datetime] | None = None
                    ) -> Change:
    """Make the schedule of this name be as described, whatever was there before.

    The server knows no unique names and cannot change a recurring run. So a new one is made
    without firing, those that differ are stopped, then it is let go, then they are deleted.
    At no moment two of a name fire, and a call that was cut off is completed by the next.

    Args:
        client: Connected client.
        schedule: What is wanted.
        clock: The present; for tests.

    Raises:
        KubeflowError: The server refuses something or cannot be reached.
    """
    now = clock() if clock is not None else datetime.now(UTC)
    version = ensure_version(client, schedule.submission.pipeline_name, schedule.submission.yaml)
    experiment_id = ensure_experiment(client, schedule.submission.experiment)
    cron, _ = schedule.for_cluster(now)
    wanted = _compared(_wanted(schedule, cron, version, experiment_id))

    before = named(client, schedule.name)
    runs, lost = before, None
    if not any(_compared(settings_of(run)) == wanted for run in before):
        lost = _make(client, schedule, cron, version, experiment_id)
        runs = named(client, schedule.name)
    same = sorted((run for run in runs if _compared(settings_of(run)) == wanted),
                  key=lambda run: (str(run.created_at), run.recurring_run_id))
    if not same:
        raise lost or KubeflowError(
            f"schedule {schedule.name!r}", "the settings that were sent", "others in what the server made",
            "look at it with relrec schedule show, and delete it with relrec schedule delete")
    kept = same[0]  # two callers at once agree on the oldest
    others = [run for run in runs if run.recurring_run_id != kept.recurring_run_id]
    for run in others:
        with unless_gone():
            set_mode(client, run, fires=False)
    with _not_taken_away(schedule.name):
        moved = set_mode(client, kept, fires=not schedule.paused)
    for run in others:
        delete(client, run.recurring_run_id)
    if any(run.recurring_run_id == kept.recurring_run_id for run in before):
        what = ("replaced" if others else
                "unchanged" if not moved else "paused" if schedule.paused else "resumed")
    else:
        what = "replaced" if before else "created"
    with _not_taken_away(schedule.name):
        return Change(what, get_schedule(client, kept.recurring_run_id, now=now), version)


@contextlib.contextmanager
def _not_taken_away(name: str) -> Iterator[None]:
    """Two callers that want different things may each delete what the other one made."""
    try:
        yield
    except KubeflowError as error:
        if error.status != 404:
            raise
        raise KubeflowError(f"schedule {name!r}", "the schedule that was just made", "that it is gone: "
                            "another call deleted or replaced it at the same time",
                            "agree on one, and run the command again", status=404) from None


def _make(client: Client, schedule: Schedule, cron: Cron, version: PipelineVersion, experiment_id: str
          ) -> KubeflowError | None:
    """Make it, without firing. What went wrong if it may be there all the same: the caller looks."""
    submission = schedule.submission
    try:
        with talking(client):
            client.create_recurring_run(
                experiment_id, schedule.name, description=schedule.description,
                start_time=_rfc3339(schedule.start), end_time=_rfc3339(schedule.end),
                cron_expression=cron.six_fields, max_concurrency=schedule.at_once,
                no_catchup=not schedule.catch_up, params=dict(submission.arguments),
                pipeline_id=version.pipeline_id, version_id=version.version_id, enabled=False,
                pipeline_root=submission.pipeline_root or None,
                service_account=submission.service_account or None)
    except KubeflowError as error:
        if not error.sent:
            raise
        return error
    return None


def _wanted(schedule: Schedule, cron: Cron, version: PipelineVersion, experiment_id: str) -> dict[str, Any]:
    submission = schedule.submission
    return {
        "cron": cron.six_fields, "description": schedule.description, "start": schedule.start,
        "end": schedule.end, "at_once": schedule.at_once, "catch_up": schedule.catch_up,
        "version": version.version_id, "experiment": experiment_id,
        "parameters": plain(submission.arguments), "pipeline_root": submission.pipeline_root,
        "service_account": submission.service_account,
    }


def _compared(settings: dict[str, Any]) -> dict[str, Any]:
    """What makes two schedules differ: not who asked, or every job of a CI would replace the last one's."""
    parameters = {key: value for key, value in settings["parameters"].items() if key != "who"}
    return settings | {"parameters": parameters}


def _rfc3339(moment: datetime | None) -> str | None:
    return None if moment is None else moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
