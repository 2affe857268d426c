"""The report as one self-contained HTML page: no script, no outside file, light and dark."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from model_core.evaluation.record import Report
from model_core.evaluation.report.balance import balance_parts
from model_core.evaluation.report.charts import Bar, bar_chart, line_chart
from model_core.evaluation.report.figures import days, figure, sentence, utc, words
from model_core.negatives.queue import NegativeQueue
from model_core.pages import template
from model_core.records import write_atomically
from model_core.split.seeds import Split
from model_core.tables.routes import described
from model_core.watch.page import render_section
from model_core.watch.record import DataWatch

HEADLINE_METRICS = ("map", "recall", "ndcg", "hit_rate", "mrr")
METRIC_TITLES = {"map": "MAP", "recall": "Recall", "ndcg": "NDCG", "hit_rate": "Hit rate",
                 "mrr": "MRR", "precision": "Precision"}


def write_page(
    html: Path, report: Report, split: Split, checkpoint: Any, queue: NegativeQueue | None,
    watch: DataWatch | None = None,
) -> None:
    """Write the page of a report.

    Args:
        html: The file.
        report: Metrics, slices, verdict and facts.
        split: For windows, locality and the leakage certificate.
        checkpoint: For ``curves``, ``meta`` and the configurations it was trained with.
        queue: For its report, or None.
        watch: For its findings, or None.
    """
    write_atomically(html, render_page(report, split, checkpoint, queue, watch).encode())


def render_page(
    report: Report, split: Split, checkpoint: Any, queue: NegativeQueue | None,
    watch: DataWatch | None = None,
) -> str:
    """The page as text. Arguments as in ``write_page``."""
    page = template(Path(__file__).with_name("report.html.j2"),
                    figure=figure, words=words, utc=utc, days=days, sentence=sentence, described=described)
    verdict = report.verdict
    models = _models(report)
    return page.render(
        verdict=verdict, models=models, titles=METRIC_TITLES,
        facts=report.facts, context=report.facts["context"],
        charts=_headline_charts(report, models),
        headline=_table(report, verdict.split, verdict.mask, models,
                        [(metric, verdict.k) for metric in HEADLINE_METRICS]),
        gains=_gain_table(report, models),
        slices=_slice_tables(report, models), balance=balance_parts(report, models),
        curves=_curve_charts(checkpoint.curves, report),
        training=_training_facts(checkpoint), refit=_refit(checkpoint), sections=_sections(checkpoint),
        windows=_windows(split), split=split,
        queue=dict(queue.report) if queue else None, data_watch=render_section(watch) if watch else None,
        num_alarms=len(watch.failures + watch.warnings) if watch else 0,
        tables=_all_tables(report, models),
    )


def _models(report: Report) -> list[str]:
    """All models, best first by the deciding figure, so that every table has one order."""
    verdict = report.verdict
    means = {row["model"]: row["mean"] or 0.0 for row in report.metrics
             if (row["split"], row["mask"], row["metric"], row["k"])
             == (verdict.split, verdict.mask, verdict.metric, verdict.k)}
    return sorted(means, key=lambda model: -means[model])


def _cells(report: Report, split: str, mask: str) -> dict[tuple[str, str, int], Mapping[str, Any]]:
    return {(row["model"], row["metric"], row["k"]): row for row in report.metrics
            if (row["split"], row["mask"]) == (split, mask)}


def _headline_charts(report: Report, models: Sequence[str]) -> list[dict[str, Any]]:
    verdict, charts = report.verdict, []
    headline = (verdict.mask, verdict.metric, verdict.k)
    highest = max((row["ci_high"] or 0.0 for row in report.metrics
                   if (row["mask"], row["metric"], row["k"]) == headline), default=0.0)
    for split in _ordered(report, "split"):
        cells = _cells(report, split, verdict.mask)
        rows = [cells[model, verdict.metric, verdict.k] for model in models]
        bars = [Bar(row["model"], row["mean"], row["ci_low"], row["ci_high"],
                    row["model"] == verdict.model) for row in rows if row["mean"] is not None]
        title = f"{split}: {METRIC_TITLES[verdict.metric]}@{verdict.k}"
        charts.append({"title": title, "num_users": rows[0]["num_users"],
                       "svg": bar_chart(title, bars, highest) if bars else None})
    return charts


def _ordered(report: Report, key: str) -> list[str]:
    return list(dict.fromkeys(row[key] for row in report.metrics))


def _table(
    report: Report, split: str, mask: str, models: Sequence[str], columns: Sequence[tuple[str, int]]
) -> dict[str, Any]:
    cells = _cells(report, split, mask)
    best = {column: max((cells[model, *column]["mean"] or 0.0) for model in models)
            for column in columns}
    return {
        "split": split, "mask": mask, "columns": columns,
        "num_users": next(iter(cells.values()))["num_users"],
        "rows": [(model, [(cells[model, *column], cells[model, *column]["mean"] == best[column])
                          for column in columns]) for model in models],
    }


def _gain_table(report: Report, models: Sequence[str]) -> dict[str, Any]:
    """Model minus each baseline, one column per split; the deciding split first."""
    cells = {(row["baseline"], row["split"]): row for row in report.facts["gains"]}
    splits = sorted({split for _, split in cells}, key=lambda split: split != report.verdict.split)
    names = [name for name in models if (name, splits[0]) in cells]
    return {"splits": splits,
            "rows": [(name, [cells[name, split] for split in splits]) for name in names]}


def _all_tables(report: Report, models: Sequence[str]) -> list[dict[str, Any]]:
    ks = sorted({row["k"] for row in report.metrics})
    tables = []
    for split in _ordered(report, "split"):
        for mask in _ordered(report, "mask"):
            tables.append({"split": split, "mask": mask, "parts": [
                _table(report, split, mask, models, [(metric, k) for metric in METRIC_TITLES])
                for k in ks]})
    return tables


def _slice_tables(report: Report, models: Sequence[str]) -> list[dict[str, Any]]:
    """Per split, the deciding one first: one column per slice, MAP and recall of each model."""
    tables = []
    for split in sorted({row["split"] for row in report.slices},
                        key=lambda split: split != report.verdict.split):
        cells = {(row["slice"], row["model"], row["metric"]): row for row in report.slices
                 if row["split"] == split}
        names = list(dict.fromkeys(name for name, _, _ in cells))
        tables.append({
            "split": split,
            "columns": [(name, cells[name, models[0], "map"]) for name in names],
            "rows": [(model, [(cells[name, model, "map"], cells[name, model, "recall"])
                              for name in names]) for model in models],
        })
    return tables


def _windows(split: Split) -> list[dict[str, Any]]:
    windows = []
    for name in ("train", "val", "test"):
        seeds = getattr(split, name)
        times = np.unique(seeds.time)
        windows.append({
            "split": name, "rows": len(seeds), "users": len(np.unique(seeds.entity)),
            "targets": len(seeds.item), "seed_times": len(times),
            "first": utc(int(times[0])) if len(times) else "–",
            "last": utc(int(times[-1])) if len(times) else "–",
            "labels_until": utc(int(times[-1]) + split.window_s) if len(times) else "–",
            "empty": int((np.diff(seeds.item_ptr) == 0).sum()),
        })
    return windows


def _curve_charts(curves: Any, report: Report) -> list[dict[str, Any]]:
    """Loss and validation MAP over epochs; whatever else was recorded is left out."""
    verdict, charts = report.verdict, []
    for title, names in (("Training loss", ("loss", "train_loss")),
                         (f"Validation MAP@{verdict.k}", ("val_map", "map", "validation_map"))):
        points = _points(curves, names)
        if not points:
            continue
        is_map = names[0] == "val_map"
        best = max(range(len(points)), key=lambda i: points[i][1]) if is_map else None
        charts.append({"title": title, "svg": line_chart(
            title, points, x_label="epoch", best=best,
            reference=_baseline_reference(report) if is_map else None)})
    return charts


def _baseline_reference(report: Report) -> tuple[str, float] | None:
    verdict = report.verdict
    row = _cells(report, "val", verdict.mask).get((verdict.best_baseline, verdict.metric, verdict.k))
    return (verdict.best_baseline, row["mean"]) if row and row["mean"] is not None else None


def _points(curves: Any, names: Sequence[str]) -> list[tuple[float, float]]:
    """(epoch, value) of the first name that was recorded, from rows or from columns."""
    if isinstance(curves, Mapping):
        columns: Mapping[str, Sequence[Any]] = curves
    else:
        rows = list(curves or ())
        columns = {key: [row.get(key) for row in rows] for key in {key for row in rows for key in row}}
    for name in names:
        values = columns.get(name)
        if values is not None and any(value is not None for value in values):
            epochs = columns.get("epoch", range(1, len(values) + 1))
            return [(float(epoch), float(value)) for epoch, value in zip(epochs, values, strict=True)
                    if epoch is not None and value is not None and math.isfinite(value)]
    return []


def _training_facts(checkpoint: Any) -> dict[str, Any]:
    """What the checkpoint says of its training in single values, speed and memory included."""
    fan_out = getattr(checkpoint, "fan_out", None) or ()
    facts: dict[str, Any] = {"fan_out": " / ".join(map(str, fan_out))} if fan_out else {}
    facts |= {key: value for key, value in checkpoint.meta.items()
              if isinstance(value, str | int | float | bool)}
    summaries: tuple[tuple[str, Callable[[Sequence[float]], float]], ...] = (
        ("seeds_per_s", statistics.median), ("peak_mb", max), ("wall_s", sum))
    for name, summarise in summaries:
        values = [value for _, value in _points(checkpoint.curves, (name,))]
        if values and name not in facts:
            facts[name] = summarise(values)
    return facts


def _refit(checkpoint: Any) -> dict[str, Any] | None:
    refit = checkpoint.meta.get("refit")
    return refit and {**refit, "labels_until": utc(refit["labels_until"])}


def _sections(checkpoint: Any) -> dict[str, Any]:
    """The configurations the model was trained with."""
    sections: dict[str, Any] = {name: getattr(checkpoint, name, None)
                                for name in ("model_config", "train_config")}
    return {name: section.model_dump(mode="json") for name, section in sections.items()
            if hasattr(section, "model_dump")}
