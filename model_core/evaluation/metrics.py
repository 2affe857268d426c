"""Ranking metrics, one value per user.

Every metric takes the same two arrays and returns one float64 per row, so that means,
intervals and slices are all made from the same numbers. K is the number of columns of
``hits``; a list shorter than K is padded with misses. A row without relevant items has
no defined value: it is NaN, and callers leave it out of the mean and count it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

Metric = Callable[[np.ndarray, np.ndarray], np.ndarray]


def _defined(values: ArrayLike, num_relevant: np.ndarray) -> np.ndarray:
    return np.where(num_relevant > 0, values, np.nan)


def _at_least_one(num_relevant: np.ndarray) -> np.ndarray:
    return np.maximum(num_relevant, 1)


def recall_at_k(hits: np.ndarray, num_relevant: np.ndarray) -> np.ndarray:
    """Share of the relevant items that are in the list.

    Divides by all relevant items, not by min(|relevant|, K), as the published
    collaborative-filtering tables do.

    Args:
        hits: bool [B, K], whether the item at each rank is relevant.
        num_relevant: int64 [B], relevant items of each row.

    Returns:
        float64 [B]; NaN where nothing is relevant.

    Example:
        >>> recall_at_k(np.array([[True, False, True]]), np.array([4]))
        array([0.5])
    """
    return _defined(hits.sum(axis=1) / _at_least_one(num_relevant), num_relevant)


def precision_at_k(hits: np.ndarray, num_relevant: np.ndarray) -> np.ndarray:
    """Share of the K places that hold a relevant item. Arguments as in ``recall_at_k``."""
    return _defined(hits.sum(axis=1) / hits.shape[1], num_relevant)


def hit_rate_at_k(hits: np.ndarray, num_relevant: np.ndarray) -> np.ndarray:
    """1 where the list holds a relevant item, else 0. Arguments as in ``recall_at_k``."""
    return _defined(hits.any(axis=1).astype(np.float64), num_relevant)


def mrr_at_k(hits: np.ndarray, num_relevant: np.ndarray) -> np.ndarray:
    """1 / rank of the first relevant item, 0 where there is none. Arguments as in ``recall_at_k``."""
    first = hits.argmax(axis=1)
    return _defined(np.where(hits.any(axis=1), 1.0 / (first + 1), 0.0), num_relevant)


def map_at_k(hits: np.ndarray, num_relevant: np.ndarray) -> np.ndarray:
    """Average precision: mean over the first min(|relevant|, K) places of precision at hits.

    The mean over rows equals ``relbench.metrics.map`` (RelBench, arXiv 2407.20060), which
    leaves rows without relevant items out as well. Arguments as in ``recall_at_k``.

    Example:
        >>> map_at_k(np.array([[True, False, True]]), np.array([2])).round(4)
        array([0.8333])
    """
    k = hits.shape[1]
    precision = np.cumsum(hits, axis=1) / np.arange(1, k + 1)
    total = (precision * hits).sum(axis=1)
    return _defined(total / np.minimum(_at_least_one(num_relevant), k), num_relevant)


def ndcg_at_k(hits: np.ndarray, num_relevant: np.ndarray) -> np.ndarray:
    """Discounted cumulative gain over that of the best possible list, binary relevance.

    Gain 1 / log2(rank + 1); the ideal list holds min(|relevant|, K) items (Järvelin and
    Kekäläinen, 2002). Arguments as in ``recall_at_k``.
    """
    k = hits.shape[1]
    discount = 1.0 / np.log2(np.arange(2, k + 2))
    ideal = np.cumsum(discount)[np.minimum(_at_least_one(num_relevant), k) - 1]
    return _defined((hits * discount).sum(axis=1) / ideal, num_relevant)


METRICS: dict[str, Metric] = {
    "map": map_at_k,
    "recall": recall_at_k,
    "ndcg": ndcg_at_k,
    "hit_rate": hit_rate_at_k,
    "mrr": mrr_at_k,
    "precision": precision_at_k,
}


def metric_table(
    hits: np.ndarray,
    num_relevant: np.ndarray,
    ks: Sequence[int],
    metrics: Mapping[str, Metric] = METRICS,
) -> dict[tuple[str, int], np.ndarray]:
    """Every metric at every cut-off.

    Args:
        hits: bool [B, max(ks)].
        num_relevant: int64 [B].
        ks: Cut-offs, each at most ``hits.shape[1]``.

    Returns:
        (metric, k) to float64 [B].
    """
    return {
        (name, k): metric(hits[:, :k], num_relevant) for name, metric in metrics.items() for k in ks
    }
