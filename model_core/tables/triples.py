"""Sets of (entity, item, time): distinct, in one order, and looked up in each other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

#: (entity, item or row, time), int64 [m] each.
Triples = tuple[np.ndarray, np.ndarray, np.ndarray]


def union(parts: Sequence[Triples]) -> Triples:
    """Distinct triples of all parts, sorted by (time, entity, item)."""
    entity, item, time = (np.concatenate(column) for column in zip(*parts, strict=True))
    return distinct_triples((entity, item, time))


def distinct_triples(triples: Triples) -> Triples:
    """Distinct triples, sorted by (time, entity, item)."""
    entity, item, time = triples
    if not len(entity):
        return triples
    num_items = int(item.max()) + 1
    num_pairs = (int(entity.max()) + 1) * num_items
    first = int(time.min())
    if (int(time.max()) - first + 1) * num_pairs < 2**63:  # sorting one key is several times faster
        key = distinct((time - first) * num_pairs + entity * num_items + item)
        moment, pair = np.divmod(key, num_pairs)
        entity, item = np.divmod(pair, num_items)
        return entity, item, moment + first
    order = np.lexsort((item, entity, time))
    entity, item, time = entity[order], item[order], time[order]
    new = np.ones(len(time), dtype=bool)
    new[1:] = (np.diff(entity) != 0) | (np.diff(item) != 0) | (time[1:] != time[:-1])
    return entity[new], item[new], time[new]


class TripleFinder:
    """Says where triples lie among others.

    Args:
        among: Distinct and sorted by (time, entity, item), no number of entity or item negative.
    """

    def __init__(self, among: Triples) -> None:
        entity, item, time = among
        self._num_items = int(item.max(initial=0)) + 1
        pair = entity * self._num_items + item
        # Numbered among the distinct ones, so that any times fit into a key.
        self._moments, self._pairs = distinct(time), distinct(pair)
        self._keys = (np.searchsorted(self._moments, time) * len(self._pairs)
                      + np.searchsorted(self._pairs, pair))

    def __call__(self, triples: Triples) -> np.ndarray:
        """Places of any triples among them, int64 [n]; -1 where one is not there."""
        entity, item, time = triples
        if not len(self._keys):
            return np.full(len(time), -1)
        moment, known = _find(self._moments, time)
        pair, met = _find(self._pairs, entity * self._num_items + item)
        place, there = _find(self._keys, moment * len(self._pairs) + pair)
        return np.where(known & met & there & (item < self._num_items), place, -1)


def distinct(values: np.ndarray) -> np.ndarray:
    """Distinct integers, ascending. numpy's unique hashes first, which is slower here."""
    values = np.sort(values)
    return values[np.diff(values, prepend=values[:1] - 1) != 0]


def _find(among: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Places of values among ascending ones, and whether they are there."""
    place = np.minimum(np.searchsorted(among, wanted), len(among) - 1)
    return place, among[place] == wanted
