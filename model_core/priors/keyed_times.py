"""KeyedTimes: how many events a key had up to any time, by one search."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class KeyedTimes:
    """Events sorted by (key, time), packed into one int64 each, ``key * span + (time - first)``.

    Nothing is computed per time: a new moment costs as much as one that was asked for before.

    Attributes:
        packed: int64 [m], ascending.
        first_time, span: What the keys are made with, in seconds.
    """

    packed: np.ndarray
    first_time: int
    span: int

    @classmethod
    def build(cls, key: np.ndarray, time: np.ndarray, num_keys: int) -> KeyedTimes:
        """Of events with keys 0..num_keys-1, int64 [m], and times, int64 [m] UTC seconds."""
        first = int(time.min()) if len(time) else 0
        span = int(time.max()) - first + 2 if len(time) else 2
        assert num_keys * span < 2**63, "times or tables too large to pack"
        return cls(np.sort(key * span + (time - first)), first, span)

    def end(self, key: np.ndarray, time: np.ndarray) -> np.ndarray:
        """Where each key's events up to and including each time end among all, int64 [n]."""
        # Before the first event: the end of the key before, that is, this key's start.
        offset = np.clip(time - self.first_time, -1, self.span - 2)
        return np.searchsorted(self.packed, key * self.span + offset, side="right")

    def count(self, key: np.ndarray, time: np.ndarray) -> np.ndarray:
        """Events of each key up to and including each time, int64 [n]."""
        return self.end(key, time) - np.searchsorted(self.packed, key * self.span)
