"""Distinct keys are those of torch.unique, whichever way they are found."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model_core.sampling.distinct import distinct


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 30), max_size=25), st.sampled_from([31, 200, 10_000]), st.booleans())
def test_like_unique(keys, num_cells, ascending):
    key = torch.tensor(sorted(keys) if ascending else keys, dtype=torch.int64)
    found, place = distinct(key, num_cells)
    expected, inverse = torch.unique(key, return_inverse=True)
    assert torch.equal(found, expected)
    assert torch.equal(place, inverse)
