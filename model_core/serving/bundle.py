"""Bundle: all that is needed to serve a model, beside a graph.

Written by ``model_core.export.bundle``. It is described here because serving opens it
without torch.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from model_core.graph.schema import GraphSchema
from model_core.graph.temporal_graph import TemporalGraph
from model_core.priors.features import PairPriors
from model_core.priors.neighbors import ItemNeighbors
from model_core.records import Record, open_record

KIND, SCHEMA_VERSION = "bundle", 7


@dataclass(frozen=True)
class Bundle:
    """Opened bundle record.

    Payload: ``model.onnx`` (one file, weights inside), ``item_vectors.npy``,
    ``item_id.npy``, ``neighbors/*.npy`` and ``followers/*.npy`` (for a model with pair priors),
    ``schema.json``, ``config.json`` (model and training configuration),
    ``MODEL_CARD.md``. Not for serving but for carrying the model over to a graph of another
    date: ``weights.safetensors``, after a refit also ``selected.safetensors`` (the weights
    from before it), and ``encodings.json``, what the columns of its graph mean. The record's
    meta has ``times``: val_time, test_time, window_s, as_of, labels_until (by weights), and
    chosen_until, the end of the labels by which epochs were chosen.

    Attributes:
        record: The record it was opened from.
        schema: The graph it expects.
        fan_out: Neighbours per node and relation at each hop.
        num_entities: Rows of the entity table when it was exported.
        item_vectors: float32 [num_items, D], memory-mapped, an input of the model: item vectors
            with the columns of the item bias behind them.
        item_id: int64 [num_items], primary key of every catalogue row.
        neighbors: Item-item similarity as of the newest times the bundle knows; None for a
            model without pair priors.
        followers: The same of what users take after an item.
        prior_settings: Arguments of ``PairPriors.of``: window_s, num_similar, num_popular,
            num_following, columns, values.
        parity: The proof: users compared, largest score difference, and so on.
    """

    record: Record
    schema: GraphSchema
    fan_out: tuple[int, ...]
    num_entities: int
    item_vectors: np.ndarray
    item_id: np.ndarray
    neighbors: ItemNeighbors | None
    followers: ItemNeighbors | None
    prior_settings: Mapping[str, Any]
    parity: Mapping[str, Any]

    @property
    def model_path(self) -> Path:
        return self.record.file("model.onnx")

    @classmethod
    def open(cls, path: Path | str, verify: Literal["size", "digest"] = "digest") -> Bundle:
        """Open a bundle; by default every byte is checked, for it decides what users see."""
        record = open_record(path, KIND, SCHEMA_VERSION, verify)

        def load(name: str) -> np.ndarray:
            return np.load(record.file(f"{name}.npy"), mmap_mode="r", allow_pickle=False)

        schema = json.loads(record.file("schema.json").read_bytes())

        def near(kind: str) -> ItemNeighbors | None:
            if not schema["priors"]:
                return None
            return ItemNeighbors(**{name: load(f"{kind}/{name}") for name in ItemNeighbors.ARRAYS},
                                 num_items=schema["graph"]["num_items"])

        return cls(
            record=record,
            schema=GraphSchema.from_json(schema["graph"]),
            fan_out=tuple(schema["fan_out"]),
            num_entities=schema["num_entities"],
            item_vectors=load("item_vectors"), item_id=load("item_id"),
            neighbors=near("neighbors"), followers=near("followers"),
            prior_settings=schema["priors"],
            parity=record.meta["parity"],
        )

    def priors(self, graph: TemporalGraph[np.ndarray]) -> PairPriors | None:
        """Candidate pairs on a graph, which may hold newer events than the bundle.

        Own counts, popularity, values and what columns say are then as new as the graph, item-item
        similarity is that of the bundle.
        """
        neighbors, followers = self.neighbors, self.followers
        if neighbors is None or followers is None:
            return None
        return PairPriors.of(graph, lambda times: neighbors, lambda times: followers, **self.prior_settings)
