"""The numpy sampler and batch are the torch ones, array for array, without torch."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import fields

import numpy as np
import pytest
import torch
from hypothesis import given, settings

from model_core.errors import ConfigError
from model_core.priors.features import FEATURES, Candidates
from model_core.sampling import batches as torch_batches
from model_core.sampling import neighbors
from model_core.serving import batches as numpy_batches
from model_core.serving import sampler
from tests.factories import make_shop
from tests.sampling.random_graphs import batches


def assert_same(left, right, where=""):
    """Equal values, dtypes and structure, down to the arrays."""
    if isinstance(left, torch.Tensor):
        left = left.numpy()
    if isinstance(left, np.ndarray):
        assert (left.dtype, left.shape) == (right.dtype, right.shape), where
        assert np.array_equal(left, right), where
    elif isinstance(left, dict):
        assert list(left) == list(right), where
        for key in left:
            assert_same(left[key], right[key], f"{where}.{key}")
    elif isinstance(left, tuple):
        assert len(left) == len(right), where
        for one, other in zip(left, right, strict=True):
            assert_same(one, other, where)
    else:
        assert left == right, where


def made_up_candidates(num_seeds, num_items):
    """Every second pair, with numbers that tell them apart."""
    seed, item = np.divmod(np.arange(0, num_seeds * num_items, 2), num_items)
    feature = np.arange(len(seed) * len(FEATURES), dtype=np.float32).reshape(-1, len(FEATURES))
    return Candidates(seed, item, feature)


@settings(max_examples=200, deadline=None)
@given(batch=batches())
def test_numpy_twin_equals_torch(batch):
    graph, seeds, seed_time, fan_out = batch
    tensors = graph.to_torch()
    torch_subgraph = neighbors.sample(
        tensors, torch.from_numpy(seeds), torch.from_numpy(seed_time), fan_out)
    numpy_subgraph = sampler.sample(graph, seeds, seed_time, fan_out)
    pairs = [
        (torch_subgraph, numpy_subgraph),
        *((torch_batches.make_batch(tensors, torch_subgraph, candidates),
           numpy_batches.make_batch(graph, numpy_subgraph, candidates))
          for candidates in (None, made_up_candidates(len(seeds), graph.num_items))),
    ]
    for left, right in pairs:
        # The torch batch also says what training shares between nodes; a bundle has no use for it.
        own = {"shared_age", "parent", "row", "encoded"}
        shared = [f.name for f in fields(left) if f.name not in own]
        assert shared == [f.name for f in fields(right)]
        for field in fields(right):
            assert_same(getattr(left, field.name), getattr(right, field.name), field.name)
    assert numpy_subgraph.num_seeds == len(seeds)


def test_too_large_a_batch_is_refused():
    from dataclasses import replace

    graph = make_shop([(0, 0, 0)], 1, 1)
    graph = replace(graph, num_nodes={**graph.num_nodes, "events": 2**62})
    with pytest.raises(ConfigError, match="fewer users"):
        sampler.sample(graph, np.zeros(2, np.int64), np.zeros(2, np.int64), [1])


def test_serving_imports_no_torch():
    code = ("import sys, model_core.serving, model_core.serving.sampler, model_core.serving.batches;"
            "sys.exit('torch' in sys.modules)")
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
