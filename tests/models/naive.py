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
    """float [B, num_items]."""
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

    user = state[schema.entity_table]
    rows = [
        _row(model, user[seed], _tower(model, user[seed], item_vectors),
             _local_scores(model, batch, state, seed), _prior_scores(model, batch, seed))
        for seed in range(batch.num_seeds)
    ]
    return torch.stack(rows) if rows else torch.zeros(0, schema.num_items)


def _tower(model: ContextGNN, user: torch.Tensor, item_vectors: torch.Tensor) -> list[torch.Tensor]:
    config, width = model.config, model.config.embedding_dim
    if not config.use_tower:
        return [item_vectors[item, 0] for item in range(model.schema.num_items)]
    scores = []
    for item in range(model.schema.num_items):
        p = model.user(user)
        score = (p * item_vectors[item, :width]).sum() / math.sqrt(width) + model.tower_offset(p)[0]
        if config.item_bias:
            score = score + model.item_bias.bias.weight[item, 0]
        scores.append(score)
    return scores


def _local_scores(model: ContextGNN, batch: Batch, state: dict, seed: int) -> dict[int, torch.Tensor]:
    """Pair scores of the items in the seed's own subgraph."""
    if not model.has_pair:
        return {}
    table, user = model.schema.item_table, state[model.schema.entity_table][seed]
    scores = {}
    for node, (owner, item) in enumerate(zip(batch.seed[table].tolist(), batch.item.tolist(), strict=True)):
        if owner == seed:
            local = state[table][node]
            dot = (user * local).sum() / math.sqrt(model.config.channels)
            score = model.pair_item(local)[0] + dot + model.pair_offset(model.user(user))[0]
            scores[item] = model.pair_gain * score
    return scores


def _prior_scores(model: ContextGNN, batch: Batch, seed: int) -> dict[int, torch.Tensor]:
    """What counting says about the candidates of the seed."""
    if model.prior is None:
        return {}
    scores = {}
    for owner, item, feature in zip(batch.prior_seed.tolist(), batch.prior_item.tolist(),
                                    batch.prior_feature, strict=True):
        if owner == seed:
            x = (feature - model.prior.mean) / model.prior.scale
            said = []
            for network in model.prior.networks:
                hidden = x
                for linear in (network.enter, network.middle):
                    hidden = torch.relu(linear.weight @ hidden + linear.bias)
                said.append((network.leave.weight @ hidden + network.leave.bias)[0])
            scores[item] = sum(said) / len(said)
    return scores


def _row(model: ContextGNN, user: torch.Tensor, tower: list[torch.Tensor],
         local: dict[int, torch.Tensor], prior: dict[int, torch.Tensor]) -> torch.Tensor:
    """Fusion of one seed's scores."""
    config = model.config
    if config.fusion == "two_level" and (model.has_pair or model.prior is not None):
        near, far = {}, {}
        for item, score in enumerate(tower):
            if item in local or item in prior:
                bias = model.item_bias.bias.weight[item, 1] if model.item_bias is not None else 0.0
                near[item] = local.get(item, 0.0) + prior.get(item, 0.0) + bias
            else:
                far[item] = score
        gate = torch.sigmoid(model.gate(model.user(user))[0])
        # The shift comes after training: the far group is no longer a share of one.
        share = (1 - gate) * torch.exp(-model.far_shift) if near else 1.0
        probability = _softmax(near, gate) | _softmax(far, share)
        return torch.stack([torch.log(probability[item]) for item in range(len(tower))])
    scores = dict(enumerate(tower))
    for item, score in local.items():
        scores[item] = score if config.fusion == "replace" else scores[item] + score
    for item, score in prior.items():
        scores[item] = scores[item] + score
    return torch.stack([scores[item] for item in range(len(tower))])


def _softmax(scores: dict[int, torch.Tensor], share) -> dict[int, torch.Tensor]:
    total = sum(torch.exp(score) for score in scores.values())
    return {item: share * torch.exp(score) / total for item, score in scores.items()}
