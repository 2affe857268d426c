"""Names of the exported model's inputs, and how a batch fills them.

One place for both sides: the exporter names the graph's inputs with it and serving
feeds them, so the two cannot drift apart. It only names and arranges what it is given,
so it works for numpy arrays and torch tensors alike.
"""

from __future__ import annotations

from typing import Any

from model_core.graph.schema import GraphSchema

#: int64 [B]; only its length is read, so that an empty subgraph still has B rows of scores.
SEEDS = "seeds"
#: float32 [num_items, D], as ``ContextGNN.item_vectors`` makes them; an input and not a weight,
#: so that the file holds the network alone.
ITEM_VECTORS = "item_vectors"
#: int64 [num nodes of the item table], catalogue row of each.
ITEM = "item"
#: Candidate pairs with their features: int64 [M] twice, float32 [M, F].
PRIOR_SEED, PRIOR_ITEM, PRIOR_FEATURE = "prior_seed", "prior_item", "prior_feature"
#: What the model returns: float32 [B, num_items].
SCORES = "scores"


def flat_inputs(schema: GraphSchema, batch: Any, seeds: Any, item_vectors: Any) -> dict[str, Any]:
    """A batch as one flat, ordered mapping.

    Args:
        schema: Tables and relations, in the order of the inputs.
        batch: A ``sampling.batches.Batch`` or ``serving.batches.BatchArrays``.
        seeds: int64 [B], the seeds' rows.
        item_vectors: float32 [num_items, d].

    Returns:
        Input name to array. Per table ``number/``, ``category/``, ``text/`` (one row per
        distinct row) and ``row_of/``, ``age_days/``, ``seed/`` (one per node); per relation
        ``src/`` and ``dst/``; then ``item``, the three of the candidate pairs, ``seeds`` and
        ``item_vectors``.
    """
    inputs: dict[str, Any] = {}
    for table in schema.tables:
        for part in ("number", "category", "text", "row_of", "age_days", "seed"):
            inputs[f"{part}/{table}"] = getattr(batch, part)[table]
    for relation in schema.relations:
        inputs[f"src/{relation.key}"], inputs[f"dst/{relation.key}"] = batch.edge[relation]
    return inputs | {
        ITEM: batch.item, PRIOR_SEED: batch.prior_seed, PRIOR_ITEM: batch.prior_item,
        PRIOR_FEATURE: batch.prior_feature, SEEDS: seeds, ITEM_VECTORS: item_vectors,
    }


def batch_axes(schema: GraphSchema) -> dict[str, str]:
    """Input name to the name of its first axis, the only one whose size may change.

    Inputs with the same axis name always have the same length: distinct rows of a
    table, nodes of a table, edges of a relation, candidate pairs, seeds.
    """
    axes: dict[str, str] = {}
    for i, table in enumerate(schema.tables):
        axes |= dict.fromkeys((f"{part}/{table}" for part in ("number", "category", "text")),
                              f"num_rows_{i}")
        axes |= dict.fromkeys((f"{part}/{table}" for part in ("row_of", "age_days", "seed")),
                              f"num_nodes_{i}")
    for i, relation in enumerate(schema.relations):
        axes |= {f"src/{relation.key}": f"num_edges_{i}", f"dst/{relation.key}": f"num_edges_{i}"}
    axes |= dict.fromkeys((PRIOR_SEED, PRIOR_ITEM, PRIOR_FEATURE), "num_priors")
    axes[ITEM] = axes[f"seed/{schema.item_table}"]
    return axes | {SEEDS: "num_seeds", ITEM_VECTORS: "num_items"}
