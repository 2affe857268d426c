"""A row from the cache is the row computed anew, to the bit, wherever memory runs out."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_core.priors.features import FEATURES, Candidates
from model_core.training.prior_cache import CachedPriors
from tests.factories import make_seeds
from tests.priors.worlds import NUM_ENTITIES, NUM_ITEMS, assert_equal, make

RNG = np.random.default_rng(0)
EVENTS = [tuple(map(int, row)) for row in RNG.integers(0, [NUM_ENTITIES, NUM_ITEMS, 60], (80, 3))]
TRAIN = make_seeds([(user, time, [0]) for user in range(NUM_ENTITIES) for time in (-1, 20, 40)])


@pytest.fixture(scope="module")
def priors():
    return make(EVENTS)


class Counting:
    """Priors that remember which seeds they were asked for."""

    def __init__(self, priors):
        self.priors, self.seeds = priors, []

    def __call__(self, entity, time):
        self.seeds += list(zip(entity.tolist(), time.tolist(), strict=True))
        return self.priors(entity, time)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.integers(0, len(TRAIN) - 1), max_size=8), min_size=1, max_size=5),
       st.sampled_from([0, 1, 700, 2_000, 2**20]))
def test_equals_what_it_keeps(calls, max_bytes):
    """Rows in any order, repeated within a call and over calls, some kept and some not."""
    priors = make(EVENTS)
    cached = CachedPriors(priors, TRAIN, max_bytes)
    for rows in calls:
        rows = np.array(rows, dtype=np.int64)
        assert_equal(cached(rows), priors(TRAIN.entity[rows], TRAIN.time[rows]))


def test_kept_rows_are_not_computed_again(priors):
    counting = Counting(priors)
    cached = CachedPriors(counting, TRAIN)
    for rows in ([0, 5, 7], [5, 7, 1], [0, 1, 5, 7]):
        cached(np.array(rows))
    assert len(counting.seeds) == 4
    assert len(set(counting.seeds)) == 4


def test_without_memory_every_row_is_computed_again(priors):
    counting = Counting(priors)
    cached = CachedPriors(counting, TRAIN, max_bytes=0)
    for _ in range(3):
        cached(np.array([4, 8]))
    assert len(counting.seeds) == 6


def test_memory_stays_within_the_bound(priors):
    """Whatever is kept is no more than was allowed; a smaller row may still find room."""
    whole = priors(TRAIN.entity, TRAIN.time)
    per_pair = 4 + 2 * len(FEATURES)
    size = np.bincount(whole.seed, minlength=len(TRAIN)) * per_pair
    assert size.sum() > 2_000
    for max_bytes in (int(size[size > 0].min()), 1_000, 2_000):
        counting = Counting(priors)
        cached = CachedPriors(counting, TRAIN, max_bytes)
        cached(np.arange(len(TRAIN)))
        counting.seeds.clear()
        cached(np.arange(len(TRAIN)))
        again = {(e, t) for e, t in counting.seeds}
        kept = [row for row in range(len(TRAIN))
                if (int(TRAIN.entity[row]), int(TRAIN.time[row])) not in again]
        assert 0 < size[kept].sum() <= max_bytes


def test_no_rows(priors):
    assert_equal(CachedPriors(priors, TRAIN)(np.zeros(0, dtype=np.int64)), Candidates.none())


def test_rows_without_candidates():
    bare = make([], num_popular=0)
    cached = CachedPriors(bare, TRAIN)
    for _ in range(2):
        assert_equal(cached(np.array([1, 2])), Candidates.none())
