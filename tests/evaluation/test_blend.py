"""The blend against its definition in plain Python; its fit against what it claims."""

from __future__ import annotations

import math
from collections import defaultdict
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model_core.config import EvaluateConfig
from model_core.evaluation.baselines import BASELINES, blend_fit
from model_core.evaluation.baselines.blend import BlendScorer
from model_core.evaluation.baselines.blend_signals import DEFAULT, BlendWeights, KnownSignals
from model_core.evaluation.baselines.neighbors import shared_neighbors
from model_core.evaluation.validation import mean_metric
from tests.factories import make_seeds, make_shop, with_targets

NUM_USERS, NUM_ITEMS, WINDOW = 5, 7, 4

events = st.lists(
    st.tuples(st.integers(0, NUM_USERS - 1), st.integers(0, NUM_ITEMS - 1), st.integers(0, 12)),
    max_size=40,
).map(lambda found: sorted(set(found), key=lambda e: (e[2], e[0], e[1])))
all_weights = st.builds(
    BlendWeights, own=st.sampled_from([0.0, 1.0]), popular=st.sampled_from([0.001, 0.5]),
    similar=st.sampled_from([0.0, 2.0]), own_half_life=st.sampled_from([0.25, 16.0]),
    popular_half_life=st.sampled_from([0.25, 16.0]), repeats=st.booleans(),
    similar_repeats=st.booleans())


def blend_of(graph, weights):
    neighbors = shared_neighbors(graph, NUM_ITEMS)  # as many as items: nothing is cut
    return BlendScorer(
        graph, lambda known, time: KnownSignals(known, time, WINDOW, neighbors, graph.num_items), weights, {})


def slow_scores(happened, user, t, weights):
    """The definition, one event at a time."""
    happened = [event for event in happened if event[2] <= t]
    users_of, own, sold = defaultdict(set), defaultdict(float), defaultdict(float)
    for who, item, when in happened:
        users_of[item].add(who)
        sold[item] += 2.0 ** ((when - t) / WINDOW / weights.popular_half_life)
        if who == user:
            own[item] += 2.0 ** ((when - t) / WINDOW / weights.own_half_life)

    def cosine(a, b):
        return len(users_of[a] & users_of[b]) / math.sqrt(len(users_of[a]) * len(users_of[b]) or 1)

    scores = []
    for item in range(NUM_ITEMS):
        near = sum(count * cosine(mine, item) for mine, count in own.items() if mine != item)
        if item in own and not weights.similar_repeats:
            near = 0.0
        scores.append(weights.own * own.get(item, 0.0) ** (1 / 3) + weights.similar * near ** (1 / 3)
                      + weights.popular * sold.get(item, 0.0) / max(sold.values(), default=1.0))
    return scores, set(own)


@settings(max_examples=60, deadline=None)
@given(events, st.integers(0, NUM_USERS - 1), st.integers(-1, 13), all_weights)
def test_scores_are_those_of_the_definition(happened, user, t, weights):
    scorer = blend_of(make_shop(happened, NUM_USERS, NUM_ITEMS), weights)
    found = scorer(torch.tensor([user]), torch.tensor([t]))[0].numpy()
    expected, own = slow_scores(happened, user, t, weights)
    new = [item for item in range(NUM_ITEMS) if item not in own]
    if weights.repeats:
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    else:
        np.testing.assert_allclose(found[new], np.array(expected)[new], rtol=1e-4, atol=1e-5)
        assert all(found[item] < 0 for item in own)  # behind all others, which have at least 0
        shift = {round(float(found[item]) - expected[item], 3) for item in own}
        assert len(shift) <= 2  # one shift for all, so that they keep their order (2: rounding)


def random_shop(seed, num_users=40, num_items=30, repeats=True):
    """Users who meet their four favourites again and again, or each item of their taste at most once."""
    rng = np.random.default_rng(seed)
    happened, val = [], []
    for user in range(num_users):
        liked = rng.permutation(num_items // 2) + num_items // 2 * (user % 2)  # one of two tastes
        for time in range(1, 13):
            item = rng.choice(liked[:4]) if repeats else liked[time]
            happened.append((user, int(item), time))
        val.append((user, 8, sorted({item for u, item, time in happened if u == user and 8 < time <= 12})))
    split = SimpleNamespace(window_s=WINDOW, eval_k=3, val=make_seeds(val))
    return happened, split, num_users, num_items


def fitted(happened, split, num_users, num_items):
    return BASELINES["blend"](make_shop(happened, num_users, num_items), split, EvaluateConfig())


@pytest.mark.parametrize("repeats", [True, False])
def test_the_fit_has_the_map_it_claims_and_beats_its_starts(repeats):
    shop = random_shop(0, repeats=repeats)
    split, num_items = shop[1], shop[3]
    scorer = fitted(*shop)
    found = mean_metric(scorer, split.val, num_items, k=split.eval_k)
    assert scorer.facts["fitted_map"] == pytest.approx(found, abs=1e-9)
    graph = make_shop(shop[0], shop[2], num_items)
    for start in blend_fit._STARTS:
        assert mean_metric(blend_of(graph, start), split.val, num_items, k=split.eval_k) <= found + 1e-9
    assert scorer.facts["fitted_on_rows"] == len(split.val)


def test_it_learns_whether_people_come_back():
    coming_back, never = fitted(*random_shop(1)), fitted(*random_shop(1, repeats=False))
    assert coming_back.weights.repeats
    assert coming_back.weights.own > 0
    assert not never.weights.repeats
    assert never.weights.similar > 0


def test_the_fit_knows_nothing_later_than_the_validation_window():
    happened, split, *size = random_shop(2)
    first = fitted(happened, split, *size)
    later = [(u, (7 * u) % size[1], 9 + u % 4) for u in range(size[0])]
    second = fitted([e for e in happened if e[2] <= 8] + later, split, *size)
    assert first.weights == second.weights
    assert first.facts == second.facts
    shuffled = SimpleNamespace(**vars(split) | {"test": make_seeds([(0, 12, [1])])})
    assert fitted(happened, shuffled, *size).facts == first.facts


def test_other_labels_give_other_settings():
    happened, split, num_users, num_items = random_shop(3)
    rare = make_seeds([(u, 8, [num_items - 1]) for u in range(num_users)])
    other = fitted([*happened, (0, num_items - 1, 8)], SimpleNamespace(**vars(split) | {"val": rare}),
                   num_users, num_items)
    assert other.weights != fitted(happened, split, num_users, num_items).weights


def test_it_chooses_whether_other_behaviour_counts():
    """Views at random beside purchases only blur; where there are no purchases but views, these are read."""
    happened, split, num_users, num_items = random_shop(1)
    rng = np.random.default_rng(0)
    views = {(int(rng.integers(num_users)), int(rng.integers(num_items)), int(rng.integers(1, 9)))
             for _ in range(6 * len(happened))} - set(happened)
    both = sorted({*happened, *views}, key=lambda event: (event[2], event[0], event[1]))
    graph = make_shop(both, num_users, num_items)
    bought = np.array([event in set(happened) for event in both])
    found = BASELINES["blend"](with_targets(graph, bought), split, EvaluateConfig())
    alone = fitted(happened, split, num_users, num_items)
    assert found.weights == alone.weights
    assert found.facts == alone.facts | {"events": "those of the labels' kind"}
    assert mean_metric(found, split.val, num_items, k=split.eval_k) == found.facts["fitted_map"]
    assert found.facts["fitted_map"] > fitted(both, split, num_users, num_items).facts["fitted_map"]
    few = BASELINES["blend"](with_targets(make_shop(happened, num_users, num_items), np.arange(
        len(happened)) < 1), split, EvaluateConfig())
    assert few.facts["events"] == "all"
    assert few.facts["fitted_map"] == alone.facts["fitted_map"]


def test_without_targets_the_defaults_hold():
    happened, split, *size = random_shop(4)
    for val in (make_seeds([]), make_seeds([(0, 8, []), (1, 8, [])])):
        scorer = fitted(happened, SimpleNamespace(**vars(split) | {"val": val}), *size)
        assert scorer.weights == DEFAULT
        assert scorer.facts["fitted_on_rows"] == 0
        assert scorer.facts["fitted_map"] is None


def test_the_fit_is_the_same_whatever_the_blocks(monkeypatch):
    shop = random_shop(5)
    whole = fitted(*shop).facts
    monkeypatch.setattr(blend_fit, "_BLOCK_CELLS", 7 * 30)
    assert fitted(*shop).facts == whole


def test_rows_are_evenly_chosen_and_capped(monkeypatch):
    shop = random_shop(6)
    monkeypatch.setattr(blend_fit, "_MOST_ROWS", 9)
    monkeypatch.setattr(blend_fit, "_FEWEST_ROWS", 3)
    assert fitted(*shop).facts["fitted_on_rows"] == 9
    monkeypatch.setattr(blend_fit, "_MAX_CELLS", 30)
    assert fitted(*shop).facts["fitted_on_rows"] == 3


def test_rows_at_several_times_are_each_fitted_as_of_their_own():
    happened, split, num_users, num_items = random_shop(7)
    early = make_seeds([(u, 4, [i for w, i, t in happened if w == u and 4 < t <= 8])
                        for u in range(0, num_users, 3)])
    both = make_seeds([(int(s.entity[r]), int(s.time[r]), s.items_of(r).tolist())
                       for s in (early, split.val) for r in range(len(s))])
    mixed = SimpleNamespace(**vars(split) | {"val": both})
    scorer = fitted(happened, mixed, num_users, num_items)
    assert scorer.facts["fitted_map"] == pytest.approx(
        mean_metric(scorer, both, num_items, k=split.eval_k), abs=1e-9)
