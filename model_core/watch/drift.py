"""How far two distributions lie apart, and how far chance alone would put them.

Both measures lie between 0 and 1 and have a plain reading: a share p of rows that moves to
values never seen before measures p.

- Categories: Jensen-Shannon divergence to base 2 (Lin, "Divergence measures based on the
  Shannon entropy", IEEE Transactions on Information Theory 37, 1991). Unlike the population
  stability index it needs no smoothing of empty cells.
- Numbers: Kolmogorov-Smirnov distance, the largest difference of the two distribution
  functions, from sketches of NUM_STEPS quantiles. A sketch is off by less than 1/NUM_STEPS.

What chance does depends on the *spread* of two samples (``spread``). It comes from the known
limits: the divergence in nats is an eighth of the population stability index where it is small,
and that index follows (1/n + 1/m) times a chi-squared law with one degree of freedom less than
there are cells (Yurdakul and Naranjo, "Statistical properties of the population stability
index", Journal of Risk Model Validation 14, 2020); the distance follows Kolmogorov's law, whose
tail is 2 exp(-2 x²).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from model_core.watch.statistics import NUM_STEPS

#: Chance that equal distributions exceed the noise; small, because many columns are compared.
_TAIL = 1e-4
_NORMAL_TAIL = 3.719  # of the standard normal law, one-sided


def divergence(first: Sequence[float] | np.ndarray, second: Sequence[float] | np.ndarray) -> float:
    """Jensen-Shannon divergence in bits of two distributions over the same cells.

    Args:
        first, second: Counts or shares per cell, float [cells]; each is divided by its sum.

    Returns:
        0 for equal shares, 1 where no cell has rows of both; 0 where either has no rows.

    Example:
        >>> round(divergence([80, 20, 0], [80, 0, 20]), 3)
        0.2
    """
    p, q = (np.asarray(counts, dtype=np.float64) for counts in (first, second))
    if not p.sum() > 0 or not q.sum() > 0:
        return 0.0
    p, q = p / p.sum(), q / q.sum()
    middle = (p + q) / 2

    def bits(part: np.ndarray) -> float:
        used = part > 0
        return float(np.sum(part[used] * np.log2(part[used] / middle[used])))

    return float(np.clip((bits(p) + bits(q)) / 2, 0.0, 1.0))


def spread(num_first: int, num_second: int, *, nested: bool = False) -> float:
    """By how much two samples of one distribution differ, in the unit that the noises take.

    Args:
        num_first, num_second: Rows in the samples.
        nested: Whether the smaller sample is part of the larger one, as a catalogue is of the
            one that has grown; only the rows that came can then differ by chance.

    Returns:
        1/n + 1/m, the variance of the difference of two means of unit variance; for nested
        samples |1/n - 1/m|. 0 where either has no rows.
    """
    if not num_first or not num_second:
        return 0.0
    return abs(1 / num_first - 1 / num_second) if nested else 1 / num_first + 1 / num_second


def divergence_noise(spread: float, num_cells: int) -> float:
    """What ``divergence`` of two samples of one distribution exceeds once in 10,000 times.

    Args:
        spread: Of the two samples.
        num_cells: Cells with rows.
    """
    if num_cells < 2:
        return 0.0
    # Wilson and Hilferty's approximation of the chi-squared quantile.
    freedom = num_cells - 1
    ninth = 2 / (9 * freedom)
    quantile = freedom * (1 - ninth + _NORMAL_TAIL * math.sqrt(ninth)) ** 3
    return min(quantile * spread / (8 * math.log(2)), 1.0)


def sketch(values: np.ndarray) -> np.ndarray:
    """Minimum and NUM_STEPS quantiles, float64 [NUM_STEPS + 1]; empty for no values.

    Entry i is the smallest value that at least i/NUM_STEPS of all values do not exceed.

    Args:
        values: Finite numbers, [n].
    """
    if not len(values):
        return np.zeros(0)
    ordered = np.sort(np.asarray(values, dtype=np.float64))
    place = -(-np.arange(NUM_STEPS + 1) * len(ordered) // NUM_STEPS) - 1
    return ordered[np.maximum(place, 0)]


def distance(first: Sequence[float] | np.ndarray, second: Sequence[float] | np.ndarray) -> float:
    """Kolmogorov-Smirnov distance of two samples, from their sketches.

    Args:
        first, second: From ``sketch``.

    Returns:
        Within 1/NUM_STEPS of the exact distance; 0 where either is empty.

    Example:
        >>> distance(sketch(np.arange(1_000)), sketch(np.arange(1_000) + 500))
        0.5
    """
    if not len(first) or not len(second):
        return 0.0
    first, second = np.asarray(first)[1:], np.asarray(second)[1:]
    steps = np.concatenate([first, second])
    below = [np.searchsorted(side, steps, side="right") for side in (first, second)]
    return float(np.max(np.abs(below[0] - below[1]))) / NUM_STEPS


def distance_noise(spread: float) -> float:
    """What ``distance`` of two samples of one distribution exceeds once in 10,000 times."""
    return min(math.sqrt(-math.log(_TAIL / 2) / 2 * spread), 1.0)


def share_noise(share: float, spread: float) -> float:
    """What two samples' shares of one kind of row differ by, by chance, once in 10,000 times.

    Args:
        share: That kind's share of all rows of both.
        spread: Of the two samples.
    """
    return _NORMAL_TAIL * math.sqrt(share * (1 - share) * spread)


def count_noise(first: int, second: int) -> float:
    """What two counts of one steady stream differ by, by chance, once in 10,000 times."""
    return _NORMAL_TAIL * math.sqrt(first + second)
