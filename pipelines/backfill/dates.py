"""The logical dates of a backfill."""

from __future__ import annotations

import re
from typing import NamedTuple

from model_core.errors import ConfigError
from model_core.logical_date import date_name, date_text, parse_as_of

_SECONDS = {"h": 3_600, "d": 86_400, "w": 7 * 86_400}
_EVERY = re.compile(r"([1-9]\d{0,3})([hdw])")

#: A slip in --every or a year would otherwise start years of work.
MAX_DATES = 5_000


class LogicalDate(NamedTuple):
    """One date of a backfill; names and texts follow from the seconds."""

    seconds: int

    @property
    def name(self) -> str:
        """As in names of runs, versions and folders."""
        return date_name(self.seconds)

    @property
    def text(self) -> str:
        """In RFC 3339, as for ``as_of``."""
        return date_text(self.seconds)

    @property
    def short(self) -> str:
        """For people: the day, with the time of day where it has one."""
        return self.text.removesuffix("T00:00:00Z").replace("T", " ").removesuffix("Z")


def logical_dates(start: str, end: str, every: str = "1d") -> tuple[LogicalDate, ...]:
    """All dates from ``start`` to ``end``, both included, oldest first.

    All are UTC, so that a day is always 24 hours. Months have no fixed length and are refused.

    Args:
        start, end: As for ``as_of``.
        every: Distance: a number and ``h``, ``d`` or ``w``.

    Raises:
        ConfigError: No date, a range that ends before it starts, or another distance.

    Example:
        >>> [date.name for date in logical_dates("2011-11-25", "2011-12-08", "1w")]
        ['20111125', '20111202']
    """
    first, last = (_parsed(text, flag) for text, flag in ((start, "--from"), (end, "--to")))
    match = _EVERY.fullmatch(every.strip())
    if not match:
        raise ConfigError("--every", "a number of hours, days or weeks, such as 6h, 1d or 2w", repr(every),
                          "pass one of these; for months, which differ in length, pass weeks (4w)")
    step = int(match[1]) * _SECONDS[match[2]]
    if first > last:
        raise ConfigError("--from and --to", "a range that ends after it starts", f"{start} to {end}",
                          "exchange the two")
    count = (last - first) // step + 1
    if count > MAX_DATES:
        raise ConfigError("--every", f"at most {MAX_DATES:,} dates", f"{count:,}", "pass a longer distance")
    return tuple(LogicalDate(first + step * place) for place in range(count))


def _parsed(text: str, flag: str) -> int:
    try:
        seconds = parse_as_of(text, required=True)
    except ConfigError as error:
        raise ConfigError(flag, error.expected, error.found, error.fix) from error
    assert seconds is not None
    return seconds
