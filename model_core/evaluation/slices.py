"""Slices: where the hits come from.

A mean hides whether a model only lists what users already had. Targets are divided
into repeats and discoveries, and into items with and without history; users into those
with and without history. History is what the interactions say at the seed time.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from model_core.config import EvaluateConfig
from model_core.evaluation.intervals import bootstrap_mean
from model_core.evaluation.masks import SeenMask, keep_targets, masked_truth
from model_core.evaluation.metrics import METRICS, metric_table
from model_core.evaluation.predictions import hit_matrix
from model_core.evaluation.scoring import MetricRow, Ranked, interval_rng, json_number
from model_core.graph.temporal_graph import TemporalGraph
from model_core.split.seeds import SeedTable

_METRICS = {name: METRICS[name] for name in ("map", "recall")}


def slice_targets(seeds: SeedTable, graph: TemporalGraph[np.ndarray]) -> dict[str, np.ndarray]:
    """Slice name to bool [nnz]: which targets belong to it.

    ``repeat_targets`` / ``new_targets``: the user had met the item, or not.
    ``warm_items`` / ``cold_items``: anybody had met the item, or not.
    ``warm_users`` / ``cold_users``: the user had met anything, or not (all targets of the row).
    """
    events = graph.interactions
    repeat = masked_truth(seeds, SeenMask(graph), graph.num_items)
    first_met = _first_time(events.item, events.time, graph.num_items)
    row = np.repeat(np.arange(len(seeds)), np.diff(seeds.item_ptr))
    warm_item = first_met[seeds.item] <= seeds.time[row]
    warm_user = ~cold_rows(seeds, graph)[row]
    return {
        "repeat_targets": repeat, "new_targets": ~repeat,
        "warm_items": warm_item, "cold_items": ~warm_item,
        "warm_users": warm_user, "cold_users": ~warm_user,
    }


def cold_rows(seeds: SeedTable, graph: TemporalGraph[np.ndarray]) -> np.ndarray:
    """Which rows are of users who had met nothing at the seed time, bool [n]."""
    events = graph.interactions
    return _first_time(events.entity, events.time, graph.num_entities)[seeds.entity] > seeds.time


def _first_time(of: np.ndarray, time: np.ndarray, size: int) -> np.ndarray:
    """Time of the first event of each row, int64 [size]; int64 max where there is none."""
    first = np.full(size, np.iinfo(np.int64).max)
    np.minimum.at(first, np.asarray(of), np.asarray(time))
    return first


def measure_slices(
    ranked: Ranked, graph: TemporalGraph[np.ndarray], k: int, config: EvaluateConfig, seed: int
) -> Iterator[MetricRow]:
    """MAP and recall at k with only a slice's targets counted, over rows that have one.

    The lists are those of the whole catalogue: a hit outside the slice takes up a place.

    Yields:
        Metric rows with ``slice`` and ``num_targets`` added.
    """
    for number, (name, targets) in enumerate(slice_targets(ranked.truth, graph).items()):
        truth = keep_targets(ranked.truth, targets)
        num_relevant = np.diff(truth.item_ptr)
        used = num_relevant > 0
        names, columns = [], []
        for model, items in ranked.items.items():
            hits = hit_matrix(items[:, :k], truth, graph.num_items)
            for (metric, _), values in metric_table(hits, num_relevant, (k,), _METRICS).items():
                names.append((model, metric))
                columns.append(values[used])
        interval = bootstrap_mean(
            np.stack(columns, axis=1), interval_rng(seed, ranked.split, ranked.mask, 1 + number),
            groups=truth.entity[used], num_bootstrap=config.num_bootstrap,
            confidence=config.confidence,
        )
        for (model, metric), mean, low, high in zip(names, *interval, strict=True):
            yield {
                "split": ranked.split, "mask": ranked.mask, "slice": name, "model": model,
                "metric": metric, "k": k, "mean": json_number(mean),
                "ci_low": json_number(low), "ci_high": json_number(high),
                "num_users": int(used.sum()), "num_targets": int(targets.sum()),
            }
