"""Small inline SVG: how a drifted column was spread before, and how it is now."""

from __future__ import annotations

import math

from markupsafe import Markup

from model_core.pages import svg, text
from model_core.watch.levels import duration, percent, plain
from model_core.watch.statistics import NUM_STEPS, ColumnStatistics

_NUM_BARS = 5
#: Least change of a share that is drawn.
_MIN_MOVE = 0.005
_WIDTH = 300


def drift_chart(now: ColumnStatistics, before: ColumnStatistics) -> Markup:
    """Shares of the categories that moved most, or the spread of numbers; before above now.

    Args:
        now, before: The column in both snapshots.

    Returns:
        SVG, or nothing where the two are compared in different ways or have no values.
    """
    if now.measure != before.measure or not now.known or not before.known:
        return Markup()
    if now.measure == "categories":
        return _shares(now, before)
    return _spreads(now, before) if now.sketch and before.sketch else Markup()


def _shares(now: ColumnStatistics, before: ColumnStatistics) -> Markup:
    """Two thin bars per category; a category that is not named counts as 0."""
    shares = [before.shares, now.shares]
    moved = {value: abs(shares[0].get(value, 0.0) - shares[1].get(value, 0.0))
             for value in shares[0].keys() | shares[1].keys()}
    values = sorted(moved, key=lambda value: (-moved[value], value))[:_NUM_BARS]
    values = [value for value in values if moved[value] >= _MIN_MOVE] or values[:1]
    left, row = 104, 28
    top = max(max(share.get(value, 0.0) for share in shares) for value in values)
    scale = (_WIDTH - left - 46) / top
    parts = []
    for place, value in enumerate(values):
        y = place * row
        label = value if len(value) <= 15 else value[:14] + "…"
        parts.append(text(left - 6, y + 16, label, anchor="end"))
        for line, (tone, share) in enumerate(zip(("before", "now"), shares, strict=True)):
            length = share.get(value, 0.0) * scale
            upper = y + 2 + 12 * line
            parts.append(f'<rect x="{left}" y="{upper}" width="{max(length, 0.5):.1f}" height="9" '
                         f'class="{tone}"/>')
            parts.append(text(left + length + 4, upper + 8, percent(share.get(value, 0.0))))
    return svg(_WIDTH, row * len(values), "shares before and now", parts)


def _spreads(now: ColumnStatistics, before: ColumnStatistics) -> Markup:
    """Per side a line over nine tenths of the values, a box over half of them, a mark at the median."""
    places = [NUM_STEPS // 20, NUM_STEPS // 4, NUM_STEPS // 2, -(NUM_STEPS // 4) - 1, -(NUM_STEPS // 20) - 1]
    sides = [[column.sketch[place] for place in places] for column in (before, now)]
    low, high = min(min(side) for side in sides), max(max(side) for side in sides)
    logarithmic = low > 0 and high / low > 30
    write = duration if now.measure == "ages" else plain

    def at(value: float) -> float:
        if high == low:
            return _WIDTH / 2
        share = (value - low) / (high - low)
        if logarithmic:
            share = math.log(value / low) / math.log(high / low)
        return 52 + share * (_WIDTH - 60)

    parts = []
    for line, (tone, side) in enumerate(zip(("before", "now"), sides, strict=True)):
        y = 10 + 18 * line
        first, lower, middle, upper, last = map(at, side)
        parts.append(text(44, y + 4, tone, anchor="end"))
        parts.append(f'<path d="M{first:.1f} {y}H{last:.1f}" class="{tone}"/>')
        parts.append(f'<rect x="{lower:.1f}" y="{y - 5}" width="{max(upper - lower, 1):.1f}" height="10" '
                     f'class="{tone}"/>')
        parts.append(f'<path d="M{middle:.1f} {y - 7}v14" class="median"/>')
    parts.append(text(52, 50, write(low)))
    parts.append(text(_WIDTH - 8, 50, write(high) + (" (log)" if logarithmic else ""), anchor="end"))
    return svg(_WIDTH, 54, "spread before and now", parts)
