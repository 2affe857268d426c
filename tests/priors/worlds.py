"""Raw events for tests of pair priors, and the priors made from them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np
from hypothesis import strategies as st

from model_core.graph.temporal_graph import UNTIMED, Interactions
from model_core.priors.co_interaction import CoInteraction
from model_core.priors.columns import ColumnLifts
from model_core.priors.events import EventIndex
from model_core.priors.features import Candidates, PairPriors
from model_core.priors.values import ValuePriors

NUM_ENTITIES, NUM_ITEMS = 4, 6
Event = tuple[int, int, int]  # entity, item, time
Seed = tuple[int, int]  # entity, time

#: Few distinct times, so that ties are the rule.
EVENTS = st.lists(
    st.tuples(st.integers(0, NUM_ENTITIES - 1), st.integers(0, NUM_ITEMS - 1), st.integers(-5, 40)),
    max_size=40)
SEEDS = st.lists(st.tuples(st.integers(0, NUM_ENTITIES - 1), st.integers(-8, 45)), max_size=6)
WINDOWS = st.sampled_from([1, 3, 10, 40])


def ordered(events: Iterable[Event]) -> list[Event]:
    """Distinct, in the order that Interactions promises: by (time, entity, item)."""
    return sorted(set(events), key=lambda event: (event[2], event[0], event[1]))


def interactions(events: Iterable[Event]) -> Interactions[np.ndarray]:
    table = np.asarray(ordered(events), dtype=np.int64).reshape(-1, 3)
    return Interactions(*(table[:, column].copy() for column in range(3)))


def code_columns(num_rows: int) -> list[np.ndarray]:
    """Two columns of a table as codes: even and odd rows, and pairs of neighbours."""
    row = np.arange(num_rows)
    return [row % 2, row // 2]


def event_values(events: Sequence[Event], gaps: bool = True) -> dict[Event, tuple[float, float]]:
    """Two values of every event; shifted times change none. Gaps: some have one alone, or none."""
    first = min((time for _, _, time in events), default=0)
    found = {}
    for entity, item, time in events:
        age = time - first
        one, other = (7 * entity + 5 * item + 3 * age) % 11 - 5, (entity + 3 * item + 5 * age) % 7 - 3
        has_one = not gaps or age % 5 < 4
        has_other = not gaps or (has_one and age % 3 < 2)
        found[entity, item, time] = one / 4 if has_one else math.nan, other / 3 if has_other else math.nan
    return found


def make(
    events: Iterable[Event], window_s: int = 10, num_similar: int = 3, num_popular: int = 2,
    num_following: int = 2, allowed: Sequence[int] | None = None, num_entities: int = NUM_ENTITIES,
    num_items: int = NUM_ITEMS, gaps: bool = True, targets: Iterable[Event] | None = None,
) -> PairPriors:
    rows = interactions(events)
    of_shop = rows, num_entities, num_items
    near = CoInteraction.similar(*of_shop, num_similar, allowed)
    following = CoInteraction.following(*of_shop, window_s, 2 * num_following, allowed)
    lifts = ColumnLifts(
        rows, code_columns(num_entities), code_columns(num_items),
        np.full(num_entities, UNTIMED), num_items, window_s)
    of_event = event_values(ordered(events), gaps)
    values = np.array([of_event[event] for event in ordered(events)], dtype=np.float32).reshape(-1, 2)
    return PairPriors(
        EventIndex.build(rows, num_entities, num_items), near, following, lifts, ValuePriors(rows, values),
        window_s, num_similar, num_popular, num_following,
        None if targets is None else EventIndex.build(interactions(targets), num_entities, num_items))


def ask(priors: PairPriors, seeds: Sequence[Seed]) -> Candidates:
    table = np.asarray(seeds, dtype=np.int64).reshape(-1, 2)
    return priors(table[:, 0].copy(), table[:, 1].copy())


def assert_equal(one: Candidates, other: Candidates) -> None:
    """Equal to the bit, and of the types that a model expects."""
    assert (one.seed.dtype, one.item.dtype, one.feature.dtype) == (np.int64, np.int64, np.float32)
    for part in ("seed", "item", "feature"):
        left, right = getattr(one, part), getattr(other, part)
        assert left.dtype == right.dtype, part
        assert np.array_equal(left, right), part


def of_seed(found: Candidates, number: int) -> Candidates:
    """Candidates of one seed of a batch, as if it had been alone."""
    here = found.seed == number
    return Candidates(np.zeros(here.sum(), np.int64), found.item[here], found.feature[here])
