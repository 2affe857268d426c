"""The data watch as a page of its own, and as a section of the report."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from markupsafe import Markup

from model_core.pages import template
from model_core.watch.charts import drift_chart
from model_core.watch.columns import drift_between
from model_core.watch.findings import Finding
from model_core.watch.levels import percent, plain, utc
from model_core.watch.record import DataWatch
from model_core.watch.statistics import DataStatistics, TableStatistics


def render_section(watch: DataWatch) -> Markup:
    """Findings as a section for another page: failures and warnings, then what passed."""
    return Markup(_render("section.html.j2", _parts(watch)))


def render_page(watch: DataWatch) -> str:
    """One self-contained page: the section, and the statistics of every table."""
    present, reference = watch.statistics, watch.reference_statistics
    tables = [_table(name, table, reference) for name, table in present.tables.items()]
    return _render("page.html.j2", _parts(watch) | {
        "present": present, "tables": tables, "section": render_section(watch)})


def _render(file: str, values: Mapping[str, Any]) -> str:
    page = template(Path(__file__).with_name(file), percent=percent, plain=plain, utc=utc,
                    words=lambda name: name.replace("_", " "))
    return page.render(values)


def _parts(watch: DataWatch) -> dict[str, Any]:
    present, reference = watch.statistics, watch.reference_statistics
    return {
        "reference": watch.reference, "reference_moment": reference and reference.moment,
        "num": {level: sum(finding.level == level for finding in watch.findings)
                for level in ("fail", "warn", "ok")},
        "alarms": [(finding, _chart(finding, present, reference))
                   for finding in (*watch.failures, *watch.warnings)],
        "passed": [finding for finding in watch.findings if finding.level == "ok"],
        "on_failure": watch.on_failure,
    }


def _chart(finding: Finding, present: DataStatistics, reference: DataStatistics | None) -> Markup:
    if reference is None or not finding.rule.endswith("_drift"):
        return Markup()
    now, before = (side.tables[finding.table].columns[finding.column] for side in (present, reference))
    return drift_chart(now, before)


def _table(name: str, table: TableStatistics, reference: DataStatistics | None) -> dict[str, Any]:
    before = reference.tables.get(name) if reference else None
    columns = []
    for column, values in table.columns.items():
        earlier = before.columns.get(column) if before else None
        compared = (earlier is not None and earlier.known and values.known
                    and earlier.measure == values.measure != "none")
        columns.append({
            "name": column, "now": values, "before": earlier,
            "drift": drift_between(earlier, values)[0] if compared and earlier else None})
    return {"name": name, "now": table, "before": before, "columns": columns}
