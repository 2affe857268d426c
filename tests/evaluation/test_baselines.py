"""Baselines against slow definitions in plain Python; nothing later than the seed time counts."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model_core.config import EvaluateConfig
from model_core.evaluation.baselines import BASELINES
from model_core.evaluation.baselines.per_time import PerTimeScorer
from tests.factories import make_seeds, make_shop

NUM_USERS, NUM_ITEMS, WINDOW = 5, 7, 4
CONFIG = EvaluateConfig(num_knn_neighbors=3)
SPLIT = SimpleNamespace(window_s=WINDOW, eval_k=3, val=make_seeds([(0, 3, [1, 2]), (3, 3, [5])]))

events = st.lists(
    st.tuples(st.integers(0, NUM_USERS - 1), st.integers(0, NUM_ITEMS - 1), st.integers(0, 12)),
    max_size=40,
).map(lambda found: sorted(set(found), key=lambda e: (e[2], e[0], e[1])))


def scores_of(name, happened, user, t, config=CONFIG):
    scorer = BASELINES[name](make_shop(happened, NUM_USERS, NUM_ITEMS), SPLIT, config)
    return scorer(torch.tensor([user]), torch.tensor([t]))[0]


def order(scores):
    return sorted(range(NUM_ITEMS), key=lambda i: (-float(scores[i]), i))


def popular_key(happened, t):
    window = Counter(i for _, i, when in happened if t - WINDOW < when <= t)
    ever = Counter(i for _, i, when in happened if when <= t)
    return lambda item: (-window[item], -ever[item])


@settings(max_examples=40, deadline=None)
@given(events, st.integers(-1, 13))
def test_popularity_counts_everything_so_far(happened, t):
    counts = Counter(i for _, i, when in happened if when <= t)
    assert scores_of("popularity", happened, 0, t).tolist() == [counts[i] for i in range(NUM_ITEMS)]


@settings(max_examples=40, deadline=None)
@given(events, st.integers(-1, 13), st.sampled_from([None, 1e-5, 3.0]))
def test_recent_popularity_halves_every_half_life(happened, t, half_life_days):
    found = scores_of("recent_popularity", happened, 0, t, EvaluateConfig(half_life_days=half_life_days))
    half_life_s = WINDOW / 4 if half_life_days is None else half_life_days * 86_400
    for item in range(NUM_ITEMS):
        total = sum(2.0 ** ((when - t) / half_life_s) for _, i, when in happened
                    if i == item and when <= t)
        expected = math.log2(total) if total else -2_000.0
        assert float(found[item]) == pytest.approx(expected, abs=1e-4)


@settings(max_examples=60, deadline=None)
@given(events, st.integers(0, NUM_USERS - 1), st.integers(-1, 13))
def test_past_then_popular_lists_own_items_first(happened, user, t):
    own = [(i, when) for u, i, when in happened if u == user and when <= t]
    count, last = Counter(i for i, _ in own), defaultdict(lambda: -1)
    for item, when in own:
        last[item] = max(last[item], when)
    popular = popular_key(happened, t)
    expected = sorted(range(NUM_ITEMS),
                      key=lambda i: (-count[i], -last[i], popular(i), i))
    assert order(scores_of("past_then_popular", happened, user, t)) == expected


@settings(max_examples=60, deadline=None)
@given(events, st.integers(0, NUM_USERS - 1), st.integers(-1, 13))
def test_item_knn_sums_cosines_over_the_users_items(happened, user, t):
    users_of = defaultdict(set)
    for who, item, when in happened:
        if when <= t:
            users_of[item].add(who)

    def cosine(a, b):
        return len(users_of[a] & users_of[b]) / math.sqrt(len(users_of[a]) * len(users_of[b]) or 1)

    own = [item for item in range(NUM_ITEMS) if user in users_of[item]]
    expected = [sum(cosine(mine, item) for mine in own if mine != item) for item in range(NUM_ITEMS)]
    # As many neighbours as items: nothing is cut (the cut is tested below).
    found = scores_of("item_knn", happened, user, t, EvaluateConfig(num_knn_neighbors=NUM_ITEMS))
    similar = [item for item in range(NUM_ITEMS) if expected[item] > 0]
    assert [item for item in range(NUM_ITEMS) if float(found[item]) > 0] == similar
    for item in similar:
        assert float(found[item]) == pytest.approx(expected[item], abs=1e-5)
    popular = popular_key(happened, t)
    rest = [item for item in order(found) if item not in similar]
    assert rest == sorted(rest, key=lambda item: (popular(item), item))


@pytest.mark.parametrize("name", BASELINES)
def test_what_happens_after_the_seed_time_changes_no_bit(name):
    rng = np.random.default_rng(0)
    past = [(int(rng.integers(NUM_USERS)), int(rng.integers(NUM_ITEMS)), int(rng.integers(8)))
            for _ in range(30)]
    futures = [[(int(rng.integers(NUM_USERS)), int(rng.integers(NUM_ITEMS)), 8 + int(rng.integers(5)))
                for _ in range(30)] for _ in range(2)]
    users, time = torch.arange(NUM_USERS), torch.full((NUM_USERS,), 7)
    first, second = (
        BASELINES[name](make_shop(past + future, NUM_USERS, NUM_ITEMS), SPLIT, CONFIG)(users, time)
        for future in futures
    )
    assert torch.equal(first, second)
    later = BASELINES[name](make_shop(past + futures[0], NUM_USERS, NUM_ITEMS), SPLIT, CONFIG)(
        users, time + 5)
    assert not torch.equal(first, later)  # the canary could sing


@pytest.mark.parametrize("name", BASELINES)
def test_mixed_times_in_one_block_are_scored_apart(name):
    happened = [(u % NUM_USERS, (u * u) % NUM_ITEMS, u % 12) for u in range(40)]
    scorer = BASELINES[name](make_shop(happened, NUM_USERS, NUM_ITEMS), SPLIT, CONFIG)
    entity = torch.tensor([0, 1, 2, 0, 4, 3, 1, 2, 2])
    time = torch.tensor([9, 1, 9, 3, 0, 5, 7, 1, 11])
    block = scorer(entity, time)
    assert block.dtype == torch.float32
    assert torch.isfinite(block).all()
    for row in range(len(entity)):
        assert torch.equal(block[row], scorer(entity[row : row + 1], time[row : row + 1])[0])


def test_knowledge_is_built_once_per_time():
    built = []

    def prepare(known, time):
        built.append(time)
        return lambda entity: np.zeros((len(entity), 3), dtype=np.float32)

    graph = make_shop([(0, 0, 1), (1, 1, 5)], 2, 3)
    scorer = PerTimeScorer(graph.interactions, 3, prepare)
    for _ in range(3):
        scorer(torch.tensor([0, 1]), torch.tensor([2, 6]))
    assert built == [2, 6]
