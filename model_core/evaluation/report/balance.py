"""The page's parts on familiar and new items: tables and charts per user segment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from model_core.evaluation.record import Report
from model_core.evaluation.report.charts import Share, share_chart

SEGMENT_TITLES = {
    "history": "By distinct items the user had met",
    "repeat_share": "By the share of the user's past events that were repeats",
}


def balance_parts(report: Report, models: Sequence[str]) -> list[dict[str, Any]]:
    """One part per split, the deciding one first: a table and a chart per way to divide the users.

    Args:
        report: Its facts hold the balance rows.
        models: In the order of the page.
    """
    rows = report.facts["balance"]
    return [
        {"split": split, "segmentations": [
            _segmentation(report, [row for row in rows
                                   if (row["split"], row["segment_by"]) == (split, way)], way, models)
            for way in SEGMENT_TITLES]}
        for split in sorted({row["split"] for row in rows}, key=lambda split: split != report.verdict.split)
    ]


def _segmentation(
    report: Report, rows: Sequence[Mapping[str, Any]], way: str, models: Sequence[str]
) -> dict[str, Any]:
    cells = {(row["segment"], row["model"]): row for row in rows}
    segments = list(dict.fromkeys(row["segment"] for row in rows))
    model, rival = report.verdict.model, report.verdict.best_baseline
    title = SEGMENT_TITLES[way]
    chart = share_chart(
        f"{title}: familiar share",
        [(f"{segment} ({cells[segment, model]['num_users']:,})", [
            Share(cells[segment, model]["familiar_targets"], "truth"),
            Share(cells[segment, model]["familiar_listed"], "accent"),
            Share(cells[segment, rival]["familiar_listed"], "plain"),
        ]) for segment in segments],
        {"truth": "targets", "accent": model, "plain": rival},
    )
    return {
        "title": title, "chart": chart, "rival": rival,
        "rows": [{"segment": segment, "first": cells[segment, model],
                  "listed": [cells[segment, name]["familiar_listed"] for name in models],
                  "figures": [cells[segment, name] for name in (model, rival)]}
                 for segment in segments],
    }
