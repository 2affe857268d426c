"""Counts per key and time against counting."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_core.priors.keyed_times import KeyedTimes

EVENTS = st.lists(st.tuples(st.integers(0, 5), st.integers(-20, 20)), max_size=30)
ASKED = st.lists(st.tuples(st.integers(0, 7), st.integers(-40, 40)), min_size=1, max_size=10)


@settings(max_examples=100, deadline=None)
@given(EVENTS, ASKED)
def test_counts_events_up_to_and_including_the_time(events, asked):
    events = sorted(events, key=lambda event: event[1])
    table = np.array(events, dtype=np.int64).reshape(-1, 2)
    found = KeyedTimes.build(table[:, 0], table[:, 1], 8).count(*np.array(asked, dtype=np.int64).T)
    assert found.tolist() == [sum(k == key and t <= time for k, t in events) for key, time in asked]


def test_what_cannot_be_packed_is_refused():
    with pytest.raises(AssertionError, match="too large to pack"):
        KeyedTimes.build(np.array([0, 2**32]), np.array([0, 2**32]), 2**32 + 1)
