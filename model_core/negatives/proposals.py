"""From which distribution negatives are drawn, exactly.

At time t an item that is born has probability

    q_t(i) = (1 - u) · pop_t(i)^α / Σ_j pop_t(j)^α  +  u / (number of born items),

with pop_t(i) = Σ 2^(-(t - s) / half-life) over the item's interactions at s ≤ t. An
unborn item has probability 0. The popular part resists the popularity bias of the
positives, the uniform part reaches the tail and keeps every correction log q finite.

Source: word2vec's unigram^0.75 (Mikolov et al. 2013), mixed with uniform as in Yang et
al. 2020 (mixed negative sampling for two-tower retrieval).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from model_core.graph.temporal_graph import Interactions

SECONDS_PER_DAY = 86_400.0


@dataclass(frozen=True)
class Proposal:
    """One bucket's proposal distribution.

    Attributes:
        probability: float64 [num_items], sums to 1; 0 for unborn items.
        popular: float64 [num_items], the popular component alone; all 0 where no born
            item has been interacted with yet (then the proposal is uniform).
        born: bool [num_items].
        uniform_fraction: Weight of the uniform component.
    """

    probability: np.ndarray
    popular: np.ndarray
    born: np.ndarray
    uniform_fraction: float

    def draw(self, count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Draw items with replacement.

        Args:
            count: How many.
            rng: Source of randomness.

        Returns:
            ``(item, is_popular)``: int64 [count] and bool [count], which component each
            draw came from.
        """
        is_popular = rng.random(count) >= self.uniform_fraction
        born = np.flatnonzero(self.born)
        item = born[rng.integers(0, len(born), count)]
        if is_popular.any():
            item[is_popular] = rng.choice(
                len(self.popular), size=int(is_popular.sum()), p=self.popular)
        return item.astype(np.int64), is_popular


def decayed_popularity(
    interactions: Interactions[np.ndarray], num_items: int, times: np.ndarray, half_life_days: float
) -> Iterator[np.ndarray]:
    """Decayed interaction counts at each of the given times, in one pass over the events.

    Args:
        interactions: Events sorted by time.
        num_items: Size of the catalogue.
        times: int64 [T], ascending, UTC seconds; events at exactly t count for t.
        half_life_days: Age at which an event counts one half.

    Yields:
        float64 [num_items] per time; do not keep it, it is updated in place.
    """
    half_life_s = half_life_days * SECONDS_PER_DAY
    popularity = np.zeros(num_items)
    ends = np.searchsorted(interactions.time, times, side="right")
    start, before = 0, None
    for time, end in zip(times.tolist(), ends.tolist(), strict=True):
        if before is not None:
            popularity *= 2.0 ** (-(time - before) / half_life_s)
        age = (time - np.asarray(interactions.time[start:end])).astype(np.float64)
        popularity += np.bincount(
            interactions.item[start:end], weights=2.0 ** (-age / half_life_s), minlength=num_items)
        start, before = end, time
        yield popularity


def make_proposal(
    popularity: np.ndarray, born: np.ndarray, exponent: float, uniform_fraction: float
) -> Proposal:
    """Mix smoothed popularity with uniform over the born items.

    Args:
        popularity: float [num_items], ≥ 0.
        born: bool [num_items], at least one true.
        exponent: α. An item without interactions has no popular mass, whatever α is.
        uniform_fraction: u.

    Example:
        >>> import numpy as np
        >>> born = np.array([True, True, False])
        >>> make_proposal(np.array([4., 0., 9.]), born, 0.5, 0.2).probability
        array([0.9, 0.1, 0. ])
    """
    assert born.any()
    popular = np.zeros(len(popularity))
    known = born & (popularity > 0)
    if known.any():
        # Relative to the largest, so that long-decayed counts do not underflow.
        popular[known] = (popularity[known] / popularity[known].max()) ** exponent
        popular /= popular.sum()
    else:
        uniform_fraction = 1.0
    uniform = born / born.sum()
    probability = (1 - uniform_fraction) * popular + uniform_fraction * uniform
    return Proposal(probability / probability.sum(), popular, born, uniform_fraction)


def log_probability(probability: np.ndarray) -> np.ndarray:
    """float32 log-probabilities; minus infinity where the probability is 0."""
    with np.errstate(divide="ignore"):
        return np.log(probability).astype(np.float32)
