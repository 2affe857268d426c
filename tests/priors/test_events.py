"""EventIndex against brute force over raw events."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from model_core.priors.events import EventIndex
from model_core.priors.ranges import flat_ranges
from tests.factories import make_shop
from tests.priors.worlds import EVENTS, NUM_ENTITIES, NUM_ITEMS, interactions, ordered

TIMES = st.lists(st.integers(-9, 48), min_size=1, max_size=5)


def index_of(events):
    return EventIndex.build(interactions(events), NUM_ENTITIES, NUM_ITEMS)


@settings(max_examples=100, deadline=None)
@given(EVENTS, TIMES)
def test_the_past_of_every_entity(events, times):
    index = index_of(events)
    entity = np.repeat(np.arange(NUM_ENTITIES), len(times))
    time = np.tile(np.array(times), NUM_ENTITIES)
    start, stop = index.entity_range(entity, time)
    for row, bound, first, last in zip(entity, time, start, stop, strict=True):
        past = [(i, t) for e, i, t in ordered(events) if e == row and t <= bound]
        found = list(zip(index.entity_item[first:last].tolist(), index.entity_time[first:last].tolist(),
                         strict=True))
        assert found == past  # in the order of the events


@settings(max_examples=100, deadline=None)
@given(EVENTS, TIMES)
def test_the_past_of_every_item(events, times):
    index = index_of(events)
    item = np.repeat(np.arange(NUM_ITEMS), len(times))
    time = np.tile(np.array(times), NUM_ITEMS)
    start, stop = index.item_ptr[item], index.item_end(item, time)
    for row, bound, first, last in zip(item, time, start, stop, strict=True):
        past = [(e, t) for e, i, t in ordered(events) if i == row and t <= bound]
        assert index.item_time[first:last].tolist() == [t for _, t in past]
        if past:
            assert index.item_users[last - 1] == len({e for e, _ in past})


@settings(max_examples=40, deadline=None)
@given(EVENTS)
def test_all_events_stay_by_time(events):
    index = index_of(events)
    assert index.time.tolist() == [t for _, _, t in ordered(events)]
    assert index.item.tolist() == [i for _, i, _ in ordered(events)]
    assert (np.diff(index.by_entity.packed) >= 0).all()
    assert (np.diff(index.by_item.packed) >= 0).all()


def test_real_times_and_times_far_outside():
    now = 1_600_000_000
    graph = make_shop([(0, 0, now), (1, 1, now + 5), (0, 1, now + 9)], 3, 2)
    index = EventIndex.of(graph)
    entity = np.array([0, 0, 0, 1, 2, 0])
    time = np.array([0, now, 2**40, now + 4, 2**40, -(2**40)])
    start, stop = index.entity_range(entity, time)
    assert (stop - start).tolist() == [0, 1, 2, 0, 0, 0]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 4)), max_size=12))
def test_ranges_one_after_the_other(ranges):
    start = np.array([s for s, _ in ranges], dtype=np.int64)
    stop = start + np.array([n for _, n in ranges], dtype=np.int64)
    row, position = flat_ranges(start, stop)
    expected = [(r, p) for r, (s, n) in enumerate(ranges) for p in range(s, s + n)]
    assert list(zip(row.tolist(), position.tolist(), strict=True)) == expected
