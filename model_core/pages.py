"""What all self-contained HTML pages are made with: their templates, and the frame of inline pictures.

A report, the page of the data watch, the section on time and memory and the page of a
backfill are rendered alike: values are escaped, and a name that a template misspells is an error.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup, escape


def template(file: Path, **filters: Callable[..., Any]) -> jinja2.Template:
    """A template, ready to be rendered.

    Args:
        file: The template; it may include others of its folder.
        filters: Functions that it may apply to values, by name.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(file.parent), autoescape=True,
        undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True,
    )
    environment.filters.update(filters)
    return environment.get_template(file.name)


def svg(width: int, height: int, title: str, parts: Sequence[str]) -> Markup:
    """A whole inline picture, with its accessible name.

    Args:
        width, height: Its own size; the page's style may scale it.
        title: The accessible name.
        parts: SVG elements, escaped.
    """
    return Markup(
        f'<svg viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" '
        f'aria-label="{escape(title)}"><title>{escape(title)}</title>{"".join(parts)}</svg>'
    )


def text(x: float, y: float, value: object, cls: str = "", anchor: str = "start") -> str:
    """A label in a picture.

    Args:
        x, y: Where its line of text stands.
        value: What it says; escaped here.
        cls: CSS class.
        anchor: As in SVG.
    """
    return (f'<text x="{x:.1f}" y="{y:.1f}" class="{cls}" text-anchor="{anchor}">'
            f"{escape(value)}</text>")
