"""Many integer ranges at once: the gather step of every CSR look-up here."""

from __future__ import annotations

import numpy as np


def flat_ranges(start: np.ndarray, stop: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Positions start[r], ..., stop[r] - 1 of every row r, one after the other.

    Args:
        start, stop: int64 [B], with start ≤ stop.

    Returns:
        (row, position), both int64 [sum(stop - start)].

    Example:
        >>> flat_ranges(np.array([0, 5]), np.array([2, 6]))
        (array([0, 0, 1]), array([0, 1, 5]))
    """
    count = stop - start
    row = np.repeat(np.arange(len(count)), count)
    offset = np.cumsum(count) - count
    return row, np.arange(len(row)) - np.repeat(offset - start, count)
