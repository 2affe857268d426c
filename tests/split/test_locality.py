"""Locality against a row-by-row reference."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_core.split import locality
from model_core.split.locality import locality_scores
from tests.factories import make_seeds


def snapshot(num_users, num_items):
    tables = {"users": SimpleNamespace(num_rows=num_users), "items": SimpleNamespace(num_rows=num_items)}
    return SimpleNamespace(tables=tables, task=SimpleNamespace(entity_table="users", item_table="items"))


def triples(events):
    events = sorted(events, key=lambda e: (e[2], e[0], e[1]))
    return tuple(np.array([e[i] for e in events], dtype=np.int64) for i in range(3))


def slow_scores(events, rows):
    shares = []
    for entity, time, items in rows:
        past = {(u, i) for u, i, at in events if at <= time}
        own = {i for u, i in past if u == entity}
        users = {u for u, i in past if i in own}
        near = {i for u, i in past if u in users}
        truth = set(items)
        shares.append((len(truth & own) / len(truth), len(truth & near) / len(truth)))
    return np.mean(shares, axis=0)


def test_one_user_by_hand():
    """User 0 bought 0; user 1 bought 0 and 1; user 2 bought 2; user 1 buys 3 too late."""
    events = [(0, 0, 1), (1, 0, 2), (1, 1, 3), (2, 2, 3), (1, 3, 6)]
    seeds = {"test": make_seeds([(0, 5, [0, 1, 2, 3])])}
    scores = locality_scores(snapshot(3, 4), seeds, triples(events), 10)["test"]
    assert scores == {"s_1": 0.25, "s_2": 0.25, "s_3": 0.5, "num_rows": 1.0}


@settings(max_examples=60, deadline=None)
@given(
    st.sets(st.tuples(st.integers(0, 4), st.integers(0, 5), st.integers(0, 6)), max_size=25),
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 6), st.sets(st.integers(0, 5), min_size=1)),
             min_size=1, max_size=8, unique_by=lambda row: row[:2]),
    st.sampled_from([1, 7, 10**6]),
)
def test_equals_the_slow_reference(events, rows, cells):
    before, locality.MAX_BLOCK_CELLS = locality.MAX_BLOCK_CELLS, cells
    try:
        scores = locality_scores(snapshot(5, 6), {"val": make_seeds(rows)}, triples(events), 100)["val"]
    finally:
        locality.MAX_BLOCK_CELLS = before
    assert (scores["s_1"], scores["s_3"]) == pytest.approx(tuple(slow_scores(events, rows)))


def test_a_sample_is_even_bounded_and_always_the_same():
    rows = [(user, time, [0]) for time in range(100) for user in range(5)]
    sample = locality._sample(make_seeds(rows), 48)
    assert len(sample) == 48
    assert len(np.unique(sample.time)) == locality.MAX_SEED_TIMES
    assert (sample.entity[-1], sample.time[-1]) == (4, 99)
    again = locality._sample(make_seeds(rows), 48)
    assert (again.time == sample.time).all()
