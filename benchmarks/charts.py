"""Line charts with logarithmic axes as one SVG, for benchmark reports; follows light and dark."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

Points = Sequence[tuple[float, float]]

PANEL_WIDTH, PANEL_HEIGHT, LEFT, TOP, RIGHT, BOTTOM = 300, 210, 58, 34, 16, 40
STYLE = """
text{font:11px system-ui,sans-serif;fill:#333}.title{font-weight:600;font-size:12px}
.grid{stroke:#ddd}.line{fill:none;stroke:#2563eb;stroke-width:2}.dot{fill:#2563eb}
@media (prefers-color-scheme:dark){text{fill:#ddd}.grid{stroke:#444}.line{stroke:#7aa2ff}.dot{fill:#7aa2ff}}
"""


def short(value: float) -> str:
    """A figure in few characters.

    Example:
        >>> short(4096), short(1e5), short(1e6), short(268.4), short(12.34), short(0.0123)
        ('4.1k', '100k', '1M', '268', '12', '0.012')
    """
    def digits(figure: float) -> str:
        return f"{figure:.2g}" if figure < 99.5 else f"{figure:.0f}"

    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{digits(value / size)}{letter}"
    return digits(value)


def grid(rows: Sequence[Sequence[tuple[str, str, Points]]]) -> str:
    """An SVG of panels.

    Args:
        rows: Rows of panels, each ``(title, x label, points)``; x is logarithmic, y starts at 0.
    """
    width = PANEL_WIDTH * max(map(len, rows))
    height = PANEL_HEIGHT * len(rows)
    panels = [
        f'<g transform="translate({PANEL_WIDTH * column},{PANEL_HEIGHT * row})">{_panel(*panel)}</g>'
        for row, line in enumerate(rows) for column, panel in enumerate(line)
    ]
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
            f'width="{width}"><style>{STYLE}</style>{"".join(panels)}</svg>\n')


def _panel(title: str, x_label: str, points: Points) -> str:
    xs, ys = [math.log10(x) for x, _ in points], [y for _, y in points]
    top = max(ys) * 1.1 or 1.0
    span = (max(xs) - min(xs)) or 1.0
    inner_width, inner_height = PANEL_WIDTH - LEFT - RIGHT, PANEL_HEIGHT - TOP - BOTTOM

    def at(x: float, y: float) -> tuple[float, float]:
        return LEFT + (x - min(xs)) / span * inner_width, TOP + (1 - y / top) * inner_height

    parts = [f'<text class="title" x="{LEFT}" y="18">{escape(title)}</text>']
    for share in (0.0, 0.5, 1.0):
        y = at(xs[0], share * top)[1]
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{PANEL_WIDTH - RIGHT}" y1="{y:.1f}" '
                     f'y2="{y:.1f}"/><text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">'
                     f"{short(share * top)}</text>")
    places = [at(x, y) for x, y in zip(xs, ys, strict=True)]
    parts.append('<path class="line" d="M' + "L".join(f"{x:.1f} {y:.1f}" for x, y in places) + '"/>')
    for (x, y), (value, _) in zip(places, points, strict=True):
        parts.append(f'<circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="3"/>'
                     f'<text x="{x:.1f}" y="{PANEL_HEIGHT - 24}" text-anchor="middle">'
                     f"{short(value)}</text>")
    parts.append(f'<text x="{LEFT + inner_width / 2:.1f}" y="{PANEL_HEIGHT - 8}" '
                 f'text-anchor="middle">{escape(x_label)}</text>')
    return "".join(parts)
