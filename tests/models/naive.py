"""ContextGNN written the slow way, from the same weights, to compare scores with.

Nothing is shared, trimmed or merged: every node is encoded by itself, every layer sums
over edges one by one, and every score is computed alone.
"""

from __future__ import annotations

import math

import torch

from model_core.models.contextgnn.gnn import module_key
from model_core.models.contextgnn.model import ContextGNN
from model_core.sampling.batches import Batch


def naive_scores(model: ContextGNN, batch: Batch, item_vectors: torch.Tensor) -> torch.Tensor:
    schema, config = model.schema, model.config
    state = {}
    for table in schema.tables:
        key = module_key(table)
        if key not in model.encoder:
            continue
        rows = []
        for node, row in enumerate(batch.row_of[table].tolist()):
            x = model.encoder[key](batch.number[table][row : row + 1],
                                   batch.category[table][row : row + 1],
                                   batch.text[table][row : row + 1])[0]
            if schema.tables[table].timed:
                x = x + model.age[key](batch.age_days[table][node : node + 1])[0]
            if table == schema.entity_table and node < batch.num_seeds:
                x = x + model.seed_vector
            rows.append(x)
        state[table] = torch.stack(rows) if rows else torch.zeros(0, config.channels)

    for layer in model.gnn.layers:
        after = {}
        for table in layer.plan.node_hops:
            key = module_key(table)
            rows = []
            for node in range(len(state[table])):
                total = layer.root[key](state[table][node])
                for relation in layer.plan.edge_hops:
                    if relation.dst != table:
                        continue
                    for src, dst in zip(*(end.tolist() for end in batch.edge[relation]), strict=True):
                        if dst == node:
                            total = total + layer.relation[relation.key](state[relation.src][src])
                for relation in layer.plan.back_hops:
                    if relation.src != table:
                        continue
                    for src, dst in zip(*(end.tolist() for end in batch.edge[relation]), strict=True):
                        if src == node:
                            total = total + layer.back[relation.key](state[relation.dst][dst])
                rows.append(torch.relu(layer.norm[key](total)))
            after[table] = torch.stack(rows) if rows else state[table]
        state = after

    scores = torch.zeros(batch.num_seeds, schema.num_items)
    for seed in range(batch.num_seeds):
        user = state[schema.entity_table][seed]
        p = model.user(user)
        for item in range(schema.num_items):
            if config.use_tower:
                dot = (p * item_vectors[item]).sum() / math.sqrt(config.embedding_dim)
                scores[seed, item] = dot + model.tower_offset(p)[0]
            else:
                scores[seed, item] = item_vectors[item, 0]
    if model.has_pair:
        for node, (seed, item) in enumerate(zip(
                batch.seed[schema.item_table].tolist(), batch.item.tolist(), strict=True)):
            user, local = state[schema.entity_table][seed], state[schema.item_table][node]
            dot = (user * local).sum() / math.sqrt(config.channels)
            scores[seed, item] = (
                model.pair_item(local)[0] + dot + model.pair_offset(model.user(user))[0])
    return scores
