"""Cron expressions: five fields from people, six for the cluster, and when they fire.

The cluster reads expressions with six fields, seconds first, in one time zone for the whole
installation. Five fields are accepted there, too, and then mean something else: ``0 3 * * *``
fires every hour at three minutes past. So what people write is checked and converted here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from model_core.errors import ConfigError

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
#: Field name, smallest and largest value, names of values.
_FIELDS: tuple[tuple[str, int, int, dict[str, int]], ...] = (
    ("minute", 0, 59, {}), ("hour", 0, 23, {}), ("day of month", 1, 31, {}),
    ("month", 1, 12, {name: number for number, name in enumerate(_MONTHS, 1)}),
    ("day of week", 0, 7, {name: number for number, name in enumerate(_DAYS)}),
)
#: ASCII only: the cluster takes no other digits.
_PART = re.compile(r"(?:[*?]|([a-z0-9]+)(?:-([a-z0-9]+))?)(?:/([0-9]+))?", re.IGNORECASE | re.ASCII)
#: An expression that has not fired within this long never will (29 February may be eight years off).
_HORIZON_DAYS = 366 * 9
#: Firings after a change of the clocks that are compared at least.
_LOOKED_AT = 20


@dataclass(frozen=True)
class Cron:
    """A checked expression of five fields.

    Attributes:
        text: As it was written, with single spaces.
        fields: Minutes, hours, days of the month, months, days of the week (0 is Sunday).
        any_day_of_month, any_day_of_week: Whether that field has a ``*``; where neither has, a
            day that matches one of them counts, as in every cron.
    """

    text: str
    fields: tuple[frozenset[int], ...]
    any_day_of_month: bool
    any_day_of_week: bool

    @property
    def six_fields(self) -> str:
        """For the cluster: with the second 0 in front, and Sunday as 0."""
        return f"0 {self.five_fields}"

    @property
    def five_fields(self) -> str:
        """In lower case, and with Sunday as 0."""
        minute, hour, day, month, weekday = self.text.lower().split()
        weekday = ",".join(_from_sunday(part) for part in weekday.split(","))
        return f"{minute} {hour} {day} {month} {weekday}"

    def matches(self, day: date) -> bool:
        """Whether it fires on a day."""
        if day.month not in self.fields[3]:
            return False
        in_month = day.day in self.fields[2]
        in_week = day.isoweekday() % 7 in self.fields[4]
        if self.any_day_of_month or self.any_day_of_week:
            return in_month and in_week
        return in_month or in_week

    def fires(self, zone: ZoneInfo, after: datetime) -> Iterator[datetime]:
        """Moments at which it fires, UTC, without end; times that a day does not have are left out."""
        day = after.astimezone(zone).date() - timedelta(days=1)
        for _ in range(_HORIZON_DAYS):
            if self.matches(day):
                for hour in sorted(self.fields[1]):
                    for minute in sorted(self.fields[0]):
                        moment = datetime.combine(day, time(hour, minute), zone).astimezone(UTC)
                        there = moment.astimezone(zone)
                        if (there.hour, there.minute) == (hour, minute) and moment > after:
                            yield moment
            day += timedelta(days=1)


def parse_cron(text: str, where: str = "--cron") -> Cron:
    """Check an expression of five fields.

    Takes what cron takes: ``*``, numbers, names of months and days, lists, ranges and steps.

    Args:
        text: For example ``0 3 * * *``, every night at three.
        where: For messages.

    Raises:
        ConfigError: Another number of fields, or a field that is not valid.

    Example:
        >>> parse_cron("0 3 * * mon-fri").six_fields
        '0 0 3 * * mon-fri'
    """
    words = text.split()
    if len(words) != len(_FIELDS):
        hint = " (leave out the seconds)" if len(words) == 6 else ""
        raise ConfigError(where, "five fields: minute, hour, day of month, month, day of week",
                          f"{len(words)} in {text!r}", f"write for example '0 3 * * *' for 3:00{hint}")
    parsed = [_field(word, index, where) for index, word in enumerate(words)]
    parsed[4] = frozenset(value % 7 for value in parsed[4])
    cron = Cron(" ".join(words), tuple(parsed), *(bool(re.search(r"[*?]", words[at])) for at in (2, 4)))
    if next(cron.fires(ZoneInfo("UTC"), datetime(2000, 1, 1, tzinfo=UTC)), None) is None:
        raise ConfigError(where, "a date that exists", repr(text), "no month has such a day; correct it")
    return cron


def _field(word: str, index: int, where: str) -> frozenset[int]:
    name, low, high, names = _FIELDS[index]
    values: set[int] = set()
    for part in word.split(","):
        match = _PART.fullmatch(part)
        if match is None:
            raise _bad(where, name, low, high, part)
        first, last, step = match.groups()
        try:
            start = low if first is None else _number(first, names)
            # As the cluster reads it, 5/15 is 5, 20, 35, …, and the week ends with Saturday.
            stop = (max(start, high - (index == 4)) if first is None or (step and last is None) else
                    _number(last, names) if last is not None else start)
            pace = int(step) if step is not None else 1
        except ValueError:
            raise _bad(where, name, low, high, part) from None
        if not (low <= start <= stop <= high and pace >= 1):
            raise _bad(where, name, low, high, part)
        values.update(range(start, stop + 1, pace))
    return frozenset(values)


def _from_sunday(part: str) -> str:
    """A part of the days of the week without the day 7, which the cluster does not know."""
    if re.search(r"(?<![/0-9])7", part) is None:
        return part
    return _ranges(frozenset(value % 7 for value in _field(part, 4, "--cron")))


def _number(text: str, names: dict[str, int]) -> int:
    return names[text.lower()] if text.lower() in names else int(text)


def _bad(where: str, name: str, low: int, high: int, part: str) -> ConfigError:
    return ConfigError(f"{where}, field {name}", f"{low} to {high}, a range, a list or *", repr(part),
                       "correct this field")


def parse_zone(text: str, where: str) -> ZoneInfo:
    """A time zone by its IANA name.

    Raises:
        ConfigError: No such zone.
    """
    try:
        return ZoneInfo(text)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ConfigError(where, "the name of a time zone, such as Europe/Berlin or UTC", repr(text),
                          "correct it") from None


def converted(cron: Cron, zone: ZoneInfo, cluster: ZoneInfo, now: datetime) -> tuple[Cron, datetime | None]:
    """The same moments, written for the zone in which the cluster reads expressions.

    One expression has one offset, so what comes out holds until the clocks change.

    Args:
        cron: As the user means it, in ``zone``.
        zone, cluster: Time zones.
        now: The offset of the next firing after this counts.

    Returns:
        The expression for the cluster, and the first moment at which it is off; None if
        there is none within two years.

    Raises:
        ConfigError: The moments cannot be written as one expression.
    """
    first = next(cron.fires(zone, now))
    shift = _offset(cluster, first) - _offset(zone, first)
    minutes = round(shift.total_seconds() / 60)
    moved = cron if minutes == 0 else _moved(cron, minutes, zone, cluster)
    return moved, _off_from(cron, zone, moved, cluster, now, shift)


def _off_from(cron: Cron, zone: ZoneInfo, moved: Cron, cluster: ZoneInfo, now: datetime, shift: timedelta
              ) -> datetime | None:
    """The first moment at which only one of two expressions fires; looked for where clocks change."""
    before = shift
    every_hour = len(cron.fields[1]) == 24 and _every_day(cron)
    for day in range(731):
        there = now + timedelta(days=day)
        apart = _offset(cluster, there) - _offset(zone, there)
        # What fires every hour does so whichever hour it is.
        if apart != before and not (every_hour and (apart - shift) % timedelta(hours=1) == timedelta()):
            start = max(there - timedelta(days=1), now)
            pairs = zip(cron.fires(zone, start), moved.fires(cluster, start), strict=False)
            for number, (ours, theirs) in enumerate(pairs):
                if ours != theirs:
                    return min(ours, theirs)
                if number > _LOOKED_AT and ours > start + timedelta(days=3):
                    break
        before = apart
    return None


def _every_day(cron: Cron) -> bool:
    return all(len(values) == count for values, count in zip(cron.fields[2:], (31, 12, 7), strict=True))


def _offset(zone: ZoneInfo, moment: datetime) -> timedelta:
    offset = moment.astimezone(zone).utcoffset()
    assert offset is not None
    return offset


def _moved(cron: Cron, minutes: int, zone: ZoneInfo, cluster: ZoneInfo) -> Cron:
    """An expression whose clock times are later by so many minutes."""
    times = {(hour * 60 + minute + minutes) for hour in cron.fields[1] for minute in cron.fields[0]}
    days = {moment // 1_440 for moment in times}
    new_hours = frozenset(moment % 1_440 // 60 for moment in times)
    new_minutes = frozenset(moment % 60 for moment in times)
    every_date = len(cron.fields[2]) == 31 and len(cron.fields[3]) == 12
    every_day = _every_day(cron)
    crosses = days != {0} and not every_day and (len(days) > 1 or not every_date)
    if crosses or len(new_hours) * len(new_minutes) != len(times):
        raise ConfigError(
            "--timezone", f"times that can be written in {cluster.key}, the zone of the cluster",
            f"{cron.text!r} in {zone.key}, which "
            + ("crosses midnight there" if crosses else "takes more than one expression there"),
            f"write the expression for --timezone {cluster.key}, or let the cluster's administrator set "
            "CRON_SCHEDULE_TIMEZONE and pass it as --cluster-timezone")
    weekdays = cron.fields[4] if every_day or days == {0} else frozenset(
        (day + next(iter(days))) % 7 for day in cron.fields[4])
    old = cron.text.split()
    text = " ".join((
        old[0] if new_minutes == cron.fields[0] else _ranges(new_minutes),
        old[1] if new_hours == cron.fields[1] else _ranges(new_hours), old[2], old[3],
        old[4] if weekdays == cron.fields[4] else _ranges(weekdays)))
    return parse_cron(text)


def _ranges(values: frozenset[int]) -> str:
    """Numbers as a list of ranges.

    Example:
        >>> _ranges(frozenset({1, 2, 3, 5}))
        '1-3,5'
    """
    parts: list[list[int]] = []
    for value in sorted(values):
        if parts and value == parts[-1][-1] + 1:
            parts[-1].append(value)
        else:
            parts.append([value])
    return ",".join(str(part[0]) if len(part) == 1 else f"{part[0]}-{part[-1]}" for part in parts)
