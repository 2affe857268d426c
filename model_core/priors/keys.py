"""Distinct keys of many look-ups, so that each is made once."""

from __future__ import annotations

import numpy as np

#: Where there are more cells than this per key, sorting is the faster way.
MAX_CELLS_PER_KEY = 64


def distinct_keys(key: np.ndarray, num_cells: int) -> np.ndarray:
    """Ascending distinct keys: by marking cells where keys are dense among them, else by sorting.

    Args:
        key: int64 [n], within ``range(num_cells)``.
        num_cells: Marks take a byte each, and no more than ``MAX_CELLS_PER_KEY`` per key.
    """
    if num_cells > MAX_CELLS_PER_KEY * len(key):
        return np.unique(key)
    marked = np.zeros(num_cells, dtype=bool)
    marked[key] = True
    return np.flatnonzero(marked)
