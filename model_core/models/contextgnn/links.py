"""Edges of one relation as a layer walks them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from model_core.graph.temporal_graph import Relation

Edges = Mapping[Relation, tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Links:
    """Who sends to whom.

    Attributes:
        source, target: int64 [E], positions among the states of senders and receivers.
        parent_sends: Whether the senders are the referenced rows.
        parent: int64 [number of referring rows], the one row that each refers to, -1 for
            none: the same edges in another form. None where a row refers to several (a
            relation that is no foreign key) or where the form is not known.
    """

    source: Tensor
    target: Tensor
    parent_sends: bool
    parent: Tensor | None = None

    def parents(self, size: int) -> Tensor:
        """``parent`` for exactly so many referring rows; those beyond its end have none."""
        assert self.parent is not None
        missing = size - len(self.parent)
        if missing <= 0:
            return self.parent[:size]
        return torch.cat([self.parent, self.parent.new_full((missing,), -1)])


def layer_links(
    hops: Mapping[Relation, int], edge: Edges, parent: Mapping[Relation, Tensor],
    num_edges: Mapping[Relation, tuple[int, ...]], *, backwards: bool = False,
) -> dict[Relation, Links]:
    """Links of one layer: edges of the leading hops, all of them where numbers are not known.

    Args:
        hops: Relation to the number of leading hops.
        edge: Relation to (src, dst), sorted by hop.
        parent: Relation to ``Links.parent``, where there is one. It may hold edges of
            later hops too: their ends lie beyond the states of the layer.
        num_edges: Relation to the edges within the first 1, 2, … hops; empty: not known.
        backwards: Walk from dst to src.
    """
    links = {}
    for relation, count in hops.items():
        src, dst = edge[relation]
        if num_edges:
            cut = num_edges[relation][count - 1]
            src, dst = src[:cut], dst[:cut]
            if not cut:
                continue
        if backwards:
            src, dst = dst, src
        links[relation] = Links(src, dst, relation.parent_is_source != backwards,
                                parent.get(relation))
    return links
