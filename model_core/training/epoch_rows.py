"""Which training rows an epoch sees, and what each of them counts."""

from __future__ import annotations

import numpy as np
import torch

from model_core.training.randomness import epoch_order, generator_for


class EpochRows:
    """The rows of every epoch, in random order.

    Where an epoch has room for all rows it has all, and each counts by its weight. Where it has not, rows are
    drawn anew for every epoch, each with a probability in proportion to its weight, and those that are
    drawn count alike: most of a long history weighs next to nothing, and steps spent on it would be
    lost. A row so heavy that it is always drawn counts more instead, so that the expected loss
    is that of all rows with their weights.

    Args:
        weight: What the rows are to count, float [n], not negative and not all 0.
        room: Rows that an epoch has room for.
        seed: Of the run.

    Attributes:
        counts: float32 [n], what a row counts when it is seen, mean 1 over an epoch.

    Source: systematic sampling in random order (Madow 1949, Annals of Mathematical Statistics 20),
    weighted by the inverse of the probability (Horvitz and Thompson 1952).
    """

    def __init__(self, weight: np.ndarray, room: int, seed: int) -> None:
        self._seed, self._room = seed, min(room, len(weight))
        self._probability = None
        self.counts = weight.astype(np.float32)
        if self._room < len(weight):
            self._probability = inclusion_probability(weight, self._room)
            ever = self._probability > 0  # weights of very old rows may be too small for a number
            counts = np.divide(weight, self._probability, out=np.zeros(len(weight)), where=ever)
            self.counts = (counts * (self._room / weight[ever].sum(dtype=np.float64))).astype(np.float32)
        self._last: tuple[int, np.ndarray] = -1, np.zeros(0, np.int64)

    def __len__(self) -> int:
        return self._room

    def __call__(self, epoch: int) -> np.ndarray:
        """Rows of one epoch, int64 [len(self)], none twice."""
        number, rows = self._last
        if number != epoch:
            rows = self._drawn(epoch)
            self._last = epoch, rows
        return rows

    def _drawn(self, epoch: int) -> np.ndarray:
        order = epoch_order(self._seed, epoch, len(self.counts)).numpy()
        if self._probability is None:
            return order
        start = torch.rand((), dtype=torch.float64, generator=generator_for(self._seed, "rows", epoch)).item()
        passed = np.floor(np.cumsum(self._probability[order]) + start)
        drawn = np.diff(passed, prepend=0.0) > 0
        missing = self._room - int(drawn.sum())  # at most a row or two, where a sum was rounded
        drawn[np.flatnonzero(~drawn)[: max(missing, 0)]] = True
        return order[drawn][: self._room]


def inclusion_probability(weight: np.ndarray, number: int) -> np.ndarray:
    """In proportion to weight and at most 1, float64 [n], summing to ``number`` (at most n).

    Example:
        >>> inclusion_probability(np.array([8.0, 1.0, 1.0]), 2)
        array([1. , 0.5, 0.5])
    """
    probability = weight.astype(np.float64)
    sure = np.zeros(len(weight), dtype=bool)
    while True:
        left, rest = number - int(sure.sum()), probability[~sure].sum()
        scaled = probability * (left / rest if rest else 0.0)
        more = ~sure & (scaled >= 1)
        if not more.any():
            return np.where(sure, 1.0, scaled)
        sure |= more
