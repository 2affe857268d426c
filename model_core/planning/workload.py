"""Counts of a run, derived from a dataset and its settings as the steps themselves do it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from model_core.config import RunConfig, TrainConfig
from model_core.planning.facts import DatasetFacts
from model_core.planning.routes import likely_routes
from model_core.planning.skeleton import Skeleton, SubgraphFacts
from model_core.priors.build import most_snapshots
from model_core.priors.features import feature_names

#: As in training.batching and evaluation.ranking, which need torch; tests hold them equal.
MIN_BATCH_SIZE, MAX_SCORES = 16, 2**26


@dataclass(frozen=True)
class Workload:
    """What the cost formulas count.

    Attributes:
        facts, skeleton, subgraph, config: Where the counts come from.
        num_layers: Message-passing layers.
        rows_per_step: Seed rows of an optimiser step.
        rows_per_micro_batch: Rows that are computed on at once.
        steps_per_epoch: Optimiser steps of an epoch.
        num_interactions: Walks from users to items: rows of the deepest event table of each
            route.
        num_windows: Distinct training times.
        num_features: Features of a candidate pair; with several routes some are of the labels' kind alone.
    """

    facts: DatasetFacts
    skeleton: Skeleton
    subgraph: SubgraphFacts
    config: RunConfig
    num_layers: int
    rows_per_step: int
    rows_per_micro_batch: int
    steps_per_epoch: int
    num_interactions: int
    num_windows: int
    num_features: int

    @classmethod
    def of(cls, facts: DatasetFacts, skeleton: Skeleton, subgraph: SubgraphFacts,
           config: RunConfig) -> Workload:
        train = config.train.for_catalogue(facts.num_items)
        config = config.model_copy(update={"train": train})
        rows = rows_per_step(skeleton.num_train, train)
        scores = min(train.num_classes, facts.num_items) if train.loss == "sampled" else facts.num_items
        micro = min(max(int(train.max_batch_nodes / max(subgraph.nodes, 1.0)), 1),
                    max(MAX_SCORES // max(scores, 1), 1), rows)
        steps = min(-(-skeleton.num_train // rows), train.max_steps_per_epoch)
        routes = likely_routes(facts)
        walks = sum(max((facts.tables[hop.dst].num_rows for hop in route if not hop.forward),
                        default=facts.num_entities) for route in routes)
        windows = len(np.unique(skeleton.seed_time))
        return cls(facts, skeleton, subgraph, config, len(subgraph.fan_out), rows, micro, max(steps, 1),
                   walks, windows, len(feature_names(len(routes) > 1)))

    @property
    def num_columns(self) -> int:
        """Items that a training row is scored against in one step."""
        train = self.config.train
        return self.facts.num_items if train.loss == "full" else min(
            train.num_classes, self.facts.num_items)

    @property
    def num_relations(self) -> int:
        return 2 * sum(len(table.source.fkeys) for table in self.facts.tables.values())

    @property
    def item_width(self) -> int:
        """Learned numbers per item: the LOOKUP vector and the bias."""
        model = self.config.model
        if not model.use_tower:
            return 1
        return (model.embedding_dim if model.item_vectors != "feature" else 0) + model.item_bias

    @property
    def has_item_encoder(self) -> bool:
        model, item = self.config.model, self.facts.tables[self.facts.task.item_table]
        return model.use_tower and model.item_vectors != "lookup" and item.width(1) > 0

    @property
    def num_network_weights(self) -> int:
        """Weights that do not grow with the catalogue."""
        c, blocks = self.config.model.channels, self.config.model.encoder_blocks
        text = self.config.graph.text_dim
        encoders = sum((table.width(text) + table.num_codes + 1) * c + (2 * blocks + 1) * c * c
                       for table in self.facts.tables.values())
        layers = self.num_layers * (len(self.facts.tables) + self.num_relations) * c * c
        return encoders + layers

    @property
    def num_known_items(self) -> int:
        """Items that may have been met by somebody."""
        return min(self.facts.num_items, self.num_interactions)

    @property
    def num_snapshots(self) -> int:
        """Moments at which item-item similarity is kept for the pair prior."""
        most = most_snapshots(
            self.num_known_items, self.config.model.num_similar, self.config.model.num_following)
        return min(self.num_windows, most) + 1

    def distinct_rows(self, num_seeds: int) -> dict[str, float]:
        """Table to distinct rows in a batch of so many seeds."""
        return {name: self.subgraph.distinct_rows(name, num_seeds, table.num_rows)
                for name, table in self.facts.tables.items()}

    def encoded_rows(self, num_seeds: int) -> dict[str, float]:
        """Table to rows that are encoded for so many seeds: those with equal features once."""
        return {name: self.facts.tables[name].distinct_features(rows)
                for name, rows in self.distinct_rows(num_seeds).items()}

    @property
    def num_prior_networks(self) -> int:
        """Networks of the pair prior; several where fusion trains them apart."""
        model = self.config.model
        return model.prior_networks if model.fusion == "two_level" else 1

    @property
    def candidates_per_seed(self) -> float:
        """Pairs of the pair prior: own items, nearest by item-kNN and by what follows, recently popular."""
        model = self.config.model
        if not model.use_priors:
            return 0.0
        return (self.subgraph.items + 1.2 * model.num_similar + 0.5 * model.num_following
                + model.num_popular)


def rows_per_step(num_train: int, config: TrainConfig) -> int:
    """Batch size, made smaller where an epoch would have too few steps."""
    wanted = max(-(-num_train // config.min_steps_per_epoch), MIN_BATCH_SIZE)
    return min(config.batch_size, wanted)
