"""Which node states a model has to compute: those that reach a readout, no others.

At the last layer only the seeds (and the items, for the pair score) are read. One layer
earlier also the sources of their edges are needed, and so on. The plan follows from the
schema alone, so layers own no parameter that could never receive a gradient.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from model_core.graph.schema import GraphSchema
from model_core.graph.temporal_graph import Relation


@dataclass(frozen=True)
class LayerPlan:
    """What one layer computes.

    Attributes:
        node_hops: Table to the number of leading hops whose nodes get a new state.
        edge_hops: Relation to the number of leading hops whose edges carry a message.
        back_hops: The same for edges that are walked backwards, from dst to src.
    """

    node_hops: Mapping[str, int]
    edge_hops: Mapping[Relation, int]
    back_hops: Mapping[Relation, int]


def tables_per_hop(schema: GraphSchema, num_layers: int) -> list[frozenset[str]]:
    """For every hop 0..num_layers, the tables that can be reached in exactly so many hops."""
    reached = [frozenset({schema.entity_table})]
    for _ in range(num_layers):
        reached.append(frozenset(r.src for r in schema.relations if r.dst in reached[-1]))
    return reached


def plan_layers(
    schema: GraphSchema, num_layers: int, read_items: bool
) -> tuple[dict[str, int], tuple[LayerPlan, ...]]:
    """Plan all layers, from the last one back.

    An edge drawn at hop h ends in a node first reached at hop h and starts in a node
    first reached at hop h + 1 or before. All edges lead towards the seed, so an item at
    the last hop would never hear of the rows through which it was reached: how often,
    how long ago. At the last layer the edges out of items are therefore walked backwards.

    Args:
        schema: Tables and relations.
        num_layers: Number of layers L, equal to the number of sampled hops.
        read_items: Whether item nodes of every hop are read after the last layer.

    Returns:
        Table to leading hops needed as input, and the plan of every layer.
    """
    reached = tables_per_hop(schema, num_layers)

    def leading(hops: Mapping[str, int]) -> dict[str, int]:
        """Cut each prefix back to the last hop at which its table can appear."""
        kept = {}
        for table, count in hops.items():
            possible = [hop for hop in range(count) if table in reached[hop]]
            if possible:
                kept[table] = possible[-1] + 1
        return kept

    need = {schema.entity_table: 1}
    if read_items:
        need[schema.item_table] = num_layers + 1
    need = leading(need)

    def drawn(relation: Relation, below: int) -> int:
        """Leading hops, up to ``below``, within which the relation can have edges."""
        hops = [hop for hop in range(min(below, num_layers)) if relation.dst in reached[hop]]
        return hops[-1] + 1 if hops else 0

    back = {relation: drawn(relation, num_layers) for relation in schema.relations
            if relation.src == schema.item_table and schema.item_table in need and read_items}
    plans = []
    for _ in range(num_layers):
        forth = {relation: drawn(relation, need.get(relation.dst, 0))
                 for relation in schema.relations}
        plan = LayerPlan(need, {r: n for r, n in forth.items() if n},
                         {r: n for r, n in back.items() if n})
        plans.append(plan)
        earlier = dict(need)
        for relation, hops in plan.edge_hops.items():
            earlier[relation.src] = max(earlier.get(relation.src, 0), hops + 1)
        for relation, hops in plan.back_hops.items():
            earlier[relation.dst] = max(earlier.get(relation.dst, 0), hops)
        need, back = leading(earlier), {}
    return need, tuple(reversed(plans))
