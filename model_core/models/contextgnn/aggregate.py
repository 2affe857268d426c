"""Sum of messages per destination node: the one place where edges are reduced."""

from __future__ import annotations

import torch
from torch import Tensor


def is_exporting() -> bool:
    """Whether the model is being traced for ONNX rather than run."""
    return torch.onnx.is_in_onnx_export() or torch.compiler.is_exporting()


def aggregate_sum(messages: Tensor, index: Tensor, size: int) -> Tensor:
    """Add up the rows of ``messages`` that share an index.

    Two spellings of one sum. ``index_add_`` is the faster one, but it exports to ONNX
    as ScatterND with a reduction, which races in onnxruntime's CPU provider;
    ``scatter_add`` exports to ScatterElements, which does not.

    Args:
        messages: float [E, d].
        index: int64 [E], a row of the result for every message.
        size: Rows of the result.

    Returns:
        float [size, d]; zero where nothing arrives.

    Example:
        >>> aggregate_sum(torch.tensor([[1.0], [2.0], [4.0]]), torch.tensor([2, 0, 2]), 3)
        tensor([[2.],
                [0.],
                [5.]])
    """
    total = messages.new_zeros((size, messages.shape[1]))
    if is_exporting():
        return total.scatter_add(0, index.unsqueeze(1).expand_as(messages), messages)
    return total.index_add_(0, index, messages)
