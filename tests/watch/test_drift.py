"""Drift measures against their slow twins, golden values and chance."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_core.watch.drift import (
    NUM_STEPS,
    distance,
    distance_noise,
    divergence,
    divergence_noise,
    share_noise,
    sketch,
    spread,
)
from tests.watch.reference import slow_distance, slow_divergence

words = st.lists(st.sampled_from("abcdef"), min_size=1, max_size=60)
numbers = st.lists(st.floats(-5, 5).map(lambda x: round(x, 1)), min_size=1, max_size=300)


def counts(values):
    return [values.count(word) for word in "abcdef"]


@given(words, words)
@settings(max_examples=60, deadline=None)
def test_divergence_is_the_slow_one(first, second):
    found = divergence(counts(first), counts(second))
    assert found == pytest.approx(slow_divergence(first, second), abs=1e-9)
    assert found == divergence(counts(second), counts(first))
    assert 0 <= found <= 1


@given(words, words)
@settings(max_examples=40, deadline=None)
def test_pooling_cells_never_adds_divergence(first, second):
    p, q = np.asarray(counts(first)), np.asarray(counts(second))
    assert divergence(p.reshape(3, 2).sum(1), q.reshape(3, 2).sum(1)) <= divergence(p, q) + 1e-9


@given(numbers, numbers)
@settings(max_examples=60, deadline=None)
def test_distance_is_the_slow_one_but_for_a_step(first, second):
    found = distance(sketch(np.asarray(first)), sketch(np.asarray(second)))
    assert abs(found - slow_distance(first, second)) < 1 / NUM_STEPS + 1e-9


@given(numbers)
@settings(max_examples=20, deadline=None)
def test_the_same_values_twice_over_are_no_drift(values):
    assert distance(sketch(np.asarray(values)), sketch(np.asarray(values * 2))) == 0


def test_golden_values():
    assert divergence([1, 1], [1, 1]) == 0
    assert divergence([5, 0], [0, 7]) == 1
    # 1/2 (1 log2(1/(3/4)) + 1/2 log2((1/2)/(3/4)) + 1/2 log2((1/2)/(1/4)))
    assert divergence([2, 0], [1, 1]) == pytest.approx(0.311278, abs=1e-6)
    assert divergence([0, 0], [1, 1]) == 0
    assert distance(sketch(np.arange(10.0)), sketch(np.arange(10.0) + 100)) == 1
    assert distance(sketch(np.zeros(0)), sketch(np.ones(3))) == 0
    assert sketch(np.asarray([3.0, 1.0, 2.0]))[[0, 1, 43, 128]].tolist() == [1, 1, 2, 3]


@pytest.mark.parametrize("num_cells", [2, 5, 40])
def test_chance_stays_below_the_noise_and_comes_near_it(num_cells):
    rng = np.random.default_rng(num_cells)
    share = np.full(num_cells, 1 / num_cells)
    noise = divergence_noise(spread(900, 500), num_cells)
    drawn = [divergence(rng.multinomial(900, share), rng.multinomial(500, share)) for _ in range(400)]
    assert max(drawn) < noise
    assert max(drawn) > noise / 4


def test_chance_of_numbers_and_shares():
    rng, apart = np.random.default_rng(0), spread(300, 200)
    drawn = [distance(sketch(rng.normal(size=300)), sketch(rng.normal(size=200))) for _ in range(200)]
    assert distance_noise(apart) / 3 < max(drawn) < distance_noise(apart)
    shares = [abs(rng.binomial(300, 0.2) / 300 - rng.binomial(200, 0.2) / 200) for _ in range(500)]
    assert share_noise(0.2, apart) / 3 < max(shares) < share_noise(0.2, apart)
    assert spread(0, 5) == spread(5, 0) == spread(7, 7, nested=True) == 0
    assert distance_noise(0) == divergence_noise(0, 3) == share_noise(0.5, 0) == 0


def test_chance_of_a_catalogue_that_has_grown():
    rng, share = np.random.default_rng(1), np.full(6, 1 / 6)
    apart = spread(400, 480, nested=True)
    drawn, distances = [], []
    for _ in range(300):
        before = rng.multinomial(400, share)
        drawn.append(divergence(before, before + rng.multinomial(80, share)))
        values = rng.normal(size=480)
        distances.append(distance(sketch(values), sketch(values[:400])))
    assert divergence_noise(apart, 6) / 4 < max(drawn) < divergence_noise(apart, 6)
    assert distance_noise(apart) / 3 < max(distances) < distance_noise(apart) + 1 / NUM_STEPS
