"""The best k of every row of scores, the same on every machine."""

from __future__ import annotations

import numpy as np


def top_k(scores: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Best k columns of every row: by score, highest first, then by column.

    Args:
        scores: float [B, N] without NaN; -inf means never.
        k: Places, at least 1.

    Returns:
        ``(column, score)``, int64 and float32 [B, k], padded with -1 and -inf where a row
        has fewer than k columns above -inf.

    Example:
        >>> column, score = top_k(np.array([[1.0, 3.0, 1.0, 1.0]]), 2)
        >>> column.tolist(), score.tolist()
        ([[1, 0]], [[3.0, 1.0]])
    """
    num_rows, num_columns = scores.shape
    column = np.full((num_rows, k), -1, dtype=np.int64)
    value = np.full((num_rows, k), -np.inf, dtype=np.float32)
    width = min(k, num_columns)
    if num_rows == 0 or width == 0:
        return column, value
    threshold = np.partition(scores, num_columns - width, axis=1)[:, num_columns - width, None]
    # Ties at the threshold are all candidates; the sort below leaves the smallest columns.
    row, candidate = np.nonzero((scores >= threshold) & (scores > -np.inf))
    score = scores[row, candidate]
    order = np.lexsort((candidate, -score, row))
    row, candidate, score = row[order], candidate[order], score[order]
    place = np.arange(len(row)) - np.searchsorted(row, row)
    kept = place < width
    column[row[kept], place[kept]] = candidate[kept]
    value[row[kept], place[kept]] = score[kept]
    return column, value
