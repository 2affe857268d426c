"""Schedules of Vertex AI: the same pipeline again and again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from model_core.errors import ConfigError
from pipelines.targets.vertex.connection import Clients
from pipelines.targets.vertex.errors import VertexError, talking
from pipelines.targets.vertex.job import pipeline_job

if TYPE_CHECKING:
    from google.cloud.aiplatform_v1 import Schedule

_TIMEOUT_S = 60.0
#: Label of a scheduled job: what it was made of, so that the same schedule is recognised.
_DIGEST = "relrec-digest"


@dataclass(frozen=True)
class VertexSchedule:
    """A schedule as it is.

    Attributes:
        schedule_id: Its ID.
        name: As the user calls it.
        cron, timezone: When it fires.
        state: ``active``, ``paused`` or ``completed``.
        next_run: When it fires next; None where it does not.
        end: When it ends; None for never.
        max_concurrent: Most runs at a time.
        change: What a call of ``create`` did: ``created``, ``changed`` or ``unchanged``; of the command
            ``relrec schedule create`` also ``paused`` or ``resumed``.
    """

    schedule_id: str
    name: str
    cron: str
    timezone: str
    state: str
    next_run: datetime | None
    end: datetime | None
    max_concurrent: int
    change: str = ""


def create(
    clients: Clients, name: str, text: str, arguments: Mapping[str, Any], *, cron: str, timezone: str = "UTC",
    start: datetime | None = None, end: datetime | None = None, max_concurrent: int = 1,
    queueing: bool = True, pipeline_root: str = "",
) -> VertexSchedule:
    """Make a schedule, or change the one of this name; a second call with the same does nothing.

    The service knows no unique names. Of two calls at once the one that made the later schedule
    takes it away again and changes the earlier one.

    Args:
        clients: Connected clients.
        name: Of the schedule.
        text: The compiled pipeline, with the service's schedule time as its logical date.
        arguments: Its parameters.
        cron: Five fields.
        timezone: IANA name of the zone in which ``cron`` is meant.
        start: First moment; a past one makes the service run everything missed since.
        end: Last moment.
        max_concurrent: Most runs at a time.
        queueing: Whether a run that is due while others run waits; otherwise it is left out.
        pipeline_root: Where artifacts go; empty: under the staging bucket.

    Raises:
        ConfigError: Bad values.
        VertexError: The service refuses it, several have this name, or it cannot be reached.
    """
    from google.cloud import aiplatform_v1
    from google.protobuf import field_mask_pb2

    if not 1 <= max_concurrent <= 100:
        raise ConfigError("--max-concurrency", "1 to 100", str(max_concurrent), "pass such a number")
    if start is not None and end is not None and end <= start:
        raise ConfigError("--end", "a moment after --start", end.isoformat(), "correct one of them")
    if len(cron.split()) != 5:
        raise ConfigError("--cron", "five fields: minute, hour, day of month, month, day of week", repr(cron),
                          "write for example '0 3 * * *' for 3:00")
    place = clients.place
    message = pipeline_job(place, text, arguments, name, pipeline_root).message
    message.labels[_DIGEST] = _digest(text, arguments, place, pipeline_root)
    wanted = aiplatform_v1.Schedule(
        display_name=name, cron=f"TZ={timezone} {cron}",
        create_pipeline_job_request=aiplatform_v1.CreatePipelineJobRequest(
            parent=place.parent, pipeline_job=message),
        max_concurrent_run_count=max_concurrent, allow_queueing=queueing)
    if start is not None:
        wanted.start_time = start
    if end is not None:
        wanted.end_time = end
    found = _find(clients, name, required=False)
    with talking(place.parent):
        if found is None:
            made = clients.schedules.create_schedule(parent=place.parent, schedule=wanted, timeout=_TIMEOUT_S)
            found = min([made, *_named(clients, name)], key=_age)
            if found.name == made.name:
                return _view(made, "created")
            _remove(clients, made)
        changed = _differences(found, wanted)
        if not changed:
            return _view(found, "unchanged")
        wanted.name = found.name
        made = clients.schedules.update_schedule(
            schedule=wanted, update_mask=field_mask_pb2.FieldMask(paths=changed), timeout=_TIMEOUT_S)
    return _view(made, "changed")


def list_schedules(clients: Clients) -> list[VertexSchedule]:
    """All schedules of the place that relrec made, by name.

    Raises:
        VertexError: The service refuses it or cannot be reached.
    """
    with talking(clients.place.parent):
        found = [schedule for schedule in clients.schedules.list_schedules(
                     parent=clients.place.parent, timeout=_TIMEOUT_S) if _is_ours(schedule)]
    return sorted((_view(schedule) for schedule in found), key=lambda view: view.name)


def get_schedule(clients: Clients, name: str, change: str = "") -> VertexSchedule:
    """A schedule by its name or ID.

    Raises:
        VertexError: There is none, or the service cannot be reached.
    """
    return _view(_required(clients, name), change)


def pause(clients: Clients, name: str) -> None:
    """Let a schedule start no runs until it is resumed; one that is paused stays so.

    Raises:
        VertexError: There is none of this name, or the service cannot be reached.
    """
    schedule = _required(clients, name)
    if schedule.state.name == "PAUSED":
        return
    with talking(clients.place.parent):
        clients.schedules.pause_schedule(name=schedule.name, timeout=_TIMEOUT_S)


def resume(clients: Clients, name: str, *, catch_up: bool = False) -> None:
    """Let a paused schedule go on; the service refuses that of an active one, which stays so.

    Args:
        clients: Connected clients.
        name: Of the schedule.
        catch_up: Whether what was due while it was paused is run now.

    Raises:
        VertexError: There is none of this name, or the service cannot be reached.
    """
    from google.cloud import aiplatform_v1

    schedule = _required(clients, name)
    if schedule.state.name == "ACTIVE":
        return
    with talking(clients.place.parent):
        clients.schedules.resume_schedule(
            request=aiplatform_v1.ResumeScheduleRequest(name=schedule.name, catch_up=catch_up),
            timeout=_TIMEOUT_S)


def delete(clients: Clients, name: str) -> None:
    """Remove a schedule; runs that it started go on.

    Raises:
        VertexError: There is none of this name, or the service cannot be reached.
    """
    schedule = _required(clients, name)
    with talking(clients.place.parent):
        _remove(clients, schedule)


def _remove(clients: Clients, schedule: Schedule) -> None:
    clients.schedules.delete_schedule(name=schedule.name, timeout=_TIMEOUT_S).result(timeout=_TIMEOUT_S)


def _age(schedule: Schedule) -> tuple[str, str]:
    """Sorts the oldest first, for every caller alike."""
    return str(schedule.create_time or ""), schedule.name


def _named(clients: Clients, name: str) -> list[Schedule]:
    """Those of a name (or ID) that relrec made."""
    return [schedule for schedule in clients.schedules.list_schedules(
                parent=clients.place.parent, timeout=_TIMEOUT_S)
            if _is_ours(schedule) and name in (schedule.display_name, schedule.name.rsplit("/", 1)[-1])]


def _find(clients: Clients, name: str, *, required: bool) -> Schedule | None:
    """The schedule of a name (or ID)."""
    place = clients.place
    with talking(place.parent):
        found = _named(clients, name)
    if len(found) > 1:
        ids = ", ".join(schedule.name.rsplit("/", 1)[-1] for schedule in found)
        raise VertexError(f"{place.parent}, schedule {name!r}", "one schedule of this name",
                          f"{len(found)}: {ids}",
                          "delete the others by their ID: relrec schedule delete ID")
    if not found and required:
        raise VertexError(f"{place.parent}, schedule {name!r}", "a schedule of this name", "none",
                          "look at relrec schedule list, --project and --location")
    return found[0] if found else None


def _required(clients: Clients, name: str) -> Schedule:
    found = _find(clients, name, required=True)
    assert found is not None
    return found


def _is_ours(schedule: Schedule) -> bool:
    return _DIGEST in schedule.create_pipeline_job_request.pipeline_job.labels


def _differences(found: Schedule, wanted: Schedule) -> list[str]:
    """Fields of ``wanted`` that the service must change.

    An unset start stays as it is: the service sets one by itself. An unset end is one that is
    taken away.
    """
    job, other = (schedule.create_pipeline_job_request.pipeline_job for schedule in (found, wanted))
    changed = [field for field in ("cron", "max_concurrent_run_count", "allow_queueing")
               if getattr(found, field) != getattr(wanted, field)]
    if wanted.start_time and found.start_time != wanted.start_time:
        changed.append("start_time")
    if found.end_time != wanted.end_time:
        changed.append("end_time")
    if job.labels.get(_DIGEST) != other.labels[_DIGEST]:
        changed.append("create_pipeline_job_request")
    return changed


def _digest(text: str, arguments: Mapping[str, Any], place: Any, pipeline_root: str) -> str:
    # Who asked is no setting: another person, or a job of a CI, may ask for the same.
    settings = {key: value for key, value in arguments.items() if key != "who"}
    content = json.dumps([text, settings, place.staging_bucket, place.service_account,
                          place.accelerator, pipeline_root], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:40]


def _view(schedule: Schedule, change: str = "") -> VertexSchedule:
    zone, _, cron = schedule.cron.partition(" ") if schedule.cron.startswith(("TZ=", "CRON_TZ=")) \
        else ("TZ=UTC", "", schedule.cron)
    return VertexSchedule(
        schedule_id=schedule.name.rsplit("/", 1)[-1], name=schedule.display_name, cron=cron,
        timezone=zone.partition("=")[2], state=schedule.state.name.lower(),
        next_run=schedule.next_run_time or None, end=schedule.end_time or None,
        max_concurrent=schedule.max_concurrent_run_count, change=change)
