"""Choosing the best of many cells, against sorting."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_core.priors import knn


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 4), st.integers(1, 60), st.integers(1, 8), st.integers(0, 5),
       st.integers(0, 1_000), st.sampled_from([1, 4]))
def test_nth_largest_by_sorting(rows, columns, count, levels, seed, groups):
    """Few levels make many ties, and most cells nothing."""
    generator = np.random.default_rng(seed)
    matrix = generator.integers(0, levels + 1, (rows, columns)).astype(np.float32)
    matrix *= generator.random((rows, 1)) < 0.7
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(knn, "_GROUPS", groups)
        found = knn.nth_largest(matrix, count)
    assert found.shape == (rows,)
    for row, bar in zip(matrix, found, strict=True):
        positive = sorted(row[row > 0].tolist(), reverse=True)
        if len(positive) >= count:
            assert bar == positive[count - 1]
        else:
            assert all(bar <= value for value in positive)


def test_nth_largest_of_the_sparse_rows_of_a_real_catalogue():
    generator = np.random.default_rng(0)
    matrix = generator.random((50, 3_000), dtype=np.float32) * (generator.random((50, 3_000)) < 0.05)
    assert np.array_equal(knn.nth_largest(matrix, 80), np.sort(matrix, axis=1)[:, -80])
