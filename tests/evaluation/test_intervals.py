"""Bootstrap: coverage, pairing, users drawn whole, same numbers for the same generator."""

from __future__ import annotations

import numpy as np
import pytest

import model_core.evaluation.intervals as intervals
from model_core.evaluation.intervals import bootstrap_mean, paired_difference


def test_width_is_that_of_the_normal_approximation():
    values = np.random.default_rng(1).random((400, 2))
    found = bootstrap_mean(values, np.random.default_rng(0), num_bootstrap=4_000)
    half = 1.96 * values.std(axis=0) / np.sqrt(400)
    np.testing.assert_allclose(found.mean, values.mean(axis=0))
    np.testing.assert_allclose(found.high - found.low, 2 * half, rtol=0.08)


def test_covers_the_true_mean_about_as_often_as_it_says():
    rng = np.random.default_rng(2)
    inside = 0
    for _ in range(200):
        found = bootstrap_mean(rng.exponential(size=(60, 1)), rng, num_bootstrap=300, confidence=0.9)
        inside += int(found.low[0] <= 1.0 <= found.high[0])
    assert 0.82 <= inside / 200 <= 0.96


def test_a_constant_gain_has_no_width_however_noisy_the_users():
    second = np.random.default_rng(3).random(50)
    found = paired_difference(second + 0.1, second, np.random.default_rng(0))
    assert found.low[0] == pytest.approx(0.1)
    assert found.high[0] == pytest.approx(0.1)


def test_rows_of_one_user_are_drawn_together():
    users = np.random.default_rng(4).random(40)
    values = np.repeat(users, 5)[:, None]  # five equal rows each: no more information than one
    alone = bootstrap_mean(users[:, None], np.random.default_rng(0), num_bootstrap=3_000)
    grouped = bootstrap_mean(values, np.random.default_rng(0), groups=np.repeat(np.arange(40), 5),
                             num_bootstrap=3_000)
    rows = bootstrap_mean(values, np.random.default_rng(0), num_bootstrap=3_000)
    assert grouped.low[0] == pytest.approx(alone.low[0])
    assert (rows.high - rows.low)[0] < 0.6 * (grouped.high - grouped.low)[0]


def test_same_generator_same_interval_and_chunks_cover_all_draws(monkeypatch):
    values = np.random.default_rng(5).random((30, 3))
    first = bootstrap_mean(values, np.random.default_rng(9), num_bootstrap=101)
    second = bootstrap_mean(values, np.random.default_rng(9), num_bootstrap=101)
    assert np.array_equal(first, second)
    monkeypatch.setattr(intervals, "_CHUNK_CELLS", 30 * 7)
    assert len(np.concatenate(list(intervals._weights(30, 101, np.random.default_rng(9))))) == 101
    chunked = bootstrap_mean(values, np.random.default_rng(9), num_bootstrap=101)
    np.testing.assert_allclose(chunked, first)


def test_no_rows_have_no_mean():
    assert np.isnan(bootstrap_mean(np.zeros((0, 2)), np.random.default_rng(0))).all()
