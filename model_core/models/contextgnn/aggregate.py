"""Sums over neighbours: the one place where rows are gathered and edges are reduced."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from model_core.models.contextgnn.rows import SharedRows

Term = tuple[SharedRows, Tensor]


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


def gather_sum(terms: Sequence[Term], bias: Tensor | None = None) -> Tensor:
    """Row n is the sum, over the terms, of the row that the term's index names for n.

    Where few rows are read by many nodes this is the fast way to put node states
    together: one pass that writes each result once, instead of a gather and an
    addition per term.

    Args:
        terms: (rows [R, d], index int64 [N]) pairs, at least one; R differs, N does
            not. A negative index reads nothing.
        bias: float [d], added to every row.

    Returns:
        float [N, d].

    Example:
        >>> rows = torch.tensor([[1.0], [2.0]])
        >>> gather_sum([(SharedRows(rows), torch.tensor([0, 1, 1])),
        ...             (SharedRows(10 * rows), torch.tensor([1, -1, 0]))])
        tensor([[21.],
                [ 2.],
                [12.]])
    """
    tables, places, at = [], [], 0
    nothing = terms[0][0].rows.new_zeros((1, terms[0][0].rows.shape[1]))
    for number, (shared, index) in enumerate(terms):
        table = torch.cat([shared.rows, nothing])  # what negative indices read
        if number == 0 and bias is not None:
            table = table + bias
        places.append(torch.where(index < 0, at + len(shared), index + at))
        tables.append(table)
        at += len(table)
    if len(terms) == 1:
        return tables[0].index_select(0, places[0])
    return _BagSum.apply(torch.cat(tables), torch.stack(places, dim=1))


def gather_sum_by(terms: Sequence[Term], node: Tensor, target: Tensor, size: int) -> Tensor:
    """``aggregate_sum(gather_sum(terms)[node], target, size)`` without a row per node in between.

    It has no gradient: the one of ``embedding_bag`` sorts all places of a step.

    Args:
        terms: As in ``gather_sum``.
        node: int64 [M], nodes that send.
        target: int64 [M], a row of the result for each.
        size: Rows of the result.

    Returns:
        float [size, d]; zero where nothing arrives.
    """
    if not bool((target[1:] >= target[:-1]).all()):
        target, order = target.sort()
        node = node[order]
    first = torch.searchsorted(target, torch.arange(size, device=target.device))
    total = None
    for shared, index in terms:
        rows = torch.cat([shared.rows, shared.rows.new_zeros((1, shared.rows.shape[1]))])
        index = index.index_select(0, node)
        index = torch.where(index < 0, len(shared), index)
        part = torch.nn.functional.embedding_bag(index, rows, first, mode="sum")
        total = part if total is None else total.add_(part)
    assert total is not None
    return total


class _BagSum(torch.autograd.Function):
    """``embedding_bag``, whose own backward pass sorts all places of a step."""

    @staticmethod
    def forward(ctx, table: Tensor, place: Tensor) -> Tensor:  # type: ignore[override]
        ctx.save_for_backward(place)
        ctx.num_rows = len(table)
        return torch.nn.functional.embedding_bag(place, table, mode="sum")

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        (place,) = ctx.saved_tensors
        total = grad.new_zeros((ctx.num_rows, grad.shape[1]))
        for column in place.unbind(1):
            total.index_add_(0, column.contiguous(), grad)
        return total, None
