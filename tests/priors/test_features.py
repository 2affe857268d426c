"""Every candidate and every feature against the slow definitions."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_core.priors import co_counts, knn, past
from model_core.priors.features import FEATURES
from tests.priors import reference
from tests.priors.reference import Past
from tests.priors.worlds import EVENTS, NUM_ENTITIES, NUM_ITEMS, SEEDS, WINDOWS, ask, make, of_seed

#: Features are rounded to 16 bits, that is, to one part in 2,048.
TOLERANCE = {"rtol": 1e-3, "atol": 1e-4}


def must_and_may(scores: dict[int, float], count: int) -> tuple[set[int], set[int]]:
    """Items surely among the best ``count`` (with all ties), and those that rounding may add."""
    real = {item: score for item, score in scores.items() if score > 1e-9}
    if count == 0 or not real:
        return set(), set()
    bar = sorted(real.values(), reverse=True)[: count][-1]
    return ({i for i, s in real.items() if s >= bar * (1 + 1e-5) or s == bar},
            {i for i, s in real.items() if s >= bar * (1 - 1e-5)})


def check(events, seeds, window_s, num_similar=3, num_popular=2, num_following=2, max_events=10**9,
          max_items=256, max_items_per_entity=500, **kwargs):
    found = ask(make(events, window_s, num_similar, num_popular, num_following, **kwargs), seeds)
    assert found.feature.shape == (len(found.item), len(FEATURES))
    pairs = list(zip(found.seed.tolist(), found.item.tolist(), strict=True))
    assert pairs == sorted(set(pairs)), "sorted by (seed, item), each pair once"
    for number, (entity, time) in enumerate(seeds):
        near = reference.neighbors(events, time, num_similar, max_items_per_entity)
        following = reference.followers(events, time, 2 * num_following, window_s, max_items_per_entity)
        past = Past.of(events, (entity, time), window_s, max_events)
        mine = of_seed(found, number)
        sure = past.items | set(reference.popular(events, time, window_s, num_popular))
        likely = set(sure)
        for votes, most in ((near, num_similar), (following, num_following)):
            for half_life, count in ((math.inf, most), (8.0, most // 2)):
                must, may = must_and_may(reference.knn_scores(past, votes, half_life, max_items), count)
                sure, likely = sure | must, likely | may
        assert sure <= set(mine.item.tolist()) <= likely
        for item, row in zip(mine.item.tolist(), mine.feature, strict=True):
            expected = {
                **reference.pair_features(past, item),
                **reference.value_features(events, (entity, time), item, max_events),
                **reference.knn_features(past, item, near, max_items),
                **reference.knn_features(past, item, following, max_items, "follow"),
                **reference.column_features(
                    events, past, (entity, time), item, window_s,
                    kwargs.get("num_entities", NUM_ENTITIES), kwargs.get("num_items", NUM_ITEMS)),
                **reference.item_features(events, item, time, window_s),
                **reference.user_features(past),
            }
            assert sorted(expected) == sorted(FEATURES)
            for name, value in zip(FEATURES, row.tolist(), strict=True):
                assert np.isclose(value, expected[name], **TOLERANCE), (
                    f"{name} of seed {(entity, time)}, item {item}: {value}, not {expected[name]}")
    return found


@settings(max_examples=150, deadline=None)
@given(EVENTS, SEEDS, WINDOWS, st.integers(0, 4), st.integers(0, 4), st.integers(0, 4))
def test_equal_the_definitions(events, seeds, window_s, num_similar, num_popular, num_following):
    check(events, seeds, window_s, num_similar, num_popular, num_following)


def busier_shop():
    """About 33 events of each of 12 users with 30 items, and four seeds."""
    rng = np.random.default_rng(0)
    events = [(int(u), int(i), int(t)) for u, i, t in zip(
        rng.integers(0, 12, 400), rng.zipf(1.6, 400) % 30, rng.integers(0, 300, 400), strict=True)]
    return events, [(0, 299), (5, 150), (0, 40), (11, 1_000)], {"num_entities": 12, "num_items": 30}


@pytest.mark.parametrize("window_s", [7, 30])
def test_equal_the_definitions_on_a_busier_shop(window_s):
    events, seeds, shape = busier_shop()
    assert len(check(events, seeds, window_s, 8, 6, **shape).item) > 40


def test_one_pair_by_hand():
    """User 0 takes item 1 at times 0, 10 and 30, item 2 at 30; a window is 10; now it is 50."""
    events = [(0, 1, 0), (0, 1, 10), (0, 1, 30), (0, 2, 30), (1, 1, 45), (2, 3, 45), (1, 3, 46)]
    found = ask(make(events, window_s=10, num_similar=0, num_popular=1, num_following=0), [(0, 50)])
    assert found.item.tolist() == [1, 2, 3]  # two own ones, one popular one
    value = dict(zip(FEATURES, found.feature[0].tolist(), strict=True))
    expected = {
        "pair_met": 1, "pair_count": math.log(4), "pair_age_last": math.log(3),
        "pair_age_first": math.log(6), "pair_interval": math.log(2.5),
        "pair_age_last_to_interval": math.log(2.1 / 1.6), "pair_share_of_baskets": 1.0,
        "pair_age_since_user": 0.0, "pair_share_of_events": 0.75,
        "pair_count_half_life_0.5": math.log1p(2**-10 + 2**-8 + 2**-4),
        "pair_count_window_1": 0.0, "pair_count_window_4": math.log(2),
        "item_count": math.log(5), "item_count_window_1": math.log(2), "item_age_last": math.log(1.5),
        "item_users": math.log(3), "item_repeat_share": 0.5, "user_baskets": math.log(4),
        "user_basket_size": math.log1p(4 / 3), "user_repeat_share": 0.5, "user_known": 1,
    }
    assert {name: value[name] for name in expected} == pytest.approx(expected, rel=1e-3, abs=1e-4)
    assert found.feature[2, : len(past.PAIR_FEATURES)].tolist() == (
        [0.0] * len(past.PAIR_FEATURES))


@pytest.mark.parametrize(("max_events", "max_items", "max_items_per_entity"), [
    (15, 256, 500), (4_096, 3, 500), (4_096, 256, 4), (12, 2, 3), (1, 1, 1)])
def test_limits_keep_what_is_newest(monkeypatch, max_events, max_items, max_items_per_entity):
    events, seeds, shape = busier_shop()
    monkeypatch.setattr(past, "MAX_EVENTS", max_events)
    monkeypatch.setattr(knn, "MAX_KNN_ITEMS", max_items)
    monkeypatch.setattr(co_counts, "MAX_ITEMS_PER_ENTITY", max_items_per_entity)
    check(events, seeds, 30, 8, 6, max_events=max_events, max_items=max_items,
          max_items_per_entity=max_items_per_entity, **shape)


@settings(max_examples=60, deadline=None)
@given(EVENTS, SEEDS, WINDOWS, st.integers(0, 4), st.sampled_from([NUM_ITEMS, 2 * NUM_ITEMS, 10**6]))
def test_dense_and_sparse_sums_agree(events, seeds, window_s, num_similar, cells):
    """To the bit, with blocks of one seed, of two and of all."""
    found = []
    for most in (0, cells * 8):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(knn, "MAX_DENSE_CELLS", most)
            found.append(ask(make(events, window_s, num_similar), seeds))
    for part in ("seed", "item", "feature"):
        assert np.array_equal(getattr(found[0], part), getattr(found[1], part)), part


def test_sparse_sums_in_several_blocks_of_seeds():
    rng = np.random.default_rng(1)
    events = [(int(u), int(i), int(t)) for u, i, t in rng.integers(0, [200, 50, 1_000], (2_000, 3))]
    seeds = [(user, 900 + user % 7) for user in range(200)]
    whole = ask(make(events, 100, 5, 3, num_entities=200, num_items=50), seeds)
    for most in (0, 50 * 8, 50 * 33):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(knn, "MAX_DENSE_CELLS", most)
            other = ask(make(events, 100, 5, 3, num_entities=200, num_items=50), seeds)
        for part in ("seed", "item", "feature"):
            assert np.array_equal(getattr(whole, part), getattr(other, part)), part


def test_features_are_16_bit_numbers_and_finite():
    rng = np.random.default_rng(2)
    events = [(int(u), int(i), int(t)) for u, i, t in rng.integers(0, [4, 6, 10**9], (5_000, 3))]
    found = ask(make(events, 86_400), [(0, 10**9), (1, 5 * 10**8), (2, -1)])
    assert np.array_equal(found.feature.astype(np.float16).astype(np.float32), found.feature)
    assert np.isfinite(found.feature).all()


@pytest.mark.parametrize("cells", [0, 10**6])
def test_a_user_that_was_last_here_hundreds_of_windows_ago(cells, monkeypatch):
    """Decayed votes underflow to zero in 32 bits: nothing may be divided by them."""
    monkeypatch.setattr(knn, "MAX_DENSE_CELLS", cells)
    found = check([(0, 1, 0), (1, 1, 0), (1, 2, 0)], [(0, 2_000), (0, 100_000)], window_s=10)
    assert {1, 2} <= set(found.item.tolist())
    assert np.isfinite(found.feature).all()
