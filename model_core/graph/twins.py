"""Rows with the same features: encoded once, they stand for each other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

#: Rows hashed at once.
CHUNK = 65_536


def twin_rows(features: Sequence[np.ndarray], time: np.ndarray) -> np.ndarray:
    """The earliest row with exactly the same features, for every row.

    Event tables repeat themselves: a shop's lines have a quantity and a price, and a few
    thousand pairs of the two cover millions of lines. Of equal rows the earliest by
    (time, row) is taken, so that what a row is replaced by never depends on later rows.

    Args:
        features: Arrays [n, ·] of any plain dtype; compared bit by bit.
        time: int64 [n], time of every row.

    Returns:
        int64 [n]; ``twin[twin] == twin``.

    Example:
        >>> twin_rows([np.array([[1.0], [2.0], [1.0]])], np.array([5, 5, 3])).tolist()
        [2, 1, 2]
    """
    num_rows = len(time)
    key = np.zeros(num_rows, dtype=np.uint64)
    rng = np.random.default_rng(0)
    for part in features:
        bits = {1: np.uint8, 2: np.uint16, 4: np.uint32, 8: np.uint64}[part.dtype.itemsize]
        # Odd factors: a column alone never maps two values to one key.
        factor = rng.integers(0, 2**63, part.shape[1], dtype=np.uint64) * np.uint64(2) + np.uint64(1)
        for at in range(0, num_rows if part.shape[1] else 0, CHUNK):
            piece = np.ascontiguousarray(part[at : at + CHUNK]).view(bits).astype(np.uint64)
            key[at : at + CHUNK] += piece @ factor
    order = np.arange(num_rows)
    if (time[1:] < time[:-1]).any():
        order = np.argsort(time, kind="stable")
    code = pa.array(key[order]).dictionary_encode().indices.to_numpy()
    first = np.zeros(int(code.max(initial=-1)) + 1, dtype=np.int64)
    first[code[::-1]] = order[::-1]  # the last one written is the earliest
    twin = np.empty(num_rows, dtype=np.int64)
    twin[order] = first[code]
    # Equal keys of unequal rows are next to impossible; should they occur, the row stays alone.
    rows = np.flatnonzero(twin != np.arange(num_rows))
    for at in range(0, len(rows), CHUNK):
        here = rows[at : at + CHUNK]
        for part in features:
            differs = (part[here] != part[twin[here]]).any(axis=1)
            twin[here[differs]] = here[differs]
    return twin
