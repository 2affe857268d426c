"""The largest entries of sparse rows, against sorting each row."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from model_core.priors.largest import among_largest

ROWS = st.lists(st.lists(st.integers(0, 5), max_size=9), max_size=6)


@given(ROWS, st.integers(1, 10), st.sampled_from([np.float32, np.float64]))
def test_all_that_reach_the_edge_of_their_row(rows, count, dtype):
    value = np.array([value for row in rows for value in row], dtype=dtype)
    indptr = np.cumsum([0, *map(len, rows)])
    expected = [value >= sorted(row, reverse=True)[:count][-1] for row in rows for value in row]
    assert among_largest(value, indptr, count).tolist() == expected


def test_slack_takes_what_is_nearly_as_large():
    value, indptr = np.array([1.0, 0.99, 0.97, 0.5]), np.array([0, 4])
    assert among_largest(value, indptr, 1).tolist() == [True, False, False, False]
    assert among_largest(value, indptr, 1, slack=0.02).tolist() == [True, True, False, False]
