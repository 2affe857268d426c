"""Edges are complete and sorted by (time, row)."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from model_core.graph.adjacency import time_sorted_adjacency


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_every_edge_is_there_once_and_in_order(data):
    num_src, num_dst = data.draw(st.integers(1, 6)), data.draw(st.integers(1, 5))
    src_time = np.array(data.draw(st.lists(st.integers(-3, 3), min_size=num_src, max_size=num_src)))
    edges = data.draw(st.lists(st.tuples(st.integers(0, num_src - 1), st.integers(0, num_dst - 1))))
    src, dst = (np.array([edge[i] for edge in edges], dtype=np.int64) for i in range(2))
    found = time_sorted_adjacency(src, dst, src_time, num_dst)
    assert found.indptr.tolist()[0] == 0
    assert len(found.indptr) == num_dst + 1
    for row in range(num_dst):
        part = slice(found.indptr[row], found.indptr[row + 1])
        expected = sorted((int(src_time[s]), s) for s, d in edges if d == row)
        assert list(zip(found.time[part].tolist(), found.neighbor[part].tolist(), strict=True)) == expected
    assert found.indptr[-1] == len(edges)
