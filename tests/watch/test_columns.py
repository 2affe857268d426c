"""Statistics gathered batch by batch are those of the whole column."""

from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_core.watch.columns import NUM_NAMED, drift_between, gatherer
from model_core.watch.drift import sketch
from tests.watch.reference import slow_distance, slow_divergence

words = st.lists(st.lists(st.text("abä", max_size=3), max_size=20), min_size=1, max_size=4)
numbers = st.lists(st.lists(st.integers(-50, 50), max_size=20), min_size=1, max_size=4)


def gathered(kind, batches, arrow, max_categories=1_000, ages_from=None):
    taker = gatherer(kind, max_categories, ages_from)
    for batch in batches:
        taker.add(pa.array(batch, arrow))
    return taker.result(sum(map(len, batches)), 0)


@given(words)
@settings(max_examples=40, deadline=None)
def test_categories(batches):
    found = gathered("string", batches, pa.large_string())
    whole = [word for batch in batches for word in batch]
    assert dict(found.categories) == dict(Counter(whole))
    assert [number for _, number in found.categories] == sorted(Counter(whole).values(), reverse=True)
    assert found.distinct == len(set(whole))
    assert sum(found.buckets) == len(whole)
    assert found.sketch == tuple(sketch(np.asarray([len(word) for word in whole])))


@given(numbers)
@settings(max_examples=40, deadline=None)
def test_numbers(batches):
    found = gathered("number", batches, pa.int64())
    whole = np.asarray([value for batch in batches for value in batch])
    assert found.sketch == tuple(sketch(whole))
    assert found.distinct == len(set(whole.tolist()))


@given(words, words)
@settings(max_examples=40, deadline=None)
def test_drift_of_categories(first, second):
    sides = [[word for batch in batches for word in batch] for batches in (first, second)]
    drift, _ = drift_between(*(gathered("string", batches, pa.large_string()) for batches in (first, second)))
    expected = slow_divergence(*sides) if all(sides) else 0
    assert drift == pytest.approx(expected, abs=1e-9)


def test_many_categories_are_compared_by_bucket_which_never_adds_drift():
    names = [f"value {i}" for i in range(4 * NUM_NAMED)]
    first, second = names * 5, names * 4 + ["renamed"] * len(names)
    sides = [gathered("string", [side], pa.large_string()) for side in (first, second)]
    assert all(len(side.categories) == NUM_NAMED for side in sides)
    drift, cells = drift_between(*sides)
    assert 0.05 < drift <= slow_divergence(first, second)
    assert 1 < cells <= 64


def test_too_many_strings_are_text_and_compared_by_length():
    few, many = (gathered("string", [[f"{i:04}" for i in range(number)]], pa.large_string(), 10)
                 for number in (10, 11))
    assert (few.measure, many.measure) == ("categories", "lengths")
    assert (few.distinct, many.distinct) == (10, None)
    assert many.categories == ()
    assert drift_between(few, many) == (0.0, 0)
    longer = gathered("string", [[f"{i:09}" for i in range(20)]], pa.large_string(), 10)
    assert drift_between(many, longer)[0] == slow_distance([4] * 11, [9] * 20) == 1


def test_long_values_with_one_start_stay_apart():
    found = gathered("string", [["x" * 100 + "a", "x" * 100 + "b"]], pa.large_string())
    assert len(dict(found.categories)) == 2
    assert all(len(name) == 80 for name, _ in found.categories)


def test_datetimes_are_ages_and_booleans_are_words():
    ages = gathered("datetime", [[5_000_000, 8_000_000]], pa.timestamp("us"), ages_from=10)
    assert (ages.measure, ages.sketch[0], ages.sketch[-1]) == ("ages", 2.0, 5.0)
    whole = gathered("datetime", [[5_000_000]], pa.timestamp("us"))
    assert (whole.measure, whole.sketch[0]) == ("numbers", 5.0)
    flags = gathered("boolean", [[True, False, True]], pa.bool_())
    assert flags.categories == (("true", 2), ("false", 1))
    keys = gathered("fkey", [[3, 3, 900], [4]], pa.int64())
    assert (keys.distinct, keys.measure) == (3, "none")
    assert gathered("fkey", [[]], pa.int64()).distinct == 0


def test_whole_numbers_that_no_float_holds():
    found = gathered("number", [[2**63 - 1, -(2**63)], [2**53 + 1]], pa.int64())
    assert (found.sketch[0], found.sketch[-1]) == (-(2.0**63), 2.0**63)
