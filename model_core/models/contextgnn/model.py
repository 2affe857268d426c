"""ContextGNN: a pair-wise score for items near the user, a two-tower score for the rest."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from model_core.config import ModelConfig
from model_core.errors import ConfigError
from model_core.graph.schema import GraphSchema
from model_core.graph.temporal_graph import TableColumns
from model_core.models.contextgnn.encoder import TableEncoder
from model_core.models.contextgnn.fusion import Fused, PairScores, replace_or_add, two_level
from model_core.models.contextgnn.gnn import HeteroSage, module_key
from model_core.models.contextgnn.inputs import graph_inputs
from model_core.models.contextgnn.item_vectors import ItemBias, ItemVectors
from model_core.models.contextgnn.pair_prior import PairPrior
from model_core.models.contextgnn.plan import plan_layers
from model_core.models.contextgnn.time import AgeEncoder
from model_core.priors.features import TARGET_FEATURES, feature_names
from model_core.priors.values import VALUE_FEATURES
from model_core.sampling.batches import Batch


@dataclass(frozen=True)
class Readout:
    """What a batch says before it meets the catalogue. B seeds, M local items.

    Attributes:
        query: float [B, d], user vectors, already divided by √d; with a 1 for the item
            bias behind them.
        offset: float [B, 1], the tower's a(p).
        gate: float [B, 1], log-odds that a positive is near (two-level fusion only).
        pairs: What is known about single pairs, the graph's pair score first.
    """

    query: Tensor
    offset: Tensor
    gate: Tensor
    pairs: tuple[PairScores, ...]


class ContextGNN(nn.Module):
    """Scores every item of the catalogue for every seed of a batch.

    With h the node states after the last layer, d the embedding width and c the
    channels: ``p = Linear(h_u)``; the tower score of item i is ``p·w_i / √d + b_i + a(p)``;
    an item in u's own subgraph has the pair score ``γ (Linear(h_i) + h_u·h_i / √c + b(p))``,
    a candidate that of ``PairPrior``; ``fusion.py`` makes one score of them.

    Args:
        schema: Shape of the graph.
        config: Widths and switches. Without ``use_pair`` local items keep their tower
            score. Without ``use_tower`` items elsewhere get one learned bias each.
        num_layers: Message-passing layers = sampled hops.

    Raises:
        ConfigError: No tower, and no pair score or items beyond ``num_layers`` hops.

    Source: arXiv 2411.19513 and the authors' release of November 2024. Deviations: dot
    products are scaled by 1/√width, scores are raw logits, encoders run once per
    distinct row, and node states that reach no score are not computed. The release
    samples with reverse edges; see ``plan.py`` and ``gnn.py`` for what became of them.
    """

    far_shift: Tensor

    def __init__(self, schema: GraphSchema, config: ModelConfig, num_layers: int) -> None:
        super().__init__()
        self.schema, self.config, self.num_layers = schema, config, num_layers
        channels, dim = config.channels, config.embedding_dim
        inputs, plans = plan_layers(schema, num_layers, config.use_pair)
        #: Whether there is a pair score: asked for, and items are within reach.
        self.has_pair = config.use_pair and schema.item_table in plans[-1].node_hops
        if not (self.has_pair or config.use_tower):
            raise ConfigError(
                "model.use_pair, model.use_tower",
                "a tower, or a pair score with items within reach",
                f"use_pair={config.use_pair}, use_tower={config.use_tower}, num_layers={num_layers}"
                f" where items are {schema.hops} hops away",
                "set model.use_tower=true or unset model.num_layers",
            )
        self.tables = tuple(inputs)
        self.encoder = nn.ModuleDict({
            module_key(table): TableEncoder(schema.tables[table], channels, channels,
                                            config.encoder_blocks, config.dropout)
            for table in inputs
        })
        self.age = nn.ModuleDict({
            module_key(table): AgeEncoder(channels)
            for table in inputs if schema.tables[table].timed
        })
        self.seed_vector = nn.Parameter(torch.randn(channels))
        self.gnn = HeteroSage(plans, channels)
        self.user = nn.Linear(channels, dim)
        if config.use_tower:
            self.tower_offset = nn.Linear(dim, 1)
            self.items: nn.Module = ItemVectors(schema, config)
        else:
            self.items = ItemBias(schema.num_items)
        features = feature_names(schema.target_events)
        late = [place for place, name in enumerate(features) if name in (*VALUE_FEATURES, *TARGET_FEATURES)]
        # Only two-level fusion trains several networks apart; under one loss they are worth no more than one.
        networks = config.prior_networks if config.fusion == "two_level" else 1
        self.prior = PairPrior(len(features), config.prior_hidden, config.prior_dropout, networks, late) if (
            config.use_priors) else None
        has_near = self.has_pair or self.prior is not None
        self.gate = nn.Linear(dim, 1) if has_near and config.fusion == "two_level" else None
        #: Chosen on validation (``training.far_shift``); plays no part in training.
        self.register_buffer("far_shift", torch.zeros(()))
        #: Columns behind the item vectors: the tower's bias, the bias among near items.
        self.item_bias = ItemBias(schema.num_items, 1 if self.gate is None else 2) if (
            config.use_tower and config.item_bias) else None
        if self.has_pair:
            self.pair_item = nn.Linear(channels, 1)
            self.pair_offset = nn.Linear(dim, 1)
            #: What counting says is learned in a few steps, states that say more than noise
            #: take longer: beside a prior the graph's pair score starts at nothing.
            self.pair_gain = nn.Parameter(torch.tensor(
                config.pair_start if self.prior is not None else 1.0))

    def item_vectors(
        self, item_columns: TableColumns[Tensor], rows: Tensor | None = None
    ) -> Tensor:
        """Vectors of the catalogue, or of ``rows``, int64 [C]: float [num_items or C, D].

        D is the embedding width and the columns of the item bias.
        """
        vectors = self.items(item_columns, rows)
        if self.item_bias is not None:
            vectors = torch.cat([vectors, self.item_bias(item_columns, rows)], dim=1)
        return vectors

    def forward(
        self, batch: Batch, item_vectors: Tensor, generator: torch.Generator | None = None,
        absent: Tensor | None = None,
    ) -> Tensor:
        """Raw scores of the whole catalogue; exports to ONNX.

        Args:
            batch: B seeds with their subgraphs. Where ``num_nodes_per_hop`` is empty
                every node state is computed (as in an exported model); scores agree.
            item_vectors: float [num_items, D], from ``item_vectors``.
            generator: For dropout, in training mode only; on the batch's device.
            absent: bool [B, num_items], items that do not exist for a row, in training.

        Returns:
            float [B, num_items].
        """
        return self.catalogue_scores(self.read_out(batch, generator), item_vectors, absent)

    def catalogue_scores(
        self, readout: Readout, item_vectors: Tensor, absent: Tensor | None = None
    ) -> Tensor:
        """Raw scores of the whole catalogue, float [B, num_items]; arguments as in ``forward``."""
        return self.fused_catalogue(readout, item_vectors, absent).scores

    def fused_catalogue(
        self, readout: Readout, item_vectors: Tensor, absent: Tensor | None = None
    ) -> Fused:
        """The same for the loss, which also reads what each network of the pair prior says."""
        return self._fuse(readout, readout.pairs, item_vectors, None, absent, None)

    def class_scores(
        self, readout: Readout, class_vectors: Tensor, classes: Tensor, log_q: Tensor | None = None,
        absent: Tensor | None = None,
    ) -> Tensor:
        """Raw scores of some items only, float [B, C]; arguments as in ``fused_classes``."""
        return self.fused_classes(readout, class_vectors, classes, log_q, absent).scores

    def fused_classes(
        self, readout: Readout, class_vectors: Tensor, classes: Tensor, log_q: Tensor | None = None,
        absent: Tensor | None = None,
    ) -> Fused:
        """Scores of some items only, for the sampled softmax.

        Args:
            readout: From ``read_out``.
            class_vectors: float [C, D], ``item_vectors(columns, rows=classes)``.
            classes: int64 [C], distinct catalogue rows.
            log_q: float [C], log-probability that a class is among the classes, which is
                taken off its score. It belongs here and not into the loss, because the
                partition of a group of items is estimated here.
            absent: bool [B, C], classes that do not exist for a row.

        Returns:
            Scores float [B, C]. With all items as classes and no ``log_q`` column c equals
            ``forward(...)[:, classes[c]]``; with fewer, and two-level fusion, up to a
            constant per row and group.
        """
        ascending, column = classes.sort()  # a search, because a table of all items would not scale
        among = []
        for pairs in readout.pairs:
            near = torch.searchsorted(ascending, pairs.item).clamp(max=len(classes) - 1)
            chosen = (ascending[near] == pairs.item).nonzero().squeeze(1)
            among.append(PairScores(pairs.seed[chosen], column[near[chosen]], pairs.score[chosen]))
        has_near = torch.zeros_like(readout.offset, dtype=torch.bool)
        for pairs in readout.pairs:
            has_near[pairs.seed] = True
        return self._fuse(readout, tuple(among), class_vectors, log_q, absent, has_near)

    def _fuse(
        self, readout: Readout, pairs: tuple[PairScores, ...], item_vectors: Tensor,
        log_q: Tensor | None, absent: Tensor | None, has_near: Tensor | None,
    ) -> Fused:
        """Scores of the items that ``item_vectors`` stand for."""
        width = readout.query.shape[1]
        tower = self.tower_scores(readout, item_vectors[:, :width])
        correction = 0.0 if log_q is None else log_q
        if self.gate is None:
            replace = self.config.fusion == "replace" and self.has_pair
            return Fused(replace_or_add(tower, pairs, replace) - correction, None)
        has_bias = item_vectors.shape[1] > width
        near_bias = item_vectors[:, width] if has_bias else tower.new_zeros(tower.shape[1])
        shift = 0.0 if self.training else self.far_shift
        return two_level(tower - correction, pairs, near_bias - correction, readout.gate, shift,
                         absent, has_near)

    def tower_scores(self, readout: Readout, item_vectors: Tensor) -> Tensor:
        """float [B, C], without what is known of single pairs."""
        return readout.query @ item_vectors.t() + readout.offset

    def read_out(self, batch: Batch, generator: torch.Generator | None = None) -> Readout:
        """Everything but the comparison with the catalogue. Arguments as in ``forward``."""
        schema, config = self.schema, self.config
        state = self.gnn(graph_inputs(
            schema, self.num_layers, {t: self.encoder[module_key(t)] for t in self.tables},
            {t: self.age[module_key(t)] for t in self.tables if schema.tables[t].timed},
            self.seed_vector, batch, generator))
        user = state[schema.entity_table][: batch.num_seeds]
        p = self.user(user)
        if config.use_tower:
            query, offset = p / math.sqrt(config.embedding_dim), self.tower_offset(p)
            if self.item_bias is not None:
                query = torch.cat([query, torch.ones_like(p[:, :1])], dim=1)
        else:
            query, offset = torch.ones_like(p[:, :1]), torch.zeros_like(p[:, :1])
        pairs = []
        if self.has_pair:
            seed, local = batch.seed[schema.item_table], state[schema.item_table]
            match = (user.index_select(0, seed) * local).sum(dim=1) / math.sqrt(config.channels)
            score = (self.pair_item(local).squeeze(1) + match
                     + self.pair_offset(p).squeeze(1).index_select(0, seed))
            pairs.append(PairScores(seed, batch.item, self.pair_gain * score))
        if self.prior is not None:
            score = self.prior(batch.prior_feature, generator)
            pairs.append(PairScores(batch.prior_seed, batch.prior_item, score))
        gate = offset if self.gate is None else self.gate(p)
        return Readout(query, offset, gate, tuple(pairs))
