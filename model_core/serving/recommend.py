"""Recommendations from a bundle and a graph: numpy and onnxruntime, no torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from model_core.errors import ArtifactError, DataError
from model_core.graph.schema import GraphSchema
from model_core.graph.temporal_graph import TemporalGraph
from model_core.priors.features import PairPriors
from model_core.serving.batches import make_batch
from model_core.serving.bundle import Bundle
from model_core.serving.inputs import flat_inputs
from model_core.serving.sampler import sample
from model_core.serving.session import ScoringSession
from model_core.serving.top_k import top_k


@dataclass(frozen=True)
class Recommender:
    """Ranks the catalogue for entities of a graph.

    The graph may be newer than the model (more rows in any table but the catalogue):
    a user's latest events count as soon as they are in the graph.

    Attributes:
        session: The network.
        schema: The graph it expects.
        fan_out: Neighbours per node and relation at each hop.
        item_vectors: float32 [num_items, d].
        item_id: int64 [num_items], primary key of every catalogue row.
        graph: Where neighbourhoods are read.
        batch_size: Entities per run of the network; bounds memory, changes no list.
        priors: Candidate pairs, for a model that uses them.

    Example::

        recommender = Recommender.open("bundle", "graph")
        item, score = recommender.recommend(np.array([17, 4]), time=1_322_179_200, k=10)
    """

    session: ScoringSession
    schema: GraphSchema
    fan_out: tuple[int, ...]
    item_vectors: np.ndarray
    item_id: np.ndarray
    graph: TemporalGraph[np.ndarray]
    batch_size: int = 64
    priors: PairPriors | None = None

    def __post_init__(self) -> None:
        found, num_items = GraphSchema.of(self.graph), len(self.item_vectors)
        if found != self.schema or num_items != found.num_items:
            names = ("tables", "relations", "entity_table", "item_table", "num_items", "hops",
                     "target_routes")
            differ = [name for name in names if getattr(found, name) != getattr(self.schema, name)]
            record = self.graph.record
            raise ArtifactError(
                f"graph {record.path if record else ''}".strip(), "the schema the model was "
                f"trained on ({num_items} items)", f"another one (differs in {differ}; "
                f"{found.num_items} items)",
                "pass the graph of the same run, or train and export again on this data",
            )

    @classmethod
    def open(
        cls, bundle_dir: Path | str, graph_dir: Path | str, *, num_threads: int | None = None,
        batch_size: int = 64,
    ) -> Recommender:
        """Open a bundle (every byte is checked) and a graph.

        Raises:
            ArtifactError: One of them is damaged, or they do not belong together.
        """
        bundle, graph = Bundle.open(bundle_dir), TemporalGraph.open(graph_dir)
        return cls(
            ScoringSession(bundle.model_path, num_threads=num_threads), bundle.schema,
            bundle.fan_out, np.asarray(bundle.item_vectors), np.asarray(bundle.item_id),
            graph, batch_size, bundle.priors(graph),
        )

    def scores(self, entity: np.ndarray, time: int | np.ndarray) -> np.ndarray:
        """Raw scores of every catalogue row.

        Args:
            entity: int64 [B], rows (= primary keys) of the entity table.
            time: Now, in UTC seconds: one for all, or int64 [B]. Nothing later is read.

        Returns:
            float32 [B, num_items].

        Raises:
            DataError: An entity that the graph does not have.
        """
        entity, time = self._checked(entity, time)
        parts = [self._run(entity[i : i + self.batch_size], time[i : i + self.batch_size])
                 for i in range(0, len(entity), self.batch_size)]
        return np.concatenate([np.zeros((0, len(self.item_id)), np.float32), *parts])

    def recommend(
        self, entity: np.ndarray, time: int | np.ndarray, k: int,
        exclude: Sequence[np.ndarray] | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """The k best items for every entity, equal scores by item id.

        Args:
            entity, time: As in ``scores``.
            k: Length of the lists.
            exclude: Per entity the ids of items not to recommend; ids that are not in the
                catalogue are ignored.

        Returns:
            ``(item, score)``: int64 and float32 [B, k]; -1 and -inf where items run out.

        Raises:
            DataError: An entity that the graph does not have, k < 1, or not one exclusion
                list per entity.
        """
        entity, time = self._checked(entity, time)
        if k < 1:
            raise DataError("k", "at least 1", str(k), "ask for one item or more")
        if exclude is not None and len(exclude) != len(entity):
            raise DataError("exclude", f"{len(entity)} lists, one per entity", str(len(exclude)),
                            "pass an empty list where nothing is excluded")
        items = np.full((len(entity), k), -1, dtype=np.int64)
        values = np.full((len(entity), k), -np.inf, dtype=np.float32)
        # Ranked block by block: [B, num_items] is never held for more than one block.
        for start in range(0, len(entity), self.batch_size):
            block = slice(start, start + self.batch_size)
            items[block], values[block] = self.rank(
                self._run(entity[block], time[block]), k, None if exclude is None else exclude[block])
        return items, values

    def rank(
        self, scores: np.ndarray, k: int, exclude: Sequence[np.ndarray] | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """The k best items of given scores, float32 [B, num_items]; as ``recommend``."""
        # Columns in the order of their ids, so that ties fall by id.
        by_id = np.argsort(self.item_id, kind="stable")
        scores = scores[:, by_id]
        if exclude is not None:
            lists = [np.asarray(ids, dtype=np.int64).reshape(-1) for ids in exclude]
            row = np.repeat(np.arange(len(lists)), [len(ids) for ids in lists])
            ids = np.concatenate([np.zeros(0, np.int64), *lists])
            place = np.minimum(np.searchsorted(self.item_id, ids, sorter=by_id), len(by_id) - 1)
            known = self.item_id[by_id[place]] == ids
            scores[row[known], place[known]] = -np.inf
        column, value = top_k(scores, k)
        return np.where(column < 0, -1, self.item_id[by_id[column]]), value

    def _run(self, entity: np.ndarray, time: np.ndarray) -> np.ndarray:
        subgraph = sample(self.graph, entity, time, self.fan_out)
        candidates = None if self.priors is None else self.priors(entity, time)
        batch = make_batch(self.graph, subgraph, candidates)
        scores = self.session.run(flat_inputs(self.schema, batch, entity, self.item_vectors))
        if not np.isfinite(scores).all():
            row = int(np.flatnonzero(~np.isfinite(scores).all(axis=1))[0])
            raise ArtifactError(f"scores of entity {entity[row]} at time {time[row]}",
                                "finite numbers", "NaN or infinity",
                                "train again with a lower learning rate")
        return scores

    def _checked(
        self, entity: np.ndarray, time: int | np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        entity = np.asarray(entity, dtype=np.int64).reshape(-1)
        bad = (entity < 0) | (entity >= self.graph.num_entities)
        if bad.any():
            raise DataError(
                f"entity {entity[bad][0]}", f"a row 0..{self.graph.num_entities - 1} of table "
                f"{self.graph.entity_table!r}", f"{int(bad.sum())} unknown",
                "build the graph from data that holds this entity",
            )
        return entity, np.broadcast_to(np.asarray(time, dtype=np.int64), entity.shape)
