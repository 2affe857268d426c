"""Metrics: values computed by hand, a slow reference, relbench's own, and properties."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_core.evaluation.metrics import METRICS, metric_table

LOG = math.log2

# hits of the list, relevant items, metric, value worked out on paper
GOLDEN = [
    ("1010", 2, "map", (1 / 1 + 2 / 3) / 2),
    ("0101", 3, "map", (1 / 2 + 2 / 4) / 3),
    ("1100", 9, "map", (1 + 1) / 4),  # divided by min(relevant, K)
    ("0000", 2, "map", 0.0),
    ("1010", 2, "recall", 1.0),
    ("1100", 8, "recall", 2 / 8),  # divided by all relevant items
    ("1010", 2, "precision", 2 / 4),
    ("0010", 1, "hit_rate", 1.0),
    ("0000", 1, "hit_rate", 0.0),
    ("0011", 2, "mrr", 1 / 3),
    ("0000", 2, "mrr", 0.0),
    ("0110", 2, "ndcg", (1 / LOG(3) + 1 / LOG(4)) / (1 / LOG(2) + 1 / LOG(3))),
    ("0001", 7, "ndcg", (1 / LOG(5)) / (1 / LOG(2) + 1 / LOG(3) + 1 / LOG(4) + 1 / LOG(5))),
]


@pytest.mark.parametrize(("hits", "relevant", "metric", "expected"), GOLDEN)
def test_values_worked_out_by_hand(hits, relevant, metric, expected):
    row = np.array([[bit == "1" for bit in hits]])
    assert METRICS[metric](row, np.array([relevant]))[0] == pytest.approx(expected, abs=1e-12)


def slow(metric: str, hits: list[bool], relevant: int) -> float:
    k, found = len(hits), [rank for rank, hit in enumerate(hits, start=1) if hit]
    if metric == "map":
        total = sum(sum(1 for other in found if other <= rank) / rank for rank in found)
        return total / min(relevant, k)
    if metric == "recall":
        return len(found) / relevant
    if metric == "precision":
        return len(found) / k
    if metric == "hit_rate":
        return float(bool(found))
    if metric == "mrr":
        return 1 / found[0] if found else 0.0
    ideal = sum(1 / LOG(rank + 1) for rank in range(1, min(relevant, k) + 1))
    return sum(1 / LOG(rank + 1) for rank in found) / ideal


@st.composite
def rows(draw):
    k = draw(st.integers(1, 8))
    hits = draw(st.lists(st.lists(st.booleans(), min_size=k, max_size=k), min_size=1, max_size=6))
    relevant = [sum(row) + draw(st.integers(0, 12)) for row in hits]
    return np.array(hits, dtype=bool), np.array(relevant, dtype=np.int64)


@settings(max_examples=60, deadline=None)
@given(rows())
def test_equal_the_slow_reference_and_stay_between_zero_and_one(case):
    hits, relevant = case
    for name, metric in METRICS.items():
        values = metric(hits, relevant)
        assert values.dtype == np.float64
        assert values.shape == (len(hits),)
        for row, value in enumerate(values):
            if relevant[row] == 0:
                assert np.isnan(value)
            else:
                assert value == pytest.approx(slow(name, hits[row].tolist(), relevant[row]))
                assert -1e-12 <= value <= 1 + 1e-12


@settings(max_examples=60, deadline=None)
@given(rows())
def test_map_is_relbench_map(case):
    from relbench.metrics import map as relbench_map

    hits, relevant = case
    if (relevant > 0).any():
        ours = np.nanmean(METRICS["map"](hits, relevant))
        assert ours == pytest.approx(relbench_map(hits, relevant), abs=1e-12)


@settings(max_examples=40, deadline=None)
@given(rows(), st.data())
def test_moving_a_hit_up_never_hurts(case, data):
    hits, relevant = case
    relevant = np.maximum(relevant, 1)
    place = data.draw(st.integers(0, hits.shape[1] - 1))
    better = hits.copy()
    better[:, [0, place]] = np.sort(hits[:, [0, place]], axis=1)[:, ::-1] if place else hits[:, [0, 0]]
    for metric in METRICS.values():
        assert (metric(better, relevant) >= metric(hits, relevant) - 1e-12).all()


def test_metric_table_cuts_at_every_k():
    hits = np.array([[False, True, True]])
    table = metric_table(hits, np.array([4]), (1, 3))
    assert set(table) == {(name, k) for name in METRICS for k in (1, 3)}
    assert table["recall", 1][0] == 0.0
    assert table["recall", 3][0] == 0.5
