"""A kept batch is the batch made anew, to the bit, and no more is kept than allowed."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest
import torch

from model_core.sampling.seed_batches import SeedBatches, batch_bytes, block_key
from tests.models.graphs import NOW, priors_of, retail_graph

GRAPH = retail_graph()
TENSORS = GRAPH.to_torch()
BLOCKS = [(torch.tensor(entity), torch.tensor(time)) for entity, time in (
    ([0, 3, 5], [NOW, NOW, NOW // 2]), ([3, 0, 5], [NOW, NOW, NOW // 2]),
    ([0, 3, 5], [NOW // 3, NOW, NOW // 2]), ([7], [NOW]))]


class Counting:
    """Priors that count their calls, optionally with features beyond 16 bits."""

    def __init__(self, factor=1.0):
        self.priors, self.calls, self.factor = priors_of(GRAPH), 0, np.float32(factor)

    def __call__(self, entity, time):
        self.calls += 1
        found = self.priors(entity, time)
        return type(found)(found.seed, found.item, found.feature * self.factor)


def make(priors, max_bytes=2**24, strategy="last"):
    return SeedBatches(TENSORS, (4, 3, 2), strategy=strategy, priors=priors, max_bytes=max_bytes)


def assert_same(one, other):
    for field in fields(one):
        compare(getattr(one, field.name), getattr(other, field.name))


def compare(a, b):
    if isinstance(a, torch.Tensor):
        assert a.dtype == b.dtype
        assert torch.equal(a, b)
    elif isinstance(a, tuple | list):
        assert len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            compare(x, y)
    elif hasattr(a, "keys"):
        assert list(a) == list(b)
        for key in a:
            compare(a[key], b[key])
    else:
        assert a == b


@pytest.mark.parametrize("strategy", ["last", "uniform"])
@pytest.mark.parametrize("factor", [1.0, 1.0001], ids=["16 bits", "more than 16 bits"])
def test_kept_equals_fresh(strategy, factor):
    counting = Counting(factor)
    kept = make(counting, strategy=strategy)
    for _ in range(3):
        for block in BLOCKS:
            assert_same(kept(*block), make(Counting(factor), 0, strategy)(*block))
    assert counting.calls == len(BLOCKS)  # order and times of the seeds matter


def test_features_of_16_bits_are_kept_in_16_bits():
    kept = make(Counting())
    batch = kept(*BLOCKS[0])
    assert batch.prior_feature.dtype == torch.float32
    inside = kept._kept[block_key(*BLOCKS[0])]
    assert 2 * inside.prior_feature.nbytes == batch.prior_feature.nbytes > 0
    assert batch_bytes(batch) - batch_bytes(inside) == inside.prior_feature.nbytes


def test_without_memory_nothing_is_kept():
    counting = Counting()
    kept = make(counting, 0)
    for _ in range(2):
        kept(*BLOCKS[0])
    assert counting.calls == 2
    assert not kept._kept


def test_memory_stays_within_the_bound():
    """A smaller block may still find room where a larger one did not."""
    unbounded = make(Counting())
    for block in BLOCKS:
        unbounded(*block)
    sizes = {key: batch_bytes(batch) for key, batch in unbounded._kept.items()}
    assert len(sizes) == len(BLOCKS)
    smallest, all_of_them = min(sizes.values()), sum(sizes.values())
    assert smallest == sizes[block_key(*BLOCKS[-1])]
    for bound, count in ((smallest - 1, 0), (smallest, 1), (all_of_them - 1, 3), (all_of_them, 4)):
        kept = make(Counting(), bound)
        for block in BLOCKS:
            kept(*block)
        assert len(kept._kept) == count
        assert sum(batch_bytes(batch) for batch in kept._kept.values()) <= bound


def test_bytes_count_every_tensor():
    batch = make(Counting())(*BLOCKS[0])
    number = sum(part.nbytes for part in batch.number.values())
    edges = sum(end.nbytes for pair in batch.edge.values() for end in pair)
    assert number > 0
    assert edges > 0
    assert batch_bytes(batch) > number + edges + batch.prior_feature.nbytes
