"""Balance: how much of a list the user knows already, beside how much should be.

People differ in how often they come back to the same items. A model that fills every
list with old acquaintances, or none, can look fine on average and be wrong for most.
Users are therefore divided into segments, by what is known of them at the seed time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np

from model_core.config import EvaluateConfig
from model_core.evaluation.intervals import bootstrap_mean
from model_core.evaluation.masks import SeenMask, masked_truth
from model_core.evaluation.metrics import map_at_k
from model_core.evaluation.predictions import hit_matrix
from model_core.evaluation.scoring import Ranked, interval_rng, json_number
from model_core.graph.temporal_graph import TemporalGraph
from model_core.split.seeds import SeedTable

#: One row of the balance: see ``measure_balance``.
BalanceRow = dict[str, str | int | float | None]

_PURPOSE = 200  # keeps these random draws apart from those of slices and gains
#: Segment name to the least number of distinct items met.
_HISTORY = {"none": 0, "1 to 5": 1, "6 to 20": 6, "21 or more": 21}
#: Segment name to the least share of past events that were repeats; users without past are apart.
_REPEAT_SHARE = {"no past": -1.0, "never": 0.0, "up to 1/4": 1e-9, "1/4 to 1/2": 0.25, "1/2 or more": 0.5}


class Segments(NamedTuple):
    """One way to divide seed rows: ``place`` int64 [n] indexes ``names``."""

    names: tuple[str, ...]
    place: np.ndarray


def segment_rows(seeds: SeedTable, graph: TemporalGraph[np.ndarray]) -> Mapping[str, Segments]:
    """Seed rows by what their users did at or before the seed time.

    ``history``: number of distinct items met.
    ``repeat_share``: share of the user's events that were with an item met before,
    1 - distinct items / events. "1/4 to 1/2" holds 1/4 and not 1/2.
    """
    distinct = np.bincount(SeenMask(graph)(seeds.entity, seeds.time)[0], minlength=len(seeds))
    events = _events_until(seeds, graph)
    share = np.where(events > 0, 1.0 - distinct / np.maximum(events, 1), -1.0)
    return {name: Segments(tuple(bounds), np.searchsorted([*bounds.values()], values, side="right") - 1)
            for name, bounds, values in (("history", _HISTORY, distinct),
                                         ("repeat_share", _REPEAT_SHARE, share))}


def _events_until(seeds: SeedTable, graph: TemporalGraph[np.ndarray]) -> np.ndarray:
    """Number of interactions of each row's user at or before its time, int64 [n]."""
    time, rank = np.unique(graph.interactions.time, return_inverse=True)
    width = len(time) + 1
    key = np.sort(np.asarray(graph.interactions.entity) * width + rank)
    until = np.searchsorted(time, seeds.time, side="right")
    found: np.ndarray = (np.searchsorted(key, seeds.entity * width + until)
                         - np.searchsorted(key, seeds.entity * width))
    return found


def measure_balance(
    ranked: Ranked, graph: TemporalGraph[np.ndarray], k: int, config: EvaluateConfig, seed: int
) -> Iterator[BalanceRow]:
    """Familiar share of lists and targets, and MAP@k, per segment and model.

    Familiar items are those the user had met at or before the seed time. Shares are
    means over users, so that lists and targets compare: a user with many targets counts
    once. Rows without targets are left out, and segments without rows too.

    Args:
        ranked: Lists of all models for one split under one mask.
        graph: Its interactions say who met what and when.
        k: Length of the lists.
        config: Bootstrap settings.
        seed: Seed of the bootstrap.

    Yields:
        {split, mask, segment_by, segment, model, k, num_users, familiar_targets,
        familiar_listed, map, ci_low, ci_high}; shares between 0 and 1.
    """
    truth, num_relevant = ranked.truth, ranked.num_relevant
    target_row = np.repeat(np.arange(len(truth)), num_relevant)
    familiar = masked_truth(truth, SeenMask(graph), graph.num_items)
    familiar_targets = (np.bincount(target_row, weights=familiar, minlength=len(truth))
                        / np.maximum(num_relevant, 1))
    met = _met_by_row(truth, graph)
    listed, average_precision = {}, {}
    for model, items in ranked.items.items():
        items = items[:, :k]
        length = np.maximum((items >= 0).sum(axis=1), 1)
        listed[model] = hit_matrix(items, met, graph.num_items).sum(axis=1) / length
        average_precision[model] = map_at_k(ranked.hits[model][:, :k], num_relevant)
    for way, (segment_by, segments) in enumerate(segment_rows(truth, graph).items()):
        for place, name in enumerate(segments.names):
            rows = np.flatnonzero((segments.place == place) & (num_relevant > 0))
            if not len(rows):
                continue
            interval = bootstrap_mean(
                np.stack([values[rows] for values in average_precision.values()], axis=1),
                interval_rng(seed, ranked.split, ranked.mask, _PURPOSE + 10 * way + place),
                groups=truth.entity[rows], num_bootstrap=config.num_bootstrap,
                confidence=config.confidence,
            )
            for model, mean, low, high in zip(listed, *interval, strict=True):
                yield {
                    "split": ranked.split, "mask": ranked.mask, "segment_by": segment_by,
                    "segment": name, "model": model, "k": k, "num_users": len(rows),
                    "familiar_targets": float(familiar_targets[rows].mean()),
                    "familiar_listed": float(listed[model][rows].mean()),
                    "map": json_number(mean), "ci_low": json_number(low), "ci_high": json_number(high),
                }


def _met_by_row(seeds: SeedTable, graph: TemporalGraph[np.ndarray]) -> SeedTable:
    """The same rows with the items met as their items, unique and ascending."""
    row, item = SeenMask(graph)(seeds.entity, seeds.time)
    order = np.lexsort((item, row))
    item_ptr = np.concatenate([[0], np.cumsum(np.bincount(row, minlength=len(seeds)))]).astype(np.int64)
    return SeedTable(seeds.entity, seeds.time, item_ptr, item[order])
