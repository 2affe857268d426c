"""Popularity and its mixture against values computed by hand and by loops."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_core.negatives.curriculum import hard_fraction
from model_core.negatives.proposals import decayed_popularity, popular_part
from tests.factories import DAY


def test_decay_halves_per_half_life_and_stops_at_the_bucket():
    item, time = np.array([0, 1, 1, 2]), np.array([0, 10 * DAY, 10 * DAY, 10 * DAY + 1])
    at = [p.copy() for p in decayed_popularity(item, time, 3, np.array([0, 10, 20]) * DAY, 10.0)]
    assert at[0].tolist() == [1, 0, 0]
    assert at[1].tolist() == [0.5, 2, 0]  # the event a second later is not known
    assert at[2] == pytest.approx([0.25, 1, 0.5], rel=1e-5)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(-9, 9), st.integers(0, 4)), max_size=30),
       st.sets(st.integers(-10, 10), min_size=1), st.floats(1e-5, 1e-3))
def test_one_pass_equals_recomputing(events, times, half_life_days):
    events, times = sorted(events), np.asarray(sorted(times))
    time, item = np.asarray(events, dtype=np.int64).reshape(-1, 2).T
    found = decayed_popularity(item, time, 5, times, half_life_days)
    for now, popularity in zip(times, found, strict=True):
        expected = np.zeros(5)
        for at, which in events:
            if at <= now:
                expected[which] += 0.5 ** ((now - at) / (half_life_days * DAY))
        assert np.allclose(popularity, expected, rtol=1e-9, atol=1e-12)


def test_smoothing_by_hand():
    """α = 1/2 over counts 4 and 9 gives 2 : 3."""
    assert popular_part(np.array([4.0, 9.0]), 0.5) == pytest.approx([0.4, 0.6])


@pytest.mark.parametrize("exponent", [0.0, 0.75, 2.0])
def test_tiny_popularity_does_not_underflow(exponent):
    part = popular_part(np.array([1e-300, 4e-300]), exponent)
    assert part.sum() == pytest.approx(1)
    assert part[0] / part[1] == pytest.approx(0.25**exponent)


def test_nothing_popular_has_no_part():
    assert popular_part(np.zeros(0), 0.75) is None
    assert popular_part(np.zeros(3), 0.75) is None


def test_hard_fraction_ramps_linearly():
    values = [hard_fraction(step, 101, 0.5, 0.2) for step in range(101)]
    assert values[:21] == [0.0] * 21
    assert values[-1] == 0.5
    assert np.allclose(np.diff(values[20:]), 0.5 / 80)
    assert hard_fraction(0, 1, 0.5) == 0.0
    assert hard_fraction(10**6, 10, 0.5) == 0.5
