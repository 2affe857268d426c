"""Small inline SVG charts. Colours come from the page's CSS classes, so they follow its theme."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from markupsafe import Markup

from model_core.pages import svg, text


class Bar(NamedTuple):
    """One bar with its interval; ``accent`` marks the model that is judged."""

    label: str
    value: float
    low: float
    high: float
    accent: bool


class Share(NamedTuple):
    """One share between 0 and 1; ``tone`` is the class of its bar."""

    value: float
    tone: str


def nice_ticks(highest: float, count: int = 4) -> list[float]:
    """Round values from 0 to at least ``highest``.

    Example:
        >>> nice_ticks(0.23)
        [0.0, 0.1, 0.2, 0.3]
    """
    if not highest > 0:
        return [0.0, 1.0]
    rough = highest / count
    magnitude = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * magnitude for factor in (1, 2, 5, 10) if factor * magnitude >= rough)
    return [round(step * i, 10) for i in range(math.ceil(highest / step - 1e-9) + 1)]


def bar_chart(title: str, bars: Sequence[Bar], highest: float) -> Markup:
    """Horizontal bars from zero, whiskers for the intervals, the value written beside each.

    Args:
        title: The accessible name.
        bars: From top to bottom.
        highest: Value the axis must reach; the same for charts that are compared.
    """
    width, row, left, right, top = 460, 30, 140, 56, 10
    height = top + row * len(bars) + 26
    ticks = nice_ticks(highest)
    scale = (width - left - right) / ticks[-1]
    bottom = top + row * len(bars)
    parts = []
    for tick in ticks:
        x = left + tick * scale
        parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{top}" y2="{bottom}" class="grid"/>')
        parts.append(text(x, bottom + 16, f"{tick:g}", "tick", "middle"))
    for place, bar in enumerate(bars):
        y = top + row * place
        middle = y + row / 2
        tone = "accent" if bar.accent else "plain"
        low, high = left + bar.low * scale, left + bar.high * scale
        parts.append(text(left - 10, middle + 4, bar.label, f"label {tone}-label", "end"))
        parts.append(f'<rect x="{left}" y="{y + 6}" height="{row - 12}" rx="2" '
                     f'width="{max(bar.value * scale, 0.5):.1f}" class="bar {tone}"/>')
        parts.append(f'<path d="M{low:.1f} {middle}H{high:.1f}M{low:.1f} {middle - 4}v8'
                     f'M{high:.1f} {middle - 4}v8" class="whisker"/>')
        parts.append(text(high + 7, middle + 4, f"{bar.value:.4f}", f"value {tone}-label"))
    return svg(width, height, title, parts)


def share_chart(
    title: str, groups: Sequence[tuple[str, Sequence[Share]]], legend: Mapping[str, str]
) -> Markup:
    """Groups of horizontal bars from 0 to 100 %, the percentage written beside each bar.

    Args:
        title: The accessible name.
        groups: (label, its shares), from top to bottom.
        legend: Tone to what it stands for.
    """
    width, bar, gap, left, right, top = 460, 13, 12, 150, 44, 30
    scale = width - left - right
    parts, x = [], float(left)
    for tone, label in legend.items():
        parts.append(f'<rect x="{x:.1f}" y="6" width="11" height="11" rx="2" class="bar {tone}"/>')
        parts.append(text(x + 16, 16, label, "tick"))
        x += 30 + 6.5 * len(label)
    bottom = top + sum(bar * len(shares) + gap for _, shares in groups)
    for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
        x = left + tick * scale
        parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{top}" y2="{bottom}" class="grid"/>')
        parts.append(text(x, bottom + 16, f"{tick:.0%}", "tick", "middle"))
    y = float(top)
    for label, shares in groups:
        middle = y + (gap + bar * len(shares)) / 2
        parts.append(text(left - 10, middle + 4, label, "label", "end"))
        for place, share in enumerate(shares):
            upper = y + gap / 2 + bar * place
            parts.append(f'<rect x="{left}" y="{upper + 1:.1f}" height="{bar - 2}" rx="2" '
                         f'width="{max(share.value * scale, 0.5):.1f}" class="bar {share.tone}"/>')
            parts.append(text(left + share.value * scale + 5, upper + bar - 3, f"{share.value:.0%}", "tick"))
        y += gap + bar * len(shares)
    return svg(width, int(bottom) + 26, title, parts)


def line_chart(
    title: str,
    points: Sequence[tuple[float, float]],
    *,
    x_label: str,
    best: int | None = None,
    reference: tuple[str, float] | None = None,
) -> Markup:
    """One line over epochs or steps.

    Args:
        title: What the y axis is; also the accessible name.
        points: (x, y), ascending in x.
        x_label: What the x axis is.
        best: Index of a point to mark and to write out.
        reference: (label, y) of a horizontal line to compare with.
    """
    width, height, left, right, top, bottom = 460, 210, 52, 16, 22, 36
    xs, ys = [x for x, _ in points], [y for _, y in points]
    ticks = nice_ticks(max([*ys, reference[1] if reference else 0.0]))
    span = max(xs[-1] - xs[0], 1e-9)

    def at(x: float, y: float) -> tuple[float, float]:
        share = (x - xs[0]) / span if len(xs) > 1 else 0.5
        return (left + share * (width - left - right),
                height - bottom - y / ticks[-1] * (height - top - bottom))

    parts = []
    for tick in ticks:
        y = at(xs[0], tick)[1]
        parts.append(f'<line x1="{left}" x2="{width - right}" y1="{y:.1f}" y2="{y:.1f}" class="grid"/>')
        parts.append(text(left - 7, y + 4, f"{tick:g}", "tick", "end"))
    for x in sorted({xs[0], xs[len(xs) // 2], xs[-1]}):
        parts.append(text(at(x, 0)[0], height - bottom + 17, f"{x:g}", "tick", "middle"))
    parts.append(text((left + width - right) / 2, height - 4, x_label, "tick", "middle"))
    if reference:
        y = at(xs[0], reference[1])[1]
        parts.append(f'<line x1="{left}" x2="{width - right}" y1="{y:.1f}" y2="{y:.1f}" class="reference"/>')
        left_free = best is not None and best > len(points) / 2
        parts.append(text(left + 4 if left_free else width - right, y - 5, reference[0], "tick",
                           "start" if left_free else "end"))
    corners = [at(x, y) for x, y in points]
    if len(corners) > 1:
        line = "L".join(f"{x:.1f} {y:.1f}" for x, y in corners)
        parts.append(f'<path d="M{line}" class="line"/>')
    if len(corners) <= 40:
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.5" class="dot"/>' for x, y in corners]
    if best is not None:
        x, y = corners[best]
        anchor = "end" if x > width * 0.7 else "start" if x < width * 0.3 else "middle"
        parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" class="best"/>')
        parts.append(text(x, y + 20, f"{ys[best]:.4f}", "value accent-label", anchor))
    return svg(width, height, title, parts)
