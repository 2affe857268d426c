"""What candidates must never depend on: the future, the rest of the batch, earlier questions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_core.graph.temporal_graph import Interactions
from model_core.priors import build, features
from model_core.priors.build import make_priors, num_followers, thinned
from model_core.priors.event_values import value_columns
from model_core.priors.features import FEATURES, Candidates
from tests.factories import DAY, Rows, make_graph
from tests.priors.worlds import (
    EVENTS,
    NUM_ENTITIES,
    NUM_ITEMS,
    SEEDS,
    WINDOWS,
    ask,
    assert_equal,
    code_columns,
    event_values,
    make,
    of_seed,
    ordered,
)

TIME = st.integers(-8, 45)


@settings(max_examples=120, deadline=None)
@given(EVENTS, EVENTS, TIME, SEEDS, WINDOWS, st.one_of(st.none(), st.lists(TIME, max_size=4)))
def test_nothing_later_than_the_seed_changes_anything(events, later, bound, seeds, window_s, allowed):
    """The canary: everything after the bound is replaced by something else."""
    seeds = [(entity, min(time, bound)) for entity, time in seeds]
    known = [event for event in events if event[2] <= bound]
    one, other = (
        make([*known, *(event for event in future if event[2] > bound)], window_s, allowed=allowed)
        for future in (events, later))
    assert_equal(ask(one, seeds), ask(other, seeds))
    assert_equal(ask(make(known, window_s, allowed=allowed), seeds), ask(other, seeds))


def test_the_canary_can_die():
    """An event at the seed time itself is known, one a second later is not."""
    events, seeds = [(0, 0, 10), (1, 1, 12)], [(0, 20)]
    plain = ask(make(events), seeds)
    assert_equal(ask(make([*events, (1, 0, 21)]), seeds), plain)
    changed = ask(make([*events, (1, 0, 20)]), seeds)
    assert not np.array_equal(changed.feature, plain.feature)


@settings(max_examples=80, deadline=None)
@given(EVENTS, SEEDS, WINDOWS)
def test_a_seed_alone_is_the_seed_in_a_batch(events, seeds, window_s):
    priors = make(events, window_s)
    whole = ask(priors, seeds)
    for number, seed in enumerate(seeds):
        assert_equal(of_seed(whole, number), ask(priors, [seed]))
        assert_equal(of_seed(whole, number), ask(make(events, window_s), [seed]))


@settings(max_examples=60, deadline=None)
@given(EVENTS, SEEDS, WINDOWS, st.randoms(use_true_random=False))
def test_the_order_of_seeds_and_of_questions_does_not_matter(events, seeds, window_s, random):
    whole = ask(make(events, window_s), seeds)
    order = list(range(len(seeds)))
    random.shuffle(order)
    priors = make(events, window_s)
    ask(priors, [(entity, time + 3) for entity, time in seeds])  # later times are asked for first
    turned = ask(priors, [seeds[number] for number in order])
    for place, number in enumerate(order):
        assert_equal(of_seed(turned, place), of_seed(whole, number))


@settings(max_examples=60, deadline=None)
@given(EVENTS, SEEDS, st.integers(-(2**40), 2**40))
def test_only_differences_of_times_count(events, seeds, shift):
    moved = make([(e, i, t + shift) for e, i, t in events])
    assert_equal(ask(moved, [(e, t + shift) for e, t in seeds]), ask(make(events), seeds))


@pytest.mark.parametrize(("num_similar", "num_popular"), [(3, 2), (0, 2), (1, 0), (0, 0), (100, 100)])
@pytest.mark.parametrize("events", [[], [(0, 0, 0)], [(0, 0, 0), (0, 1, 1)], [(0, 0, 0), (1, 0, 0)],
                                    [(0, 0, 30), (1, 1, 30)]])
def test_little_or_nothing_to_know(events, num_similar, num_popular):
    """No events, one, no neighbours, one item; users without history; no seeds at all."""
    seeds = [(0, -1), (0, 0), (3, 5), (0, 30), (2, 1_000)]
    found = ask(make(events, 10, num_similar, num_popular), seeds)
    assert found.feature.shape == (len(found.item), len(FEATURES))
    assert np.isfinite(found.feature).all()
    own = {(number, item) for number, (user, time) in enumerate(seeds)
           for entity, item, when in events if entity == user and when <= time}
    pairs = set(zip(found.seed.tolist(), found.item.tolist(), strict=True))
    assert own <= pairs
    if num_similar == num_popular == 0:
        assert own == pairs
    assert_equal(ask(make(events, 10, num_similar, num_popular), []), Candidates.none())


def test_popular_items_are_those_of_the_last_window_only():
    events = [(0, 0, 5), (1, 0, 6), (2, 0, 7), (0, 1, 15), (1, 2, 20), (2, 2, 12), (3, 3, 20)]
    found = ask(make(events, 10, num_similar=0, num_popular=2), [(3, 11), (3, 20), (3, 21), (3, 40)])
    by_seed = [of_seed(found, number).item.tolist() for number in range(4)]
    # At 20: item 2 twice; 1 and 3 once, both known once in all, so the smaller row.
    assert by_seed == [[0], [1, 2, 3], [1, 2, 3], [3]]


def test_popularity_ties_fall_by_all_history_first():
    events = [(0, 5, 1), (1, 4, 15), (2, 5, 15)]
    found = ask(make(events, 10, num_similar=0, num_popular=1), [(3, 20)])
    assert found.item.tolist() == [5]


def test_of_a_graph_in_both_forms(tmp_path):
    rng = np.random.default_rng(0)
    rows = np.unique(rng.integers(0, [NUM_ENTITIES, NUM_ITEMS, 100], (60, 3)), axis=0)
    events = [(int(u), int(i), int(t) * DAY) for u, i, t in rows]
    by_time = sorted(events, key=lambda event: event[2])
    user, item, time = np.array(by_time).T
    of_event = event_values(ordered(events), gaps=False)
    number = np.array([of_event[event] for event in by_time])
    graph = make_graph(
        {
            "users": Rows(NUM_ENTITIES, category=np.stack(code_columns(NUM_ENTITIES), axis=1)),
            "items": Rows(NUM_ITEMS, category=np.stack(code_columns(NUM_ITEMS), axis=1)),
            "events": Rows(len(events), time, {
                "user_id": ("users", user), "item_id": ("items", item)}, number),
        }, "users", "items", events)
    seeds = [(0, 50 * DAY), (3, 99 * DAY)]
    expected = ask(make(events, 10 * DAY, gaps=False), seeds)
    assert len(expected.item)
    for either in (graph, graph.to_torch()):
        priors = make_priors(either, 10 * DAY, 3, 2, values=value_columns(either), num_following=2)
        assert_equal(ask(priors, seeds), expected)
    assert isinstance(graph.to_torch().interactions, Interactions)


@settings(max_examples=80, deadline=None)
@given(st.lists(st.integers(-50, 50), min_size=1, max_size=60), st.integers(2, 10))
def test_thinned_times(times, most):
    found = thinned(np.array(times), most).tolist()
    assert set(found) <= set(times)
    assert found == sorted(set(found))
    assert len(found) == min(most, len(set(times)))
    assert found[0] == min(times)


@pytest.mark.parametrize("half_life", [4.0, 8.0, None])
@pytest.mark.parametrize("number", [24, 104, 250])
def test_thinned_times_are_newer_for_rows_that_count_than_even_ones(number, half_life):
    time = np.arange(number)
    weight = np.ones(number) if half_life is None else np.exp2((time - number) / half_life)

    def behind(snapshots):
        seen = snapshots[np.searchsorted(snapshots, time, side="right") - 1]
        return ((time - seen) * weight).sum() / weight.sum()

    for most in (2, 3, 4, 6, 8, 16, 32):
        even = np.unique(np.round(np.linspace(0, number - 1, min(most, number))).astype(int))
        found = behind(thinned(time, most, half_life))
        assert found <= behind(even) + (0 if half_life else 2), most
        if half_life and number > 100:
            assert found <= behind(even) / 2, most


def test_thinned_to_one_and_of_nothing():
    assert thinned(np.array([3, 9, 4]), most=1).tolist() == [3]
    assert thinned(np.zeros(0, dtype=np.int64)).tolist() == []


@settings(max_examples=30, deadline=None)
@given(EVENTS, SEEDS)
def test_forgotten_popularity_is_counted_again(events, seeds):
    whole = ask(make(events), seeds)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(features, "MAX_KEPT_TIMES", 1)
        priors = make(events)
        for _ in range(2):
            assert_equal(ask(priors, seeds), whole)
        assert len(priors._popular) <= 1


def test_followers_have_room_in_large_catalogues(monkeypatch):
    assert [num_followers(n, 40) for n in (0, 4_000, 800_000, 3_000_000, 10**9)] == [80, 80, 80, 22, 8]
    assert num_followers(10**9, 3) == 6  # never more than asked for
    assert num_followers(10, 0) == 0
    events = [(0, item, time) for time in (0, 15) for item in range(20)]
    user, item, time = np.array(events).T
    keys = {"user_id": ("users", user), "item_id": ("items", item)}
    graph = make_graph({"users": Rows(1), "items": Rows(20), "events": Rows(len(events), time, keys)},
                       "users", "items", events)
    for room, kept in ((2**30, 12), (2 * 8 * 20 * 9, 9), (1, 8)):
        monkeypatch.setattr(build, "MAX_SNAPSHOT_BYTES", room)
        priors = make_priors(graph, 10, 0, 0, num_following=6)
        assert np.diff(priors.followers(np.array([20])).ptr).tolist() == [kept] * 20
