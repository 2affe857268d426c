"""Popularity, mixture and draws against values computed by hand and by loops."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_core.graph.temporal_graph import Interactions
from model_core.negatives.curriculum import hard_fraction
from model_core.negatives.proposals import decayed_popularity, log_probability, make_proposal
from tests.factories import DAY


def interactions(triples):
    table = np.asarray(sorted(triples, key=lambda t: (t[2], t[0], t[1])), dtype=np.int64).reshape(-1, 3)
    return Interactions(table[:, 0], table[:, 1], table[:, 2])


def test_decay_halves_per_half_life_and_stops_at_the_bucket():
    events = interactions([(0, 0, 0), (0, 1, 10 * DAY), (1, 1, 10 * DAY), (0, 2, 10 * DAY + 1)])
    at = [p.copy() for p in decayed_popularity(events, 3, np.array([0, 10 * DAY, 20 * DAY]), 10.0)]
    assert at[0].tolist() == [1, 0, 0]
    assert at[1].tolist() == [0.5, 2, 0]  # the event a second later is not known
    assert at[2] == pytest.approx([0.25, 1, 0.5], rel=1e-5)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4), st.integers(-9, 9)), max_size=30),
       st.sets(st.integers(-10, 10), min_size=1), st.floats(1e-5, 1e-3))
def test_one_pass_equals_recomputing(triples, times, half_life_days):
    events, times = interactions(triples), np.asarray(sorted(times))
    for time, found in zip(times, decayed_popularity(events, 5, times, half_life_days), strict=True):
        expected = np.zeros(5)
        for _, item, at in triples:
            if at <= time:
                expected[item] += 0.5 ** ((time - at) / (half_life_days * DAY))
        assert np.allclose(found, expected, rtol=1e-9, atol=1e-12)


def test_mixture_by_hand():
    """α = 1/2 over counts 4 and 9 gives 2 : 3; three born items share the uniform part."""
    proposal = make_proposal(
        np.array([4.0, 9.0, 0.0, 7.0]), np.array([True, True, True, False]), 0.5, 0.3)
    assert proposal.probability == pytest.approx([0.7 * 0.4 + 0.1, 0.7 * 0.6 + 0.1, 0.1, 0])
    assert log_probability(proposal.probability)[3] == -np.inf


def test_without_popularity_the_proposal_is_uniform():
    proposal = make_proposal(np.array([0.0, 0.0, 5.0]), np.array([True, True, False]), 0.75, 0.2)
    assert proposal.probability.tolist() == [0.5, 0.5, 0.0]
    item, is_popular = proposal.draw(100, np.random.default_rng(0))
    assert set(item.tolist()) == {0, 1}
    assert not is_popular.any()


@pytest.mark.parametrize("exponent", [0.0, 0.75, 2.0])
def test_tiny_popularity_does_not_underflow(exponent):
    proposal = make_proposal(np.array([1e-300, 4e-300, 0.0]), np.ones(3, bool), exponent, 0.1)
    assert np.isfinite(proposal.probability).all()
    assert proposal.probability.sum() == pytest.approx(1)
    assert proposal.popular[2] == 0  # also with α = 0
    assert proposal.popular[0] / proposal.popular[1] == pytest.approx(0.25**exponent)


def test_draws_follow_the_proposal():
    rng = np.random.default_rng(0)
    born = np.arange(20) != 7
    proposal = make_proposal(rng.pareto(1.0, 20), born, 0.75, 0.4)
    item, is_popular = proposal.draw(200_000, rng)
    share = np.bincount(item, minlength=20) / 200_000
    sigma = np.sqrt(proposal.probability * (1 - proposal.probability) / 200_000)
    assert share[7] == 0
    assert (np.abs(share - proposal.probability) <= 4.5 * sigma).all()
    assert is_popular.mean() == pytest.approx(0.6, abs=0.01)


def test_hard_fraction_ramps_linearly():
    values = [hard_fraction(step, 101, 0.5, 0.2) for step in range(101)]
    assert values[:21] == [0.0] * 21
    assert values[-1] == 0.5
    assert np.allclose(np.diff(values[20:]), 0.5 / 80)
    assert hard_fraction(0, 1, 0.5) == 0.0
    assert hard_fraction(10**6, 10, 0.5) == 0.5
