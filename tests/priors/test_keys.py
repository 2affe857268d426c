"""Distinct keys, whichever way they are found."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_core.priors import keys as keys_module
from model_core.priors.keys import distinct_keys


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 30), max_size=12), st.sampled_from([0, 2, 64]))
def test_distinct_keys_by_marking_and_by_sorting(keys, cells_per_key):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keys_module, "MAX_CELLS_PER_KEY", cells_per_key)
        found = distinct_keys(np.array(keys, dtype=np.int64), 31)
    assert found.dtype == np.int64
    assert found.tolist() == sorted(set(keys))
