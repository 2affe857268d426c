"""Rows with equal features, and nothing else, stand for each other."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_core.graph import twins
from model_core.graph.twins import twin_rows


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_the_earliest_equal_row_is_found(data):
    num_rows = data.draw(st.integers(0, 30))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    number = rng.integers(0, 3, (num_rows, data.draw(st.integers(0, 2)))).astype(np.float32)
    category = rng.integers(0, 3, (num_rows, data.draw(st.integers(0, 2))))
    time = rng.integers(0, 4, num_rows)
    twin = twin_rows([number, category], time)
    for row in range(num_rows):
        equal = [other for other in range(num_rows) if (number[other] == number[row]).all()
                 and (category[other] == category[row]).all()]
        assert twin[row] == min(equal, key=lambda other: (time[other], other))


def test_later_rows_change_no_earlier_twin():
    rng = np.random.default_rng(0)
    features, time = rng.integers(0, 5, (200, 2)), rng.integers(0, 100, 200)
    past = time < 50
    before = twin_rows([features], time)[past]
    features[~past] = rng.integers(0, 5, ((~past).sum(), 2))
    assert np.array_equal(twin_rows([features], time)[past], before)


def test_rows_that_share_a_key_by_accident_stay_alone(monkeypatch):
    class Unlucky:
        def integers(self, low, high, size, dtype):
            return np.zeros(size, dtype)  # every column counts 1: (1, 2) and (2, 1) collide

    monkeypatch.setattr(np.random, "default_rng", lambda seed: Unlucky())
    rows = np.array([[1, 2], [2, 1], [2, 1], [1, 2]])
    twin = twins.twin_rows([rows], np.zeros(4, np.int64))
    assert (rows[twin] == rows).all()
    assert twin[3] == 0


@pytest.mark.parametrize("chunk", [1, 3])
def test_chunks_change_nothing(monkeypatch, chunk):
    rows = np.random.default_rng(1).integers(0, 3, (20, 2)).astype(np.float32)
    whole = twin_rows([rows], np.zeros(20, np.int64))
    monkeypatch.setattr(twins, "CHUNK", chunk)
    assert np.array_equal(twin_rows([rows], np.zeros(20, np.int64)), whole)
