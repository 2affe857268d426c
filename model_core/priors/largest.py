"""The largest entries of every row of a sparse matrix, without sorting the rows."""

from __future__ import annotations

import numpy as np


def among_largest(value: np.ndarray, indptr: np.ndarray, count: int, slack: float = 0.0) -> np.ndarray:
    """Which entries are among the ``count`` largest of their row; all that tie at the edge are.

    Rows of an item-item matrix may hold thousands of entries of which some tens are wanted: finding
    the edge costs time in proportion to the entries, and only what is left has to be put in order.

    Args:
        value: float [n], ≥ 0, row after row.
        indptr: int [rows + 1], where each row begins.
        count: At least 1.
        slack: Entries smaller than the edge by this share of it are taken too, for values that are rounded.

    Returns:
        bool [n].

    Example:
        >>> among_largest(np.array([3.0, 1.0, 2.0, 5.0, 5.0, 4.0, 9.0]), np.array([0, 3, 6, 7]), 1)
        array([ True, False, False,  True,  True, False,  True])
    """
    among = np.ones(len(value), dtype=bool)
    for row in np.flatnonzero(np.diff(indptr) > count).tolist():
        part = value[indptr[row] : indptr[row + 1]]
        place = len(part) - count
        edge = np.partition(part, place)[place]
        np.greater_equal(part, edge * (1 - slack), out=among[indptr[row] : indptr[row + 1]])
    return among
