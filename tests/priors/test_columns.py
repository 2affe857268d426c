"""Which columns are read, and what they say in cases that a reader can check by head."""

from __future__ import annotations

import math

import numpy as np
import pytest

from model_core.graph.temporal_graph import TableColumns
from model_core.priors import columns
from model_core.priors.columns import COLUMN_FEATURES, ColumnLifts, codes
from model_core.priors.past import Past
from tests.priors.worlds import interactions, make


def table(category=(), number=(), num_rows=16):
    return TableColumns(
        np.stack(number, axis=1) if number else np.zeros((num_rows, 0), np.float32),
        np.stack(category, axis=1) if category else np.zeros((num_rows, 0), np.int64),
        np.zeros((num_rows, 0), np.float32), (), (), (), ())


def test_categories_stay_and_numbers_become_ranges_of_equal_size():
    number = np.random.default_rng(0).permutation(16).astype(np.float32)
    category, ranges = codes(table([np.arange(16) % 3], [number]))
    assert category.tolist() == (np.arange(16) % 3).tolist()
    assert np.bincount(ranges).tolist() == [2] * 8
    assert (np.diff(ranges[np.argsort(number)]) >= 0).all()


def test_columns_that_tell_few_rows_apart_and_columns_beyond_the_most_stay_out(monkeypatch):
    monkeypatch.setattr(columns, "MAX_COLUMNS", 2)
    nearly_all = np.repeat([0, 1, 2], [13, 2, 1])
    found = codes(table([np.zeros(16, np.int64), nearly_all, np.arange(16) % 2, np.arange(16) % 4],
                        [np.arange(16, dtype=np.float32)]))
    assert [len(np.unique(code)) for code in found] == [2, 4]
    assert codes(table()) == []
    assert codes(table(number=[np.zeros(0, np.float32)], num_rows=0)) == []


def lifts(events, entity_codes, item_codes, seed, items):
    """Features of one seed with some items; the window is 10."""
    found = ColumnLifts(interactions(events), entity_codes, item_codes, 4, window_s=10)
    priors = make(events, window_s=10, num_items=4)
    entity, time = (np.array([value]) for value in seed)
    past = Past(priors.events, entity, time, 10)
    rows = found(past, entity, time, np.zeros(len(items), np.int64), np.array(items))
    return [dict(zip(COLUMN_FEATURES, row.tolist(), strict=True)) for row in rows]


def test_alike_by_hand():
    """Users 0 and 1 are alike, 2 and 3 too. Now is 100; user 1 took items 0 and 2, users 2 and 3 item 1."""
    events = [(1, 0, 95), (2, 1, 96), (3, 1, 97), (1, 2, 50), (1, 2, 98)]
    half = np.array([0, 0, 1, 1])
    zero, one, two = lifts(events, [half], [], (0, 100), [0, 1, 2])
    assert zero["alike_lift_window"] == pytest.approx(math.log((1 + 10) / (1 * 1 / 3 + 10)))
    assert zero["alike_lift"] == pytest.approx(math.log((1 + 10) / (1 * 2 / 4 + 10)))
    assert one["alike_lift"] == pytest.approx(math.log((0 + 10) / (2 * 2 / 4 + 10)))
    assert two["alike_lift_window"] == 0, "it was met long before"
    assert two["alike_lift"] == zero["alike_lift"]
    assert zero["taste_lift_half_life_inf"] == 0, "no item columns"


def test_own_events_say_nothing_about_users_alike():
    own = [(0, 0, time) for time in range(90, 99)]
    assert lifts(own, [np.array([0, 1, 1, 1])], [], (0, 100), [0, 1]) == (
        lifts([], [np.array([0, 1, 1, 1])], [], (0, 100), [0, 1]))


def test_taste_by_hand():
    """Items 0 and 1 are of one kind, 2 and 3 of another; the user took 0, long ago, and everybody 2."""
    events = [(0, 0, 80), (1, 2, 90), (2, 2, 91), (3, 2, 92)]
    kind = np.array([0, 0, 1, 1])
    same, other = lifts(events, [], [kind], (0, 100), [1, 3])
    assert same["taste_lift_half_life_inf"] == pytest.approx(math.log((1 / 0.25 + 20) / 21))
    assert same["taste_lift_half_life_2"] == pytest.approx(math.log((0.5 / 0.25 + 20) / 20.5))
    assert other["taste_lift_half_life_inf"] == pytest.approx(math.log(20 / 21))


def test_a_value_that_nobody_met_says_nothing():
    (value,) = lifts([(0, 0, 80)], [], [np.array([0, 0, 0, 1])], (0, 100), [3])
    assert value["taste_lift_half_life_inf"] == 0


def test_a_column_that_is_too_wide_to_pack_stays_out():
    events = [(0, 0, 0), (1, 1, 2**60)]
    code = np.array([0, 1, 1, 1])
    (value,) = lifts(events, [code], [], (0, 2**60), [1])
    assert value["alike_lift"] == 0
