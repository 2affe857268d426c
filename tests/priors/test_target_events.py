"""Events of the labels' own kind, told apart from what users do otherwise."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from model_core.priors import past
from model_core.priors.build import make_priors
from model_core.priors.features import FEATURES, TARGET_FEATURES, feature_names
from tests.factories import make_shop, with_targets
from tests.priors import reference
from tests.priors.reference import Past
from tests.priors.worlds import EVENTS, SEEDS, WINDOWS, ask, assert_equal, make, of_seed, ordered

TOLERANCE = {"rtol": 1e-3, "atol": 1e-4}


@settings(max_examples=80, deadline=None)
@given(EVENTS, st.randoms(use_true_random=False), SEEDS, WINDOWS)
def test_target_features_are_those_of_the_target_events(events, random, seeds, window_s):
    events = ordered(events)
    targets = [event for event in events if random.random() < 0.5]
    found = ask(make(events, window_s, targets=targets), seeds)
    plain = ask(make(events, window_s), seeds)
    assert np.array_equal(found.seed, plain.seed)
    assert np.array_equal(found.item, plain.item)
    assert np.array_equal(found.feature[:, : len(FEATURES)], plain.feature)
    assert feature_names(True) == FEATURES + TARGET_FEATURES
    for number, (entity, time) in enumerate(seeds):
        mine_past = Past.of(targets, (entity, time), window_s, 10**9)
        mine = of_seed(found, number)
        for item, row in zip(mine.item.tolist(), mine.feature[:, len(FEATURES) :], strict=True):
            expected = reference.pair_features(mine_past, item)
            assert sorted(f"target_{name}" for name in expected) == sorted(TARGET_FEATURES)
            for name, value in zip(TARGET_FEATURES, row.tolist(), strict=True):
                np.testing.assert_allclose(value, expected[name.removeprefix("target_")], **TOLERANCE,
                                           err_msg=name)


@settings(max_examples=60, deadline=None)
@given(EVENTS, EVENTS, st.integers(-8, 45), SEEDS, WINDOWS)
def test_no_later_target_changes_anything(events, later, bound, seeds, window_s):
    seeds = [(entity, min(time, bound)) for entity, time in seeds]
    known = [event for event in events if event[2] <= bound]
    future = [event for event in later if event[2] > bound]
    one = make([*known, *future], window_s, targets=[*known[::2], *future])
    assert_equal(ask(one, seeds), ask(make(known, window_s, targets=known[::2]), seeds))


def test_a_user_without_target_events_has_none():
    """A visitor who only looks: the plain features know the views, the target features nothing."""
    views = [(0, 1, 5), (0, 1, 8), (1, 2, 6)]
    found = ask(make(views, targets=[(1, 2, 6)]), [(0, 10)])
    value = dict(zip(feature_names(True), found.feature[found.item.tolist().index(1)].tolist(), strict=True))
    assert value["pair_count"] > 1
    assert value["user_known"] == 1
    assert all(value[name] == 0 for name in ("target_pair_met", "target_pair_count"))


def test_a_purchase_before_very_many_views_is_not_lost(monkeypatch):
    monkeypatch.setattr(past, "MAX_EVENTS", 2)
    views, purchase = [(0, 1, 5), (0, 2, 6), (0, 1, 7)], (0, 5, 1)
    found = ask(make([*views, purchase], num_similar=0, num_popular=0, num_following=0,
                     targets=[purchase]), [(0, 10)])
    assert found.item.tolist() == [1, 2, 5]
    value = [dict(zip(feature_names(True), row, strict=True)) for row in found.feature.tolist()]
    assert [row["pair_met"] for row in value] == [1, 1, 0]
    assert [row["target_pair_met"] for row in value] == [0, 0, 1]


def test_they_can_be_left_empty():
    views = [(0, 1, 5), (0, 1, 8), (1, 2, 6)]
    graph = with_targets(make_shop(views, 2, 3), np.array([True, False, True]))
    seeds = np.array([0, 1]), np.array([10, 10])
    settings = {"window_s": 10, "num_similar": 2, "num_popular": 2}
    read, empty = (make_priors(graph, **settings, targets=targets)(*seeds) for targets in (True, False))
    assert read.feature.shape == empty.feature.shape == (len(read.item), len(feature_names(True)))
    assert np.array_equal(read.feature[:, : len(FEATURES)], empty.feature[:, : len(FEATURES)])
    assert read.feature[:, len(FEATURES) :].std(axis=0).any()
    assert not empty.feature[:, len(FEATURES) :].std(axis=0).any()
