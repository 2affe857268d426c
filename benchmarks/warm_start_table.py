"""Table and plot of a warm-start series."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from typing import Any

import numpy as np

HEAD = """# Warm start, day by day

`python -m benchmarks.warm_start` wrote this page; its docstring says what the sides are. MAP at the task's k
on the test window of each date, whole catalogue, no mask. Seconds are processor seconds of
training: wall time says little on a machine that does other work, too.
"""

COLORS = {"cold": "#2563eb", "warm": "#ea580c", "carried": "#6b7280"}
WIDTH, HEIGHT, LEFT, TOP, BOTTOM = 430, 230, 52, 30, 44


def _by_date(notes: Sequence[Mapping[str, Any]]) -> dict[int, dict[str, Mapping[str, Any]]]:
    dates: dict[int, dict[str, Mapping[str, Any]]] = {}
    for note in notes:
        dates.setdefault(note["date"], {})[note["side"]] = note
    return dict(sorted(dates.items()))


def markdown(
    notes: Sequence[Mapping[str, Any]], settings: Sequence[str], provenance: str, plot: str
) -> str:
    """The whole page.

    Args:
        notes: Finished sides.
        settings: Of all of them, beside the defaults.
        provenance: Machine, date and code, in a sentence.
        plot: File name of the plot.
    """
    dates = _by_date(notes)
    lines = [HEAD, provenance + (" Settings: " + ", ".join(f"`{each}`" for each in settings) + "."
                                 if settings else ""), "", f"![MAP and seconds by date]({plot})", "",
             "| date | cold MAP | warm MAP | carried MAP | cold s | warm s | cold epochs (best) | "
             "warm epochs (best) |", "|" + "---|" * 8]
    for date, sides in dates.items():
        cold, warm, carried = (sides.get(side, {}) for side in ("cold", "warm", "carried"))
        lines.append("| " + " | ".join([
            f"{datetime.fromtimestamp(date, UTC):%Y-%m-%d}",
            *(_cell(side.get("test_map"), ".4f") for side in (cold, warm, carried)),
            *(_cell(side.get("cpu_s"), ".0f") for side in (cold, warm)),
            *(f"{side['epochs']} ({side['best_epoch']})" if "epochs" in side else ""
              for side in (cold, warm)),
        ]) + " |")
    return "\n".join([*lines, "", *_summary(dates), ""])


def _cell(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)


def _summary(dates: Mapping[int, Mapping[str, Mapping[str, Any]]]) -> list[str]:
    """Means over the dates that began warm; the first one did not."""
    both = [(sides["cold"], sides["warm"]) for sides in dates.values()
            if "cold" in sides and sides.get("warm", {}).get("start", {}).get("champion")]
    if not both:
        return []
    gain = np.array([warm["test_map"] - cold["test_map"] for cold, warm in both])
    share = sum(warm["cpu_s"] for _, warm in both) / sum(cold["cpu_s"] for cold, _ in both)
    spread = f", standard error {gain.std(ddof=1) / np.sqrt(len(gain)):.4f}" if len(gain) > 1 else ""
    return [f"Over {len(both)} dates that began warm: MAP warm minus cold {gain.mean():+.4f} on average "
            f"(least {gain.min():+.4f}, most {gain.max():+.4f}{spread}; neighbouring dates share most of "
            f"their test rows, so they are no independent figures). Training took {share:.2f} of the cold "
            f"processor time."]


def figures(notes: Sequence[Mapping[str, Any]]) -> str:
    """MAP and seconds over the dates, as one SVG."""
    dates = _by_date(notes)
    panels = [("test MAP", "test_map"), ("processor seconds of training", "cpu_s")]
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {2 * WIDTH} {HEIGHT}" '
             f'width="{2 * WIDTH}" font-family="system-ui,sans-serif" font-size="11">',
             f'<rect width="{2 * WIDTH}" height="{HEIGHT}" fill="#fff"/>']
    for number, (title, figure) in enumerate(panels):
        parts.append(f'<g transform="translate({WIDTH * number},0)">{_panel(dates, title, figure)}</g>')
    return "".join(parts) + "</svg>\n"


def _panel(dates: Mapping[int, Mapping[str, Mapping[str, Any]]], title: str, figure: str) -> str:
    values = {side: [(date, sides[side][figure]) for date, sides in dates.items()
                     if sides.get(side, {}).get(figure) is not None] for side in COLORS}
    values = {side: points for side, points in values.items() if points}
    known = [value for points in values.values() for _, value in points]
    if not known:
        return ""
    low = 0.0 if figure == "cpu_s" else min(known) - 0.1 * (max(known) - min(known) or 1e-3)
    high = max(known) + 0.1 * (max(known) - low)
    first, span = min(dates), max(max(dates) - min(dates), 1)

    def at(date: int, value: float) -> tuple[float, float]:
        return (LEFT + (date - first) / span * (WIDTH - LEFT - 20),
                HEIGHT - BOTTOM - (value - low) / (high - low) * (HEIGHT - TOP - BOTTOM))

    parts = [f'<text x="{LEFT}" y="18" font-weight="600" fill="#333">{escape(title)}</text>']
    for share in (0.0, 0.5, 1.0):
        value = low + share * (high - low)
        y = at(first, value)[1]
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH - 20}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>'
                     f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end" fill="#333">'
                     f'{_tick(value)}</text>')
    for date in (first, max(dates)):
        parts.append(f'<text x="{at(date, low)[0]:.1f}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle" '
                     f'fill="#333">{datetime.fromtimestamp(date, UTC):%m-%d}</text>')
    for number, (side, points) in enumerate(values.items()):
        place = {date: at(date, value) for date, value in points}
        for line in _without_gaps(list(dates), place):
            joined = " ".join(f"{x:.1f},{y:.1f}" for x, y in line)
            parts.append(
                f'<polyline points="{joined}" fill="none" stroke="{COLORS[side]}" stroke-width="2"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.5" fill="{COLORS[side]}"/>'
                  for x, y in place.values()]
        parts.append(f'<text x="{LEFT + 70 * number}" y="{HEIGHT - 8}" fill="{COLORS[side]}">{side}</text>')
    return "".join(parts)


def _tick(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 or value == 0 else f"{value:.3g}"


def _without_gaps(
    dates: Sequence[int], known: Mapping[int, tuple[float, float]]
) -> list[list[tuple[float, float]]]:
    """Points of neighbouring dates, which a line joins; a date that was not measured ends one."""
    lines: list[list[tuple[float, float]]] = [[]]
    for date in dates:
        if date in known:
            lines[-1].append(known[date])
        elif lines[-1]:
            lines.append([])
    return [line for line in lines if len(line) > 1]
