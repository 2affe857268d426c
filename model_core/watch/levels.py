"""From a measured figure to a level, and how figures are written for people."""

from __future__ import annotations

from datetime import UTC, datetime

from model_core.config import Level, Limits

_DAY_S = 86_400


def level_of(value: float, limits: Limits, allowance: float = 0.0) -> Level:
    """Level of a measure that is bad when large.

    Args:
        value: The measure.
        limits: Limits of a warning and of a failure; None: never.
        allowance: What chance or habit explains; both limits are raised by it.

    Example:
        >>> level_of(0.12, (0.1, 0.3)), level_of(0.12, (0.1, 0.3), 0.05), level_of(9, (None, None))
        ('warn', 'ok', 'ok')
    """
    warn, fail = limits
    if fail is not None and value >= fail + allowance:
        return "fail"
    if warn is not None and value >= warn + allowance:
        return "warn"
    return "ok"


def least_limit(limits: Limits, allowance: float = 0.0) -> float | None:
    """The limit that is met first, raised by the allowance."""
    given = [limit for limit in limits if limit is not None]
    return min(given) + allowance if given else None


def percent(share: float) -> str:
    """A share for people.

    Example:
        >>> percent(0.1234), percent(0.0004), percent(1.0)
        ('12 %', '0.04 %', '100 %')
    """
    return f"{100 * share:.2g} %" if share < 0.995 else f"{100 * share:.0f} %"


def plain(number: float) -> str:
    """A number for people: whole with separators, else three digits.

    Example:
        >>> plain(12_345.0), plain(0.012345)
        ('12,345', '0.0123')
    """
    return f"{number:,.0f}" if abs(number) >= 1_000 or number == int(number) else f"{number:.3g}"


def duration(seconds: float) -> str:
    """A duration in the unit that suits it.

    Example:
        >>> duration(90_000), duration(7_200), duration(864_000)
        ('25 hours', '2 hours', '10 days')
    """
    if seconds >= 2 * _DAY_S:
        return f"{seconds / _DAY_S:.3g} days"
    return f"{seconds / 3_600:.3g} hour{'' if round(seconds / 3_600, 2) == 1 else 's'}"


def utc(seconds: int) -> str:
    """A moment, to the minute."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M")
