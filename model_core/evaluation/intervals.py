"""Bootstrap intervals over users.

A mean over some hundred users is a noisy number. The percentile bootstrap (Efron and
Tibshirani, 1993) draws users with replacement. All columns of one call see the same
draws, so a difference of two columns is a paired comparison. Rows of one user are
drawn together: they are not independent.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

_CHUNK_CELLS = 4_000_000


class Interval(NamedTuple):
    """Means with their bounds, float64 [M] each."""

    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray


def _weights(num_groups: int, num_bootstrap: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """How often each group is drawn in each resample: float64 [chunk, num_groups]."""
    chunk = max(1, _CHUNK_CELLS // num_groups)
    for first in range(0, num_bootstrap, chunk):
        size = min(chunk, num_bootstrap - first)
        drawn = rng.integers(num_groups, size=(size, num_groups))
        drawn += np.arange(size)[:, None] * num_groups
        counts = np.bincount(drawn.ravel(), minlength=size * num_groups)
        yield counts.reshape(size, num_groups).astype(np.float64)


def bootstrap_mean(
    values: np.ndarray,
    rng: np.random.Generator,
    *,
    groups: np.ndarray | None = None,
    num_bootstrap: int = 1_000,
    confidence: float = 0.95,
) -> Interval:
    """Column means with percentile intervals.

    Args:
        values: float64 [n, M], one row per seed, one column per figure; finite.
        rng: Source of randomness.
        groups: int64 [n], the user of each row; every row its own user when unset.
        num_bootstrap: Resamples.
        confidence: Covered share, between 0 and 1.

    Returns:
        Mean, low and high, [M] each; NaN where there are no rows.

    Example:
        >>> found = bootstrap_mean(np.full((5, 1), 0.25), np.random.default_rng(0))
        >>> float(found.low[0]), float(found.mean[0]), float(found.high[0])
        (0.25, 0.25, 0.25)
    """
    num_rows, num_columns = values.shape
    if num_rows == 0:
        undefined = np.full(num_columns, np.nan)
        return Interval(undefined, undefined, undefined)
    if groups is None:
        sums, counts = values, np.ones(num_rows)
    else:
        _, group, sizes = np.unique(groups, return_inverse=True, return_counts=True)
        by_group = np.argsort(group, kind="stable")
        sums = np.add.reduceat(values[by_group], np.cumsum(sizes) - sizes, axis=0)
        counts = sizes.astype(np.float64)
    means = np.concatenate([
        (weights @ sums) / (weights @ counts)[:, None]
        for weights in _weights(len(counts), num_bootstrap, rng)
    ])
    tail = (1.0 - confidence) / 2.0
    low, high = np.quantile(means, [tail, 1.0 - tail], axis=0)
    return Interval(values.mean(axis=0), low, high)


def paired_difference(
    first: np.ndarray,
    second: np.ndarray,
    rng: np.random.Generator,
    *,
    groups: np.ndarray | None = None,
    num_bootstrap: int = 1_000,
    confidence: float = 0.95,
) -> Interval:
    """Mean of ``first - second`` over the same users, with its interval.

    Args:
        first: float64 [n], values of one model.
        second: float64 [n] or [n, M], values of one or more others on the same rows.

    Returns:
        One figure per column of ``second``; other arguments as in ``bootstrap_mean``.
    """
    others = second if second.ndim > 1 else second[:, None]
    return bootstrap_mean(first[:, None] - others, rng, groups=groups,
                          num_bootstrap=num_bootstrap, confidence=confidence)
