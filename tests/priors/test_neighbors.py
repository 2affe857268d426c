"""Item-item similarity against brute force, and which snapshot answers which time."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from time import sleep

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_core.priors import co_counts, co_interaction
from model_core.priors.co_counts import CoCounts
from model_core.priors.co_interaction import CoInteraction, nearest
from model_core.priors.neighbors import ItemNeighbors, NearestItems
from tests.priors import reference
from tests.priors.worlds import EVENTS, NUM_ENTITIES, NUM_ITEMS, WINDOWS, interactions


def as_lists(item, ptr, neighbor, cosine) -> dict[int, list[tuple[int, float]]]:
    return {
        int(i): list(zip(neighbor[a:b].tolist(), cosine[a:b].tolist(), strict=True))
        for i, a, b in zip(item, ptr[:-1], ptr[1:], strict=True)
    }


def neighbors_at(rows, num_entities, time, count):
    return nearest(lambda at: CoCounts.until(rows, num_entities, at), time, count)


def followers_at(rows, num_entities, time, count, window_s):
    return nearest(lambda at: CoCounts.following(rows, num_entities, at, window_s), time, count)


def check(events, time, count, num_entities=NUM_ENTITIES, num_items=NUM_ITEMS, max_items=2_500):
    near = reference.neighbors(events, time, count, max_items)
    equal(neighbors_at(interactions(events), num_entities, time, count), near, count)


def equal(found, near, count):
    assert [part.dtype for part in found] == [np.int64, np.int64, np.int32, np.float32]
    assert len(found.ptr) == len(found.item) + 1
    assert found.ptr[-1] == len(found.neighbor) == len(found.cosine)
    assert (np.diff(found.item) > 0).all()
    assert not len(found.item) or 0 < np.diff(found.ptr).min() <= np.diff(found.ptr).max() <= count
    expected = {i: [(j, float(c)) for j, c in of_item.items()] for i, of_item in near.items()}
    assert as_lists(*found) == expected


@settings(max_examples=100, deadline=None)
@given(EVENTS, st.integers(-6, 41), st.integers(0, 8))
def test_equal_brute_force(events, time, count):
    check(events, time, count)


@settings(max_examples=40, deadline=None)
@given(EVENTS, st.integers(1, 6), st.integers(1, 40), st.sampled_from([0, 4, 10**9]),
       st.integers(1, 3))
def test_blocks_full_and_sparse_and_short_histories(events, count, products, full, max_items):
    """However the item-item matrix is cut and whichever way a block is searched."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(co_counts, "MAX_BLOCK_PRODUCTS", products)
        patch.setattr(co_interaction, "_FULL_BLOCK", full)
        patch.setattr(co_counts, "MAX_ITEMS_PER_ENTITY", max_items)
        check(events, 40, count, max_items=max_items)


@pytest.mark.parametrize("full", [0, 10**9])
def test_a_larger_shop_both_ways(full, monkeypatch):
    monkeypatch.setattr(co_interaction, "_FULL_BLOCK", full)
    monkeypatch.setattr(co_counts, "MAX_BLOCK_PRODUCTS", 500)
    rng = np.random.default_rng(0)
    events = [(int(u), int(i), int(t)) for u, i, t in zip(
        rng.integers(0, 40, 500), rng.zipf(1.5, 500) % 60, rng.integers(0, 99, 500), strict=True)]
    check(events, 80, 7, num_entities=40, num_items=60)


def test_by_hand_with_ties_by_item():
    # Items 1 and 3 share both users; 0 shares one user with each of 1, 3 and 4.
    events = [(0, 1, 0), (1, 1, 0), (0, 3, 0), (1, 3, 0), (0, 0, 0), (0, 4, 0), (3, 5, 0)]
    found = as_lists(*neighbors_at(interactions(events), 4, 0, 2))
    one, half = pytest.approx(1.0), pytest.approx(2**-0.5)
    assert found == {
        0: [(4, one), (1, half)], 1: [(3, one), (0, half)], 3: [(1, one), (0, half)],
        4: [(0, one), (1, half)],  # 1 before 3; and 5, which nobody shares, has no row
    }


def test_repeats_count_once():
    once = neighbors_at(interactions([(0, 1, 0), (0, 2, 1), (1, 1, 2)]), 4, 9, 2)
    often = neighbors_at(interactions([(0, 1, 0), (0, 2, 1), (1, 1, 2), (0, 1, 3), (0, 1, 4)]), 4, 9, 2)
    for one, other in zip(once, often, strict=True):
        assert np.array_equal(one, other)


@settings(max_examples=120, deadline=None)
@given(EVENTS, st.integers(-6, 50), st.integers(0, 6), WINDOWS, st.integers(1, 40),
       st.sampled_from([0, 10**9]), st.integers(1, 4))
def test_followers_equal_brute_force(events, time, count, window_s, products, full, max_items):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(co_counts, "MAX_BLOCK_PRODUCTS", products)
        patch.setattr(co_interaction, "_FULL_BLOCK", full)
        patch.setattr(co_counts, "MAX_ITEMS_PER_ENTITY", max_items)
        near = reference.followers(events, time, count, window_s, max_items)
        equal(followers_at(interactions(events), NUM_ENTITIES, time, count, window_s), near, count)


def test_followers_by_hand():
    """Windows (0, 10] and (10, 20]. User 0 goes 1 → 2 → 3, user 1 goes 1 → 2; user 2 is new and takes 2."""
    rows = interactions([(0, 1, 0), (0, 2, 5), (0, 3, 15), (1, 1, 0), (1, 2, 5), (2, 2, 15)])
    found = as_lists(*followers_at(rows, 4, 20, 3, window_s=10))
    # Item 1 stood before 3 windows of users, 2 before one; 2 was taken in 3, 3 in one.
    assert found == {1: [(2, pytest.approx(2 / 3)), (3, pytest.approx(3**-0.5))],
                     2: [(3, pytest.approx(1.0))]}
    later = as_lists(*followers_at(interactions([*rows_of(rows), (1, 4, 21)]), 4, 20, 3, window_s=10))
    assert later == found, "events after the time are not known"


def rows_of(rows):
    return list(zip(rows.entity.tolist(), rows.item.tolist(), rows.time.tolist(), strict=True))


def test_followers_read_fewer_windows_where_pasts_are_long(monkeypatch):
    events = [(user, item, 10 * item) for user in range(3) for item in range(6)]
    whole, newest = (reference.followers(events, 50, 3, 10, max_windows=most) for most in (16, 1))
    assert whole != newest
    for most, expected in ((10**9, whole), (15, newest), (1, newest)):
        monkeypatch.setattr(co_counts, "MAX_PAST_PAIRS", most)
        equal(followers_at(interactions(events), 3, 50, 3, 10), expected, 3)


TIMES = st.lists(st.integers(-9, 50), min_size=1, max_size=5)


@settings(max_examples=80, deadline=None)
@given(EVENTS, st.lists(TIMES, min_size=1, max_size=3), st.one_of(st.none(), TIMES))
def test_a_look_up_uses_the_newest_allowed_snapshot(events, rounds, allowed):
    """Whatever was asked for before: neither later snapshots nor older ones are taken."""
    rows = interactions(events)
    source = CoInteraction.similar(rows, NUM_ENTITIES, NUM_ITEMS, 2, allowed)
    for times in rounds:
        snapshots = source(np.unique(times))
        time, item = np.repeat(times, NUM_ITEMS), np.tile(np.arange(NUM_ITEMS), len(times))
        for t, i, row in zip(time.tolist(), item.tolist(), snapshots.rows_of(time, item), strict=True):
            usable = [t] if allowed is None else [a for a in allowed if a <= t]
            near = reference.neighbors(events, max(usable), 2) if usable else {}
            if row < 0:
                assert i not in near
            else:
                assert snapshots.of_rows(np.array([row]))[1].tolist() == list(near[i])


def test_snapshots_are_made_once(monkeypatch):
    made = []

    def watch(count, time, num_neighbors):
        made.append(time)
        return nearest(count, time, num_neighbors)

    monkeypatch.setattr(co_interaction, "nearest", watch)
    source = CoInteraction.similar(interactions([(0, 0, 0), (0, 1, 5)]), 4, 6, 2, allowed=[0, 10, 20])
    for times in ([12], [11, 3], [19, 25], [-4]):
        source(np.array(times))
    assert made == [10, 0, 20]


def test_threads_that_ask_at_once_share_what_one_makes(monkeypatch):
    made = []

    def slow(count, time, num_neighbors):
        made.append(time)
        sleep(0.02)
        return nearest(count, time, num_neighbors)

    rows = interactions([(0, 0, 0), (0, 1, 5), (1, 0, 12), (1, 2, 15)])
    alone = CoInteraction.similar(rows, 4, 6, 2)(np.array([20]))
    monkeypatch.setattr(co_interaction, "nearest", slow)
    source = CoInteraction.similar(rows, 4, 6, 2)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(source, [np.array([20])] * 4))
    assert made == [20]
    for snapshots in found:
        assert np.array_equal(snapshots.neighbor, alone.neighbor)


def snapshots():
    def near(item, neighbor):
        flat = np.concatenate(neighbor).astype(np.int32)
        return NearestItems(np.array(item), np.cumsum([0, *map(len, neighbor)]), flat,
                            np.arange(1, 1 + len(flat), dtype=np.float32) / 8)

    return ItemNeighbors.stack({20: near([1, 4], [[4, 0, 2], [1]]), 10: near([0], [[2]])}, num_items=5)


def test_rows_by_time_and_item():
    stacked = snapshots()
    assert stacked.time.tolist() == [10, 20]
    assert stacked.key.tolist() == [0, 6, 9]
    time = np.array([9, 10, 19, 19, 20, 20, 20, 99, 99])
    item = np.array([0, 0, 0, 1, 0, 1, 4, 4, 3])
    # Item 0 has no row at 20: what was known at 10 is not fallen back to.
    assert stacked.rows_of(time, item).tolist() == [-1, 0, 0, -1, -1, 1, 2, 2, -1]


def test_neighbours_of_rows_and_snapshots_again():
    stacked = snapshots()
    number, neighbor, cosine = stacked.of_rows(np.array([2, 0, 1, 2]))
    assert number.tolist() == [1, 1, 3, 1]
    assert neighbor.tolist() == [1, 2, 4, 0, 2, 1]
    assert cosine.tolist() == [4 / 8, 1 / 8, 1 / 8, 2 / 8, 3 / 8, 4 / 8]
    parts = stacked.snapshots()
    assert list(parts) == [10, 20]
    assert parts[20].item.tolist() == [1, 4]
    assert parts[20].ptr.tolist() == [0, 3, 4]
    again = ItemNeighbors.stack({**parts, 30: NearestItems.none()}, 5)
    for name in ("key", "ptr", "neighbor", "cosine"):
        assert np.array_equal(getattr(again, name), getattr(stacked, name)), name
    assert again.time.tolist() == [10, 20, 30]


def test_no_snapshots_and_no_rows():
    none = ItemNeighbors.stack({}, num_items=5)
    assert none.rows_of(np.array([3]), np.array([1])).tolist() == [-1]
    empty = neighbors_at(interactions([]), 4, 0, 3)
    stacked = ItemNeighbors.stack({5: empty}, num_items=6)
    assert len(stacked.neighbor) == 0
    assert stacked.rows_of(np.array([9]), np.array([0])).tolist() == [-1]
