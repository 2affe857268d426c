"""Which columns are read, and what they say in cases that a reader can check by head."""

from __future__ import annotations

import math

import numpy as np
import pytest

from model_core.graph.temporal_graph import UNTIMED, TableColumns
from model_core.priors import columns
from model_core.priors import past as past_module
from model_core.priors.columns import COLUMN_FEATURES, ColumnLifts, codes
from model_core.priors.past import Past
from tests.priors.worlds import interactions, make


def table(category=(), number=(), num_rows=16):
    return TableColumns(
        np.stack(number, axis=1) if number else np.zeros((num_rows, 0), np.float32),
        np.stack(category, axis=1) if category else np.zeros((num_rows, 0), np.int64),
        np.zeros((num_rows, 0), np.float32), (), (), (), ())


ALL = np.ones(16, dtype=bool)


def test_categories_stay_and_numbers_become_ranges_of_equal_size():
    number = np.random.default_rng(0).permutation(16).astype(np.float32)
    category, ranges = codes(table([np.arange(16) % 3], [number]), ALL)
    assert category.tolist() == (np.arange(16) % 3).tolist()
    assert np.bincount(ranges).tolist() == [2] * 8
    assert (np.diff(ranges[np.argsort(number)]) >= 0).all()


def test_columns_that_tell_few_rows_apart_and_columns_beyond_the_most_stay_out(monkeypatch):
    monkeypatch.setattr(columns, "MAX_COLUMNS", 2)
    nearly_all = np.repeat([0, 1, 2], [13, 2, 1])
    found = codes(table([np.zeros(16, np.int64), nearly_all, np.arange(16) % 2, np.arange(16) % 4],
                        [np.arange(16, dtype=np.float32)]), ALL)
    assert [len(np.unique(code)) for code in found] == [2, 4]


def test_a_table_without_rows_or_columns_has_none():
    assert codes(table(), ALL) == []
    empty = table([np.zeros(0, np.int64)], [np.zeros(0, np.float32)], num_rows=0)
    assert codes(empty, np.zeros(0, dtype=bool)) == []


@pytest.mark.parametrize("later", [0, 100, 500])
def test_later_rows_change_neither_ranges_nor_choice(later):
    """Rows that are not fitted on get codes, and move nobody else's."""
    def with_later(value):
        category = np.concatenate([np.arange(16) % 2, np.full(later, value)])
        number = np.concatenate([np.arange(16), np.full(later, value)]).astype(np.float32)
        fit = np.arange(16 + later) < 16
        return [code[:16].tolist() for code in codes(table([category], [number], 16 + later), fit)]

    expected = [code.tolist() for code in codes(
        table([np.arange(16) % 2], [np.arange(16, dtype=np.float32)]), ALL)]
    assert len(expected) == 2
    assert with_later(0) == with_later(7) == expected


def lifts(events, entity_codes, item_codes, seed, items, born=UNTIMED):
    """Features of one seed with some items; the window is 10."""
    num_items = max([3, *items]) + 1
    found = ColumnLifts(interactions(events), entity_codes, item_codes, np.full(4, born), num_items,
                        window_s=10)
    priors = make(events, window_s=10, num_items=num_items)
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


def test_a_taste_has_a_limit():
    """500 own items of a kind that 500 others avoid: the log ratio alone would be above 0.6."""
    own = [(0, item, item) for item in range(500)]
    others = [(user, 500 + item, item) for user in (1, 2, 3) for item in range(500)]
    kind = np.repeat([0, 1], 500)
    (value,) = lifts(own + others, [], [kind], (0, 1_000), [999])
    assert value["taste_lift_half_life_inf"] == pytest.approx(-3), "log(20 / 520) is -3.26"


def test_a_column_that_is_too_wide_to_pack_stays_out(monkeypatch):
    events, code = [(1, 0, 95), (2, 1, 96)], np.array([0, 0, 1, 1])
    assert lifts(events, [code], [], (0, 100), [0])[0]["alike_lift"] > 0
    monkeypatch.setattr(columns, "MAX_PAIR_KEYS", 2 * 4 - 1)
    assert lifts(events, [code], [], (0, 100), [0])[0]["alike_lift"] == 0


def test_a_user_that_has_not_appeared_has_no_columns():
    events, code = [(1, 0, 95), (2, 1, 96)], np.array([0, 0, 1, 1])
    seen, unseen = (lifts(events, [code], [], (0, 100), [0], born)[0] for born in (100, 101))
    assert seen["alike_lift"] > 0
    assert unseen["alike_lift"] == unseen["alike_lift_window"] == 0


@pytest.mark.parametrize("most", [1, 5, 40])
def test_a_past_that_is_cut_leaves_finite_features(most, monkeypatch):
    """What is read of a till's account looks new, more than everything else in the window."""
    monkeypatch.setattr(past_module, "MAX_EVENTS", most)
    till = [(0, item, 0) for item in range(30)] + [(0, n % 30, 91 + n % 9) for n in range(100)]
    events = [*till, (1, 30, 95), (2, 30, 96), (3, 31, 97)]
    found = lifts(events, [np.array([0, 0, 1, 1])], [np.arange(32) % 2], (0, 100), list(range(32)))
    assert np.isfinite([list(row.values()) for row in found]).all()


def test_moments_of_one_batch_do_not_mix():
    events = [(1, 0, 5), (2, 1, 15), (1, 1, 25), (3, 0, 26)]
    code = [np.array([0, 0, 1, 1])]
    found = ColumnLifts(interactions(events), code, code, np.full(4, UNTIMED), 4, window_s=10)
    index = make(events, window_s=10, num_items=4).events
    entity, time = np.array([0, 0, 0]), np.array([30, 10, 20])
    seed, item = np.array([0, 0, 1, 1, 2, 2]), np.array([0, 1, 0, 1, 0, 1])
    together = found(Past(index, entity, time, 10), entity, time, seed, item)
    for number in range(3):
        one = slice(number, number + 1)
        alone = found(Past(index, entity[one], time[one], 10), entity[one], time[one],
                      np.zeros(2, np.int64), np.array([0, 1]))
        assert np.array_equal(together[2 * number : 2 * number + 2], alone)
