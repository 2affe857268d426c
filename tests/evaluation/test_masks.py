"""Masks against one-line definitions on random worlds."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from model_core.evaluation.masks import (
    MASKS,
    SeenMask,
    UnavailableMask,
    keep_targets,
    masked_truth,
)
from tests.factories import Rows, make_graph, make_seeds, make_shop

NUM_USERS, NUM_ITEMS = 4, 6

events = st.lists(
    st.tuples(st.integers(0, NUM_USERS - 1), st.integers(0, NUM_ITEMS - 1), st.integers(0, 9)),
    max_size=25,
)
seed_rows = st.lists(st.tuples(st.integers(0, NUM_USERS - 1), st.integers(-1, 10)), min_size=1,
                     max_size=8)


def pairs(mask, rows):
    entity, time = (np.array([row[i] for row in rows], dtype=np.int64) for i in range(2))
    row, item = mask(entity, time)
    assert row.dtype == item.dtype == np.int64
    return set(zip(row.tolist(), item.tolist(), strict=True))


@settings(max_examples=60, deadline=None)
@given(events, seed_rows)
def test_seen_is_what_the_user_met_by_then(happened, rows):
    mask = SeenMask(make_shop(happened, NUM_USERS, NUM_ITEMS))
    assert pairs(mask, rows) == {
        (place, item) for place, (user, t) in enumerate(rows)
        for who, item, when in happened if who == user and when <= t
    }


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 9), min_size=NUM_ITEMS, max_size=NUM_ITEMS), seed_rows)
def test_unavailable_is_what_is_born_later(births, rows):
    graph = make_graph(
        {"users": Rows(NUM_USERS), "items": Rows(NUM_ITEMS, np.array(births)),
         "events": Rows(0, np.zeros(0), {"u": ("users", np.zeros(0)), "i": ("items", np.zeros(0))})},
        "users", "items",
    )
    assert pairs(UnavailableMask(graph), rows) == {
        (place, item) for place, (_, t) in enumerate(rows)
        for item, born in enumerate(births) if born > t
    }


def test_items_without_time_are_always_available():
    graph = make_shop([(0, 1, 5)], NUM_USERS, NUM_ITEMS)
    assert pairs(UnavailableMask(graph), [(0, -10), (1, 100)]) == set()
    assert pairs(MASKS["none"](graph), [(0, 100)]) == set()


@settings(max_examples=40, deadline=None)
@given(events, st.lists(st.tuples(st.integers(0, NUM_USERS - 1), st.integers(0, 9),
                                  st.lists(st.integers(0, NUM_ITEMS - 1), max_size=4)),
                        max_size=6, unique_by=lambda row: row[:2]))
def test_masked_truth_and_what_is_left_of_it(happened, rows):
    seeds = make_seeds(rows)
    masked = masked_truth(seeds, SeenMask(make_shop(happened, NUM_USERS, NUM_ITEMS)), NUM_ITEMS)
    left = keep_targets(seeds, ~masked)
    assert len(left) == len(seeds)  # a row is never dropped
    for row in range(len(seeds)):
        seen = {item for who, item, when in happened
                if who == seeds.entity[row] and when <= seeds.time[row]}
        assert left.items_of(row).tolist() == [i for i in seeds.items_of(row) if i not in seen]


def test_masked_truth_in_blocks(monkeypatch):
    import model_core.evaluation.masks as masks

    rng = np.random.default_rng(0)
    happened = [(int(rng.integers(4)), int(rng.integers(6)), int(rng.integers(9))) for _ in range(20)]
    seeds = make_seeds([(user, t, [0, 2, 3]) for user in range(4) for t in (2, 5, 8)])
    mask = SeenMask(make_shop(happened, NUM_USERS, NUM_ITEMS))
    whole = masked_truth(seeds, mask, NUM_ITEMS)
    monkeypatch.setattr(masks, "_BLOCK_ROWS", 5)
    assert np.array_equal(masked_truth(seeds, mask, NUM_ITEMS), whole)
    assert whole.any()
