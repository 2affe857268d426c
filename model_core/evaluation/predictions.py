"""Predictions against truth: who was listed what, and which of it was right."""

from __future__ import annotations

import numpy as np

from model_core.errors import EvaluationError
from model_core.split.seeds import SeedTable


def hit_matrix(items: np.ndarray, truth: SeedTable, num_items: int) -> np.ndarray:
    """Which listed items are targets.

    Args:
        items: int64 [n, k], lists for the rows of ``truth``, padded with -1.
        truth: Label rows; their items are unique and ascending.
        num_items: Size of the catalogue.

    Returns:
        bool [n, k].
    """
    target_row = np.repeat(np.arange(len(truth)), np.diff(truth.item_ptr))
    target = target_row * num_items + truth.item
    assert np.all(np.diff(target) > 0), "targets must be unique and ascending within a row"
    if not len(target):
        return np.zeros(items.shape, dtype=bool)
    listed = np.arange(len(items))[:, None] * num_items + items
    position = np.minimum(np.searchsorted(target, listed), len(target) - 1)
    return (target[position] == listed) & (items >= 0)


def align(
    entity: np.ndarray, time: np.ndarray, items: np.ndarray, seeds: SeedTable
) -> np.ndarray:
    """Put predictions into the order of the seed rows, joined by (entity, time).

    Args:
        entity, time: int64 [m], whom each list is for, and when; any order, more than
            needed is fine.
        items: int64 [m, k], the lists, padded with -1.
        seeds: The rows to predict for.

    Returns:
        int64 [n, k].

    Raises:
        EvaluationError: A seed row without prediction, two for one row, or a list that
            names an item twice (it would be rewarded twice).
    """
    order = np.lexsort((entity, time))
    entity, time, items = entity[order], time[order], items[order]
    repeated = (np.diff(entity) == 0) & (np.diff(time) == 0)
    if repeated.any():
        row = int(np.flatnonzero(repeated)[0])
        raise EvaluationError("predictions", "one list per (entity, time)",
                              f"two for entity {entity[row]} at time {time[row]}", "drop one of them")
    ascending = np.sort(items, axis=1)
    twice = (np.diff(ascending, axis=1) == 0) & (ascending[:, 1:] >= 0)
    if twice.any():
        row = int(np.flatnonzero(twice.any(axis=1))[0])
        raise EvaluationError("predictions", "lists that name an item once",
                              f"an item twice for entity {entity[row]} at time {time[row]}",
                              "remove duplicates and pad with -1")
    times = np.unique(np.concatenate([time, seeds.time]))
    width = max(int(entity.max(initial=0)), int(seeds.entity.max(initial=0))) + 1
    key = np.searchsorted(times, time) * width + entity
    wanted = np.searchsorted(times, seeds.time) * width + seeds.entity
    position = np.minimum(np.searchsorted(key, wanted), max(len(key) - 1, 0))
    missing = key[position] != wanted if len(key) else np.ones(len(wanted), dtype=bool)
    if missing.any():
        row = int(np.flatnonzero(missing)[0])
        raise EvaluationError(
            "predictions", f"a list for each of the {len(seeds)} seed rows",
            f"none for entity {seeds.entity[row]} at time {seeds.time[row]} "
            f"({int(missing.sum())} rows missing)", "predict for every seed row",
        )
    return items[position]
