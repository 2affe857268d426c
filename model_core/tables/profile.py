"""Profile: what the tables hold, as JSON for programs and one HTML page for people."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from model_core.tables.cutting import text, time_range
from model_core.tables.snapshot import to_seconds

if TYPE_CHECKING:
    from model_core.tables.reading import CheckedTable
    from model_core.tables.validate import Checked

NUM_TIME_BINS = 60
NUM_TOP_VALUES = 3
MAX_TEXT = 60


def build_profile(checked: Checked) -> dict[str, Any]:
    """Facts of a checked dataset: tables, columns, missing values, times, labels, findings.

    The same dataset gives the same profile; no clock time goes in. Hidden columns are
    named, not described.
    """
    task = checked.task
    return {
        "dataset": checked.source.name,
        "description": checked.source.description,
        "min_time": checked.min_time, "max_time": checked.max_time,
        "val_time": checked.val_time, "test_time": checked.test_time, "as_of": checked.as_of,
        "task": task and {
            "name": task.name, "entity_table": task.entity_table, "item_table": task.item_table,
            "window_s": task.window_s, "eval_k": task.eval_k, "has_sql": task.sql is not None,
            "remove_columns": [list(pair) for pair in task.remove_columns],
        },
        "labels": {split: {"rows": rows.num_rows, "items": len(pc.list_flatten(rows.column("items")))}
                   for split, rows in (checked.labels or {}).items()},
        "tables": [_table(table, checked.min_time, checked.max_time) for table in checked.tables.values()],
        "counts": checked.findings.counts,
        "warnings": checked.findings.warnings,
    }


def render_profile(profile: dict[str, Any]) -> str:
    """The profile as one self-contained HTML page."""
    from model_core.pages import template

    page = template(Path(__file__).with_name("profile.html.j2"),
                    time=text, day=lambda seconds: text(seconds)[:10], plain=_plain)
    return page.render(profile)


def _table(table: CheckedTable, min_time: int, max_time: int) -> dict[str, Any]:
    schema = table.schema
    entry: dict[str, Any] = {
        "name": schema.name, "rows": schema.num_rows, "pkey": schema.pkey, "time_col": schema.time_col,
        "hidden": sorted(table.hidden),
        "columns": [_column(name, kind, schema.fkeys.get(name), table.rows.column(name))
                    for name, kind in schema.columns.items()],
    }
    if schema.time_col is not None and schema.num_rows:
        first, last = time_range({schema.name: table})
        seconds = to_seconds(table.rows.column(schema.time_col))
        bins, _ = np.histogram(seconds, bins=NUM_TIME_BINS, range=(min_time, max_time + 1))
        entry |= {"first_time": first, "last_time": last, "rows_over_time": bins.tolist()}
    return entry


def _column(name: str, kind: str, target: str | None, values: pa.ChunkedArray) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "name": name, "kind": kind,
        "missing_fraction": round(values.null_count / max(len(values), 1), 6),
    }
    if target is not None:
        entry["target"] = target
    known = values.drop_null()
    if not len(known) or kind == "pkey":
        return entry
    if kind == "number":
        bounds = pc.min_max(known)
        entry |= {"min": bounds["min"].as_py(), "max": bounds["max"].as_py(), "mean": _mean(known.to_numpy())}
        return entry
    if kind in ("time", "datetime"):
        bounds = pc.min_max(known)
        entry |= {key: str(bounds[key].as_py()) for key in ("min", "max")}
        return entry
    counts = pc.value_counts(known)
    entry["distinct"] = len(counts)
    if kind != "fkey":
        table = pa.table({"value": counts.field("values"), "count": counts.field("counts")})
        top = table.sort_by([("count", "descending"), ("value", "ascending")]).slice(0, NUM_TOP_VALUES)
        entry["top"] = [[_short(row["value"]), row["count"]] for row in top.to_pylist()]
    return entry


def _mean(values: np.ndarray) -> float:
    """Mean of finite numbers, whose sum need not be finite."""
    with np.errstate(over="ignore"):
        mean = float(np.mean(values, dtype=np.float64))
    if not np.isfinite(mean):
        mean = float(np.sum(values / len(values), dtype=np.float64))
    return mean


def _short(value: Any) -> str:
    words = str(value)
    return words if len(words) <= MAX_TEXT else words[: MAX_TEXT - 1] + "…"


def _plain(number: float) -> str:
    if isinstance(number, int):
        return f"{number:,}"
    return f"{number:,.4g}" if abs(number) < 1e6 else f"{number:.4g}"
