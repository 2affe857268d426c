"""Node states as sums of rows that many nodes share.

Before the first message a node's state is the encoding of its row, plus that of its
age, plus the mark of a seed. A batch has far fewer distinct rows and ages than nodes,
and a linear map commutes with picking rows. So the first layer maps the distinct rows
and ages, and picks afterwards.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from model_core.models.contextgnn.aggregate import Term, gather_sum
from model_core.models.contextgnn.rows import SharedRows


@dataclass(frozen=True)
class NodeStates:
    """States of N nodes of one table: node n has the sum of ``rows[index[n]]`` over the terms.

    Attributes:
        terms: (rows [R, c], index int64 [N]) pairs, see ``gather_sum``; a negative
            index adds nothing. Empty where every node has a row of its own.
        own: float [N, c], these rows; None where there are terms.
        head: float [H, c], the states of the first nodes once more, where they are known
            beside the terms.
    """

    terms: tuple[Term, ...] = ()
    own: Tensor | None = None
    head: Tensor | None = None

    @classmethod
    def with_leaves(cls, inner: Tensor, leaf: SharedRows, leaf_of: Tensor) -> NodeStates:
        """Nodes with states of their own, and behind them nodes that share the rows of ``leaf``.

        Args:
            inner: float [H, c].
            leaf: Rows [R, c].
            leaf_of: int64 [N], with negative numbers for the first H nodes.
        """
        if not len(inner):
            return cls(((leaf, leaf_of),))
        node = torch.arange(len(leaf_of), device=leaf_of.device)
        inner_of = torch.where(node < len(inner), node, -1)
        return cls(((SharedRows(inner), inner_of), (leaf, leaf_of)), head=inner)

    @property
    def size(self) -> int:
        """N. Not ``len``, which would make a constant of it in an exported model."""
        return (self.terms[0][1] if self.own is None else self.own).shape[0]

    @cached_property
    def dense(self) -> Tensor:
        """float [N, c]."""
        return gather_sum(self.terms) if self.own is None else self.own

    def leading(self, size: int) -> NodeStates:
        """The first nodes."""
        if self.own is not None:
            return NodeStates(own=self.own[:size])
        if size == 0:  # no row has to be mapped for nobody
            return NodeStates(own=self.terms[0][0].rows[:0])
        if self.head is not None and size <= len(self.head):
            return NodeStates(own=self.head[:size])
        return NodeStates(tuple((rows, index[:size]) for rows, index in self.terms))

    def few(self, size: int) -> NodeStates:
        """The same states in the form that is cheaper to send to ``size`` receivers.

        Where that takes fewer terms, and no more rows, every sender gets a row of its own first.
        """
        num_rows = sum(len(rows) for rows, _ in self.terms)
        if len(self.terms) > 1 and 2 * self.size <= size and self.size <= 2 * num_rows:
            return NodeStates(own=self.dense)
        return self

    def picked(self, node: Tensor) -> NodeStates:
        """The nodes that ``node``, int64 [M], names; a negative number names none."""
        if self.own is not None:
            return NodeStates(((SharedRows(self.own), node),))
        known = node.clamp(min=0)
        return NodeStates(tuple((rows, torch.where(node < 0, -1, index.index_select(0, known)))
                                for rows, index in self.terms))

    def mapped(self, weight: Tensor) -> tuple[Term, ...]:
        """The terms of ``x @ weight.T``. For states with terms."""
        return tuple((rows.mapped(weight), index) for rows, index in self.terms)
