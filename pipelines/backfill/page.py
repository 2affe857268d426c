"""Results of a backfill as files: a self-contained page with a plot, and a table for programs."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from model_core.evaluation.report.time_chart import Series, time_chart
from model_core.logical_date import parse_as_of
from model_core.pages import template
from model_core.records import write_atomically
from model_core.version import __version__

PAGE_FILE, TABLE_FILE = "backfill.html", "backfill.csv"

COLUMNS = ("date", "status", "version", "promoted", "metric", "k", "num_users", "model", "model_mean",
           "model_ci_low", "model_ci_high", "compared_champion", "compared_champion_mean", "baseline",
           "baseline_mean", "seconds", "train_s", "epochs", "error")


def write_results(root: Path, facts: Mapping[str, Any], entries: Sequence[Mapping[str, Any]]) -> None:
    """Write ``backfill.csv`` and ``backfill.html``.

    Args:
        root: Where to.
        facts: Of the backfill, as in its state.
        entries: As from ``BackfillState.of``.
    """
    rows = [row_of(entry) for entry in entries]
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_atomically(root / TABLE_FILE, text.getvalue().encode())
    write_atomically(root / PAGE_FILE, render_page(facts, rows).encode())


def row_of(entry: Mapping[str, Any]) -> dict[str, Any]:
    """An entry as one flat row with the keys of ``COLUMNS``; None where nothing is known."""
    result = entry.get("result") or {}
    row = {key: result.get(key) for key in ("version", "promoted", "metric", "k", "num_users", "train_s",
                                            "epochs")}
    row |= {key: entry.get(key) for key in ("date", "status", "seconds", "error")}
    for name in ("model", "compared_champion", "baseline"):
        figure = result.get(name) or {}
        row |= {name: figure.get("name"), f"{name}_mean": figure.get("mean")}
    figure = result.get("model") or {}
    row |= {"model_ci_low": figure.get("ci_low"), "model_ci_high": figure.get("ci_high")}
    return {key: row[key] for key in COLUMNS}


def render_page(facts: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> str:
    """The page as text: equal figures give an equal page."""
    page = template(Path(__file__).with_name("page.html.j2"), day=_day,
                    figure=lambda value: "–" if value is None else f"{value:.4f}",
                    seconds=lambda value: "–" if value is None else f"{value:,.0f}")
    done = [row for row in rows if row["status"] == "done"]
    metric = f"{done[0]['metric'].upper()}@{done[0]['k']}" if done else "MAP"
    return page.render(
        facts=facts, rows=rows, done=done, metric=metric, relrec=__version__,
        chart=_chart(metric, rows) if done else None)


def _chart(metric: str, rows: Sequence[Mapping[str, Any]]) -> str:
    def column(key: str) -> list[float | None]:
        return [row[key] for row in rows]

    def names(key: str) -> str:
        found = list(dict.fromkeys(row[key] for row in rows if row[key]))
        return found[0] if len(found) == 1 else ""

    series = [Series(names("model") or "model", "accent", column("model_mean"), column("model_ci_low"),
                     column("model_ci_high"))]
    if any(value is not None for value in column("compared_champion_mean")):
        series.append(Series("champion before", "truth", column("compared_champion_mean")))
    series.append(Series(names("baseline") or "best simple baseline", "plain", column("baseline_mean")))
    return time_chart(f"{metric} of each logical date", [parse_as_of(row["date"]) or 0 for row in rows],
                      series, [bool(row["promoted"]) for row in rows], "promoted")


def _day(text: str) -> str:
    """A date of the state for people."""
    return text.removesuffix("T00:00:00Z").replace("T", " ").removesuffix("Z")
