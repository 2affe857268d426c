import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model_core.models.contextgnn import aggregate


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 6), max_size=40), st.booleans())
def test_sum_per_index_in_both_spellings(index, exporting):
    messages = torch.arange(2.0 * len(index)).reshape(len(index), 2)
    original = aggregate.is_exporting
    aggregate.is_exporting = lambda: exporting
    try:
        out = aggregate.aggregate_sum(messages, torch.tensor(index, dtype=torch.int64), 7)
    finally:
        aggregate.is_exporting = original
    expected = torch.zeros(7, 2)
    for row, target in enumerate(index):
        expected[target] += messages[row]
    assert torch.equal(out, expected)
