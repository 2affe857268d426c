"""Slow, obviously right twins of the drift measures, on raw values."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Sequence


def slow_divergence(first: Sequence[Hashable], second: Sequence[Hashable]) -> float:
    """Entropy of the mixture minus the mean entropy, in bits."""
    def shares(values):
        return {value: number / len(values) for value, number in Counter(values).items()}

    def entropy(distribution):
        return -math.fsum(p * math.log2(p) for p in distribution.values())

    p, q = shares(first), shares(second)
    mixture = {value: (p.get(value, 0) + q.get(value, 0)) / 2 for value in p.keys() | q.keys()}
    return entropy(mixture) - (entropy(p) + entropy(q)) / 2


def slow_distance(first: Sequence[float], second: Sequence[float]) -> float:
    """Largest difference of the shares of values up to x, over every x."""
    def share_up_to(values, x):
        return sum(value <= x for value in values) / len(values)

    return max(abs(share_up_to(first, x) - share_up_to(second, x)) for x in {*first, *second})
