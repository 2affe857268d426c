"""Compact proposals say exactly what the dense distribution says, and are drawn from it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model_core.negatives.drawing import mixed_buckets
from tests.negatives.proposals import dense, make_proposals

NUM_ITEMS = 20


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@settings(max_examples=60, deadline=None)
@given(weight=st.lists(st.lists(st.sampled_from([0.0, 0.5, 1.0, 30.0]), min_size=6, max_size=6),
                       min_size=1, max_size=4),
       birth=st.lists(st.integers(0, 30), min_size=6, max_size=6), u=st.floats(0.05, 1.0))
def test_probabilities_equal_the_dense_distribution(weight, birth, u):
    birth = np.asarray(birth)
    birth[0] = 0  # something is always born
    proposals = make_proposals([np.asarray(row) for row in weight], u, birth)
    item = torch.arange(6)
    expected = [dense(np.asarray(row), birth <= 10 * (bucket + 1), u)
                for bucket, row in enumerate(weight)]
    for bucket, q in enumerate(expected):
        assert proposals.probability(bucket, item).numpy() == pytest.approx(q, abs=1e-12)
        assert proposals.probability(bucket, item.flip(0)).flip(0).numpy() == pytest.approx(q, abs=1e-12)
    rows = torch.tensor([0, 0, len(weight) - 1])
    mixture = (2 * expected[0] + expected[-1]) / 3
    assert proposals.mixture(rows, item).numpy() == pytest.approx(mixture, abs=1e-12)


def test_draws_follow_the_proposal_of_their_own_bucket():
    rng = np.random.default_rng(0)
    birth = np.where(np.arange(NUM_ITEMS) == 7, 15, 0)
    popular = [rng.pareto(1.0, NUM_ITEMS) * (np.arange(NUM_ITEMS) % 3 > 0), np.zeros(NUM_ITEMS),
               rng.pareto(1.0, NUM_ITEMS)]
    proposals = make_proposals(popular, 0.4, birth)
    count = 150_000
    bucket = torch.arange(3).repeat(count)
    item, is_popular = proposals.draw(bucket, generator())
    assert item.dtype == torch.int64
    for b in range(3):
        q = proposals.probability(b, torch.arange(NUM_ITEMS)).numpy()
        share = np.bincount(item[bucket == b], minlength=NUM_ITEMS) / count
        assert (np.abs(share - q) <= 4.5 * np.sqrt(q * (1 - q) / count)).all()
        wanted = 0.0 if b == 1 else 0.6  # nothing is popular in bucket 1
        assert is_popular[bucket == b].double().mean() == pytest.approx(wanted, abs=0.01)
    assert (item[bucket == 0] != 7).all()  # not born yet


def test_no_draw_falls_into_the_next_bucket(monkeypatch):
    """Bucket + random number may round up to the next whole number."""
    proposals = make_proposals([np.eye(4)[bucket % 4] for bucket in range(200)], 1e-9)
    monkeypatch.setattr(torch, "rand", lambda shape, **_: torch.full(shape, 1 - 2**-53).double())
    bucket = torch.arange(200)
    item, is_popular = proposals.draw(bucket, generator())
    assert is_popular.all()
    assert (item == bucket % 4).all()
    everywhere = make_proposals([np.zeros(3)])
    assert everywhere.draw(bucket[:1], generator())[0].item() == 2  # not beyond the last born


def test_draws_depend_on_the_generator_alone():
    proposals = make_proposals([np.arange(NUM_ITEMS, dtype=float)])
    bucket = torch.zeros(50, dtype=torch.int64)
    first, again, other = (proposals.draw(bucket, generator(seed))[0] for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@settings(max_examples=80, deadline=None)
@given(bucket=st.lists(st.integers(0, 40), min_size=1, max_size=60), most=st.integers(1, 9))
def test_mixed_buckets_are_few_and_keep_the_newest(bucket, most):
    found = mixed_buckets(torch.tensor(bucket), most).tolist()
    assert len(found) == len(bucket)
    assert set(found) <= set(bucket)
    assert max(found) == max(bucket)
    assert all(kept >= own for kept, own in zip(found, sorted(bucket), strict=True))
    if len(set(bucket)) <= most:
        assert found == sorted(bucket)
    else:
        assert len(set(found)) <= most
