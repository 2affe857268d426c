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
    # Tables mostly lie in order of time already, and a foreign key gives each row one
    # edge, in order of rows: what is sorted is not sorted again.
    if len(dst) and (dst[1:] <= dst[:-1]).any():
        order = np.arange(len(src))
        if (src[1:] < src[:-1]).any():
            order = stable_order(src)
        if (time[order][1:] < time[order][:-1]).any():
            order = order[np.argsort(time[order], kind="stable")]
        order = order[stable_order(dst[order])]
        src, time = src[order], time[order]
    indptr = np.zeros(num_dst + 1, dtype=np.int64)
    np.cumsum(np.bincount(dst, minlength=num_dst), out=indptr[1:])
    return Adjacency(indptr, src.astype(np.int64), time.astype(np.int64))


def stable_order(key: np.ndarray) -> np.ndarray:
    """``np.argsort(key, kind="stable")`` of row numbers, in linear time.

    numpy sorts 16-bit integers by counting. Sorting by the low 16 bits and then, stably,
    by the next ones is a radix sort.

    Args:
        key: int64 [n], 0 or more.

    Example:
        >>> stable_order(np.array([70_000, 3, 70_000, 1])).tolist()
        [3, 1, 0, 2]
    """
    order = np.argsort(key.astype(np.uint16), kind="stable")  # the cast keeps the low bits
    for shift in range(16, int(key.max(initial=0)).bit_length(), 16):
        digit = (key[order] >> shift).astype(np.uint16)
        order = order[np.argsort(digit, kind="stable")]
    return order
