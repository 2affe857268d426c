"""From which distribution negatives are drawn, exactly.

At time t an item that is born has probability

    q_t(i) = (1 - u) · pop_t(i)^α / Σ_j pop_t(j)^α  +  u / (number of born items),

with pop_t(i) = Σ 2^(-(t - s) / half-life) over the item's interactions at s ≤ t. An
unborn item has probability 0. The popular part resists the popularity bias of the
positives, the uniform part reaches the tail and keeps every correction log q finite.

Nothing here holds a number per item and bucket: the popular part is a list of the items
that have been interacted with, the uniform part is one number per bucket and the order
in which items are born. ``drawing.py`` draws from that.

Source: word2vec's unigram^0.75 (Mikolov et al. 2013), mixed with uniform as in Yang et
al. 2020 (mixed negative sampling for two-tower retrieval).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

SECONDS_PER_DAY = 86_400.0


def decayed_popularity(
    item: np.ndarray, time: np.ndarray, num_items: int, times: np.ndarray, half_life_days: float
) -> Iterator[np.ndarray]:
    """Decayed interaction counts at each of the given times, in one pass over the events.

    Args:
        item: int64 [m], item of every event; callers number the items that have events.
        time: int64 [m], ascending, UTC seconds.
        num_items: Length of the counts.
        times: int64 [T], ascending, UTC seconds; events at exactly t count for t.
        half_life_days: Age at which an event counts one half.

    Yields:
        float64 [num_items] per time; do not keep it, it is updated in place.
    """
    half_life_s = half_life_days * SECONDS_PER_DAY
    popularity = np.zeros(num_items)
    ends = np.searchsorted(time, times, side="right")
    start, before = 0, None
    for now, end in zip(times.tolist(), ends.tolist(), strict=True):
        if before is not None:
            popularity *= 2.0 ** (-(now - before) / half_life_s)
        age = (now - np.asarray(time[start:end])).astype(np.float64)
        popularity += np.bincount(
            item[start:end], weights=2.0 ** (-age / half_life_s), minlength=num_items)
        start, before = end, now
        yield popularity


def popular_part(popularity: np.ndarray, exponent: float) -> np.ndarray | None:
    """Probabilities of the popular component, pop^α / Σ pop^α.

    Args:
        popularity: float64 [n], ≥ 0, of the born items that have been interacted with.
        exponent: α.

    Returns:
        float64 [n], sums to 1. None where there is no popularity to speak of: no such
        item, or events so old that every count has decayed to 0 (then α means nothing).

    Example:
        >>> import numpy as np
        >>> popular_part(np.array([4.0, 36.0]), 0.5)
        array([0.25, 0.75])
    """
    most = popularity.max(initial=0.0)
    if not most > 0:
        return None
    # Relative to the largest, so that long-decayed counts do not underflow.
    weight = (popularity / most) ** exponent
    return weight / weight.sum()
