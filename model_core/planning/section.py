"""Estimate beside measurement, as a section of the report's page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from model_core.pages import template

#: Where the report's page has room for the section: times of later steps are known after it.
PLACE = "<!-- time and memory -->"


def with_time_and_memory(
    page: str, rows: Sequence[Mapping[str, Any]], plan: Mapping[str, Any], epochs_done: int | None
) -> str:
    """The page with a section on time and memory.

    Args:
        page: HTML of the report.
        rows: From ``plan.beside_measured``.
        plan: ``Plan.to_json()``.
        epochs_done: Epochs that training took; None where it is not known.
    """
    section = template(Path(__file__).with_name("section.html.j2")).render(
        rows=rows, plan=plan, epochs_done=epochs_done)
    place = PLACE if PLACE in page else "</main>"
    return page.replace(place, f"{section}\n{place}", 1)
