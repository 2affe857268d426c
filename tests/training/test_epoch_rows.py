"""Which rows an epoch sees: all, or drawn by weight without changing what is minimised."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_core.training.epoch_rows import EpochRows, inclusion_probability
from model_core.training.randomness import epoch_order

WEIGHTS = st.lists(st.sampled_from([1e-6, 0.1, 1.0, 1.0, 3.0, 50.0]), min_size=1, max_size=40)
VERY_SMALL = st.lists(st.sampled_from([0.0, 1e-45, 1e-30, 1.0, 1e20]), min_size=1, max_size=20)


@given(WEIGHTS, st.integers(1, 60), st.integers(0, 9))
def test_rows_of_an_epoch(weights, room, epoch):
    weight = np.array(weights)
    rows = EpochRows(weight, room, seed=3)
    found = rows(epoch)
    assert len(rows) == min(room, len(weight))
    assert len(set(found.tolist())) == len(found) == len(rows)
    assert rows(epoch).tolist() == found.tolist() == EpochRows(weight, room, seed=3)(epoch).tolist()
    if room >= len(weight):
        assert found.tolist() == epoch_order(3, epoch, len(weight)).tolist()
        assert rows.counts.tolist() == weight.astype(np.float32).tolist()


@given(WEIGHTS, st.integers(1, 40))
def test_probabilities_go_with_weight(weights, number):
    weight, number = np.array(weights), min(number, len(weights))
    probability = inclusion_probability(weight, number)
    assert probability.sum() == pytest.approx(number)
    assert 0 < probability.min() <= probability.max() <= 1
    unsure = probability < 1
    ratio = probability[unsure] / weight[unsure]
    assert ratio == pytest.approx(ratio.max(initial=0), rel=1e-9)
    assert (weight[~unsure] >= weight[unsure].max(initial=0) * (1 - 1e-9)).all(), "the heaviest are sure"


@given(VERY_SMALL, st.integers(1, 25))
def test_weights_too_small_for_a_number_do_no_harm(weights, room):
    rows = EpochRows(np.array([*weights, 1.0]), room, seed=0)
    assert np.isfinite(rows.counts).all()
    assert rows.counts.max() > 0
    assert len(set(rows(1).tolist())) == len(rows)


def test_what_is_seen_counts_in_the_long_run_what_it_weighs():
    weight = np.array([8.0, 4.0, 2.0, 1.0, 1.0, 1.0, 0.5, 0.25, 0.25])
    rows, epochs = EpochRows(weight, 4, seed=0), 4_000
    counted = np.zeros(len(weight))
    for epoch in range(epochs):
        found = rows(epoch)
        counted[found] += rows.counts[found]
    expected = weight / weight.sum() * 4
    assert counted / epochs == pytest.approx(expected, abs=0.06)
    assert counted.sum() / epochs == pytest.approx(4, abs=0.02), "mean 1 over an epoch"
    assert counted[0] / epochs == pytest.approx(expected[0], rel=1e-5), "the heaviest is in every epoch"
    light = rows.counts[3:]
    assert light == pytest.approx(light[0]), "those that are drawn count alike"


def test_orders_differ_from_epoch_to_epoch():
    rows = EpochRows(np.ones(50), 20, seed=0)
    assert rows(0).tolist() != rows(1).tolist()
    assert rows(0).tolist() != sorted(rows(0).tolist())
