"""Votes of what seeds met for other items: those near it, or those that follow it, as known at the time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from model_core.priors.neighbors import NeighborSource
from model_core.priors.past import Past

#: Half-lives of the user's history, in label windows; the first counts all alike.
KNN_HALF_LIVES = (np.inf, 8.0, 1.0)
KNN_FEATURES, FOLLOW_FEATURES = (
    (*(f"{kind}_score_half_life_{h:g}" for h in KNN_HALF_LIVES),
     *(f"{kind}_relative_half_life_{h:g}" for h in KNN_HALF_LIVES), f"{kind}_score_per_item")
    for kind in ("knn", "follow"))
#: Newest distinct items of a seed that vote.
MAX_KNN_ITEMS = 256
#: Cells of the dense score matrix of one block of seeds, and the largest catalogue for
#: which counting into all of them is no slower than sorting.
MAX_DENSE_CELLS, MAX_DENSE_ITEMS = 4_000_000, 4_000
#: Least score of a candidate, and groups of columns per candidate that are looked at first.
_LEAST, _GROUPS = np.float32(1e-9), 4


@dataclass(frozen=True)
class KnnScores:
    """Votes for the pairs that have any: key int64 [N] ascending, score float32 [N, H]."""

    key: np.ndarray
    score: np.ndarray

    @classmethod
    def none(cls, width: int) -> KnnScores:
        return cls(np.zeros(0, np.int64), np.zeros((0, width), np.float32))

    def features(
        self, key: np.ndarray, seed: np.ndarray, num_distinct: np.ndarray, num_items: int
    ) -> np.ndarray:
        """float32 [M, len(KNN_FEATURES)] of pairs with the given keys and seeds."""
        found = np.zeros((len(key), self.score.shape[1]), dtype=np.float32)
        largest = np.full((len(num_distinct), self.score.shape[1]), 1e-9, dtype=np.float32)
        if len(self.key):
            place = np.minimum(np.searchsorted(self.key, key), len(self.key) - 1)
            found[:] = np.where((self.key[place] == key)[:, None], self.score[place], 0)
            owner = self.key // num_items
            first = np.flatnonzero(np.diff(owner, prepend=-1))
            # Votes that are hundreds of windows old decay to nothing: no ratio of nothings.
            largest[owner[first]] = np.maximum(
                np.maximum.reduceat(self.score, first, axis=0), np.float32(1e-9))
        per_item = found[:, :1] / np.maximum(num_distinct[seed], 1)[:, None]
        return np.concatenate([np.sqrt(found), found / largest[seed], per_item], axis=1)


def knn_scores(
    past: Past, time: np.ndarray, neighbors: NeighborSource, num_items: int, num_similar: int
) -> tuple[np.ndarray, KnnScores]:
    """Item-kNN over the history of every seed; with what follows items as neighbours, likewise.

    Args:
        past: Of B seeds.
        time: int64 [B], seed times.
        neighbors: Item-item similarity at given times.
        num_items: Size of the catalogue.
        num_similar: Candidates by the undecayed score; half as many by the first decayed one.

    Returns:
        ``(key, scores)``: int64 [n] keys ``seed * num_items + item`` of the candidates, and the
        scores of all pairs that have one.
    """
    snapshots = neighbors(np.unique(time))
    newest = past.newest(MAX_KNN_ITEMS)
    row = snapshots.rows_of(time[past.pair_seed[newest]], past.pair_item[newest])
    source = newest[row >= 0]
    row, seed, age = row[row >= 0], past.pair_seed[source], past.age_last[source]
    weights = [np.exp2(-age / h).astype(np.float32) for h in KNN_HALF_LIVES[1:]]
    dense = num_items <= min(MAX_DENSE_ITEMS, MAX_DENSE_CELLS // 8)
    width = MAX_DENSE_CELLS // num_items if dense else 64
    keys, scores, chosen = [], [], []
    for begin in range(0, len(time), width):
        block = slice(*np.searchsorted(seed, [begin, begin + width]))
        number, neighbor, cosine = snapshots.of_rows(row[block])
        key = np.repeat((seed[block] - begin) * num_items, number) + neighbor
        parts = [cosine, *(cosine * np.repeat(w[block], number) for w in weights)]
        sums = _sum_dense if dense else _sum_sparse
        key, score, best = sums(key, parts, min(width, len(time) - begin), num_items,
                                (num_similar, num_similar // 2))
        keys.append(key + begin * num_items)
        chosen.append(best + begin * num_items)
        scores.append(score)
    if not keys:
        return np.zeros(0, np.int64), KnnScores.none(len(KNN_HALF_LIVES))
    found = KnnScores(np.concatenate(keys), np.concatenate(scores))
    return np.concatenate(chosen), found


def _sum_dense(
    key: np.ndarray, parts: list[np.ndarray], num_rows: int, num_items: int, counts: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sums of each part per distinct key, and the keys of the best of every row.

    The best by parts 0 and 1, ``counts`` of each; all that tie with the last are in.
    This way counts into every cell of a matrix, which is fast while there are few.

    Returns:
        ``(key, score, best)``: int64 [N] ascending, float32 [N, parts], int64 [n].
    """
    cells = num_rows * num_items
    totals = [np.bincount(key, weights=part, minlength=cells).astype(np.float32) for part in parts]
    chosen = np.zeros(cells, dtype=bool)
    for total, count in zip(totals, counts, strict=False):
        if count == 0:
            continue
        matrix = total.reshape(num_rows, num_items)
        chosen |= (matrix >= np.maximum(nth_largest(matrix, count), _LEAST)[:, None]).reshape(-1)
    used = np.flatnonzero(totals[0] > 0)
    return used, np.stack([total[used] for total in totals], axis=1), np.flatnonzero(chosen)


def nth_largest(matrix: np.ndarray, count: int) -> np.ndarray:
    """The ``count``-th largest value of each row, float32 [n].

    Where fewer are ≥ 1e-9, something no larger than any of these.

    Most cells are far below it, and equal: a partition of whole rows takes most of the time of
    counting. The ``count``-th largest of the maxima of some groups of columns is no larger than
    what is looked for, and few cells reach it.

    Args:
        matrix: float32 [n, columns], not negative.
        count: At least 1.
    """
    num_rows, width = matrix.shape
    groups = _GROUPS * count
    size = width // groups
    if size < 2 or num_rows == 0:
        return _nth(matrix, count)
    tops = matrix[:, : groups * size].reshape(num_rows, size, groups).max(axis=1)
    at = np.flatnonzero(matrix >= np.maximum(_nth(tops, count), _LEAST)[:, None])
    row = at // width
    number = np.bincount(row, minlength=num_rows)
    first = np.cumsum(number) - number
    high = np.zeros((num_rows, max(number.max(), count)), dtype=np.float32)
    high[row, np.arange(len(at)) - first[row]] = matrix.reshape(-1)[at]
    return _nth(high, count)


def _nth(matrix: np.ndarray, count: int) -> np.ndarray:
    """The same by a partition; the least value where there are fewer columns."""
    place = max(matrix.shape[1] - count, 0)
    return np.partition(matrix, place, axis=1)[:, place]


def _sum_sparse(
    key: np.ndarray, parts: list[np.ndarray], num_rows: int, num_items: int, counts: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The same by sorting, for large catalogues."""
    distinct, inverse = np.unique(key, return_inverse=True)
    score = np.stack([np.bincount(inverse, weights=part, minlength=len(distinct))
                      for part in parts], axis=1).astype(np.float32)
    row, best = distinct // num_items, []
    for column, count in enumerate(counts):
        if count == 0:
            continue
        order = np.lexsort((-score[:, column], row))
        ranked = score[order, column]
        start = np.searchsorted(row, row)
        last = np.minimum(start + count - 1, np.searchsorted(row, row, side="right") - 1)
        best.append(distinct[order[(ranked >= ranked[last]) & (ranked >= _LEAST)]])
    return distinct, score, np.unique(np.concatenate([np.zeros(0, np.int64), *best]))
