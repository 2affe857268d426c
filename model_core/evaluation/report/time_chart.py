"""A figure of several models over logical dates, as inline SVG in the manner of ``charts``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from markupsafe import Markup

from model_core.evaluation.report.charts import nice_ticks
from model_core.pages import svg, text

_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 960, 320, 56, 18, 34, 40
_MAX_LABELS = 8
_DAY_S = 86_400


@dataclass(frozen=True)
class Series:
    """One line.

    Attributes:
        label: In the legend.
        tone: CSS class of the line: ``accent``, ``plain`` or ``truth``.
        values: One per date; None leaves a gap.
        lows, highs: Ends of the interval of each value, or empty.
    """

    label: str
    tone: str
    values: Sequence[float | None]
    lows: Sequence[float | None] = ()
    highs: Sequence[float | None] = ()


def time_chart(
    title: str, times: Sequence[int], series: Sequence[Series], marked: Sequence[bool] = (),
    mark_label: str = "",
) -> Markup:
    """Lines over time, from zero, with a legend; the first line can have marks and a band.

    Args:
        title: What the y axis is; also the accessible name.
        times: UTC seconds, ascending.
        series: The lines, the most important first.
        marked: Which points of the first line have a ring.
        mark_label: What a ring stands for.

    Example:
        >>> "<svg" in time_chart("MAP", [0, 86_400], [Series("model", "accent", [0.1, 0.2])])
        True
    """
    known = [value for line in series for value in (*line.values, *line.highs) if value is not None]
    ticks = nice_ticks(max(known, default=0.0), 6)
    span = max(times[-1] - times[0], 1)

    def at(place: int, value: float) -> tuple[float, float]:
        share = (times[place] - times[0]) / span if len(times) > 1 else 0.5
        return (_LEFT + 12 + share * (_WIDTH - _LEFT - _RIGHT - 24),
                _HEIGHT - _BOTTOM - value / ticks[-1] * (_HEIGHT - _TOP - _BOTTOM))

    parts = []
    for tick in ticks:
        y = at(0, tick)[1]
        parts.append(f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}" class="grid"/>')
        parts.append(text(_LEFT - 7, y + 4, f"{tick:g}", "tick", "end"))
    step = -(-len(times) // _MAX_LABELS)
    for place in range(0, len(times), step):
        parts.append(text(at(place, 0)[0], _HEIGHT - _BOTTOM + 18, _date(times[place]), "tick", "middle"))
    parts += _legend(series, mark_label if any(marked) else "")
    for line in reversed(series):  # the most important line is drawn last, on top
        for run in _runs(line.lows, line.highs):
            upper = [at(place, line.highs[place] or 0.0) for place in run]
            lower = [at(place, line.lows[place] or 0.0) for place in reversed(run)]
            parts.append(f'<path d="M{_path(upper + lower)}Z" class="band {line.tone}"/>')
        for run in _runs(line.values):
            corners = [at(place, line.values[place] or 0.0) for place in run]
            if len(corners) > 1:
                parts.append(f'<path d="M{_path(corners)}" class="series {line.tone}"/>')
            parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.8" class="point {line.tone}"/>'
                      for x, y in corners]
    for place, has_ring in enumerate(marked):
        value = series[0].values[place]
        if has_ring and value is not None:
            x, y = at(place, value)
            parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="6" class="ring"/>')
    return svg(_WIDTH, _HEIGHT, title, parts)


def _legend(series: Sequence[Series], mark_label: str) -> Iterator[str]:
    x = float(_LEFT)
    for line in series:
        yield f'<path d="M{x:.1f} 14h18" class="series {line.tone}"/>'
        yield text(x + 24, 18, line.label, "tick")
        x += 44 + 6.6 * len(line.label)
    if mark_label:
        yield f'<circle cx="{x + 6:.1f}" cy="14" r="6" class="ring"/>'
        yield text(x + 18, 18, mark_label, "tick")


def _runs(*columns: Sequence[float | None]) -> Iterator[list[int]]:
    """Places of neighbours that all have a value."""
    run: list[int] = []
    for place, values in enumerate(zip(*columns, strict=True)):
        if all(value is not None for value in values):
            run.append(place)
        elif run:
            yield run
            run = []
    if run:
        yield run


def _path(corners: Sequence[tuple[float, float]]) -> str:
    return "L".join(f"{x:.1f} {y:.1f}" for x, y in corners)


def _date(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%m-%d %H:%M" if seconds % _DAY_S else "%Y-%m-%d")
