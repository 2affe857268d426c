import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_core.serving.top_k import top_k


def slow(row, k):
    order = sorted(range(len(row)), key=lambda i: (-row[i], i))
    order = [i for i in order if row[i] > -np.inf][:k]
    return order + [-1] * (k - len(order))


@settings(max_examples=100, deadline=None)
@given(
    st.integers(1, 4).flatmap(lambda rows: st.integers(1, 9).flatmap(lambda n: st.lists(
        st.lists(st.sampled_from([-np.inf, -1.0, 0.0, -0.0, 0.5, 2.0]), min_size=n, max_size=n),
        min_size=rows, max_size=rows))),
    st.integers(1, 12),
)
def test_equals_sorting(rows, k):
    column, score = top_k(np.array(rows, dtype=np.float32), k)
    assert column.shape == score.shape == (len(rows), k)
    for row, found, value in zip(rows, column.tolist(), score.tolist(), strict=True):
        assert found == slow(row, k)
        assert value == [row[i] if i >= 0 else -np.inf for i in found]


@pytest.mark.parametrize("shape", [(0, 5), (3, 0), (0, 0)])
def test_nothing_to_rank(shape):
    column, score = top_k(np.zeros(shape, dtype=np.float32), 2)
    assert column.shape == (shape[0], 2)
    assert (column == -1).all()
    assert (score == -np.inf).all()
