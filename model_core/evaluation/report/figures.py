"""How values are written on the page."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

_DAY_S = 86_400
#: Keys whose integers are moments, UTC seconds.
_MOMENTS = frozenset({
    "as_of", "cutoff", "train_cutoff", "time", "val_time", "test_time", "first_time", "last_time",
    "first_event", "last_event", "logical_time",
})


def utc(seconds: int) -> str:
    """A moment in UTC; midnight without its time of day.

    Example:
        >>> utc(1_322_179_200), utc(1_322_179_260)
        ('2011-11-25', '2011-11-25 00:01:00')
    """
    moment = datetime.fromtimestamp(seconds, UTC)
    return moment.strftime("%Y-%m-%d" if seconds % _DAY_S == 0 else "%Y-%m-%d %H:%M:%S")


def days(seconds: int) -> str:
    """A duration in days.

    Example:
        >>> days(1_209_600), days(43_200)
        ('14 days', '0.5 days')
    """
    return f"{seconds / _DAY_S:g} day{'' if seconds == _DAY_S else 's'}"


def _is_moment(name: str, value: int) -> bool:
    return name in _MOMENTS and 0 < value < 2**40


def figure(value: Any, name: str = "") -> str:
    """Any scalar of a record, for people.

    Args:
        value: None, bool, int, float or str.
        name: Its key; moments in time are told by it.

    Example:
        >>> figure(12345), figure(0.123456), figure(None), figure(0, "as_of")
        ('12,345', '0.1235', '–', '0')
    """
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return utc(value) if _is_moment(name, value) else f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.4g}"
    return str(value)


def words(name: str) -> str:
    """A key as words: ``num_users`` becomes ``users``."""
    return name.removeprefix("num_").replace("_", " ")


def sentence(text: str) -> str:
    """The same text with a capital first letter."""
    return text[:1].upper() + text[1:]
