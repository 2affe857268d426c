"""Edges from foreign keys, sorted by time."""

from __future__ import annotations

import numpy as np

from model_core.graph.temporal_graph import Adjacency


def time_sorted_adjacency(
    src: np.ndarray, dst: np.ndarray, src_time: np.ndarray, num_dst: int
) -> Adjacency[np.ndarray]:
    """In-neighbours of every dst row, sorted by (time of the neighbour, row).

    Args:
        src, dst: int64 [num_edges], end points of the edges, in any order.
        src_time: int64 [num_src], time of every src row (UNTIMED where it has none).
        num_dst: Rows of the dst table.
    """
    time = src_time[src]
    order = np.lexsort((src, time, dst))
    indptr = np.zeros(num_dst + 1, dtype=np.int64)
    np.cumsum(np.bincount(dst, minlength=num_dst), out=indptr[1:])
    return Adjacency(indptr, src[order].astype(np.int64), time[order].astype(np.int64))
