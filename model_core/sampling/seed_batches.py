"""SeedBatches: batches of seeds, kept while memory allows."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, replace
from typing import Any, Literal

import torch
from torch import Tensor

from model_core.graph.temporal_graph import TemporalGraph
from model_core.priors.features import PairPriors
from model_core.sampling.batches import Batch, make_batch
from model_core.sampling.neighbors import sample

#: Most memory for batches of validation seeds. Blocks beyond it are made anew at every epoch.
MAX_KEPT_BYTES = 2**28

#: What tells blocks of seeds apart: bytes of their entities and of their times.
BlockKey = tuple[bytes, bytes]


class SeedBatches:
    """Samples around seeds, counts their candidates and looks up features.

    Nothing of that depends on weights, so a batch that was kept is the one that would be
    made anew. Prior features are kept in 16 bits where they are rounded to that anyway.

    Args:
        graph: The graph as tensors.
        fan_out: Neighbours per hop.
        strategy: ``"last"`` or ``"uniform"`` (then the same draw for the same block).
        priors: Candidate pairs; none for a model without them.
        max_bytes: Most memory for kept batches; 0 keeps none. Later blocks find no room.
    """

    def __init__(
        self, graph: TemporalGraph[Tensor], fan_out: Sequence[int], *,
        strategy: Literal["last", "uniform"] = "last", priors: PairPriors | None = None,
        max_bytes: int = 0,
    ) -> None:
        self.graph, self.fan_out, self.strategy = graph, tuple(fan_out), strategy
        self.priors = priors
        self._room = max_bytes
        self._lock = threading.Lock()
        self._kept: dict[BlockKey, Batch] = {}

    def __call__(self, entity: Tensor, time: Tensor) -> Batch:
        """The batch of some seeds, int64 [B] each, on the graph's device."""
        key = block_key(entity, time)
        if key in self._kept:
            kept = self._kept[key]
            return replace(kept, prior_feature=kept.prior_feature.float())
        subgraph = sample(self.graph, entity, time, self.fan_out, strategy=self.strategy)
        candidates = None if self.priors is None else self.priors(
            entity.cpu().numpy(), time.cpu().numpy())
        batch = make_batch(self.graph, subgraph, candidates)
        if self._room > 0:
            self._keep(key, batch)
        return batch

    def _keep(self, key: BlockKey, batch: Batch) -> None:
        half = batch.prior_feature.half()
        if torch.equal(half.float(), batch.prior_feature):
            batch = replace(batch, prior_feature=half)
        size = batch_bytes(batch)
        with self._lock:
            if key not in self._kept and size <= self._room:
                self._kept[key] = batch
                self._room -= size


def block_key(entity: Tensor, time: Tensor) -> BlockKey:
    """The exact seeds of a block, in their order."""
    return entity.cpu().numpy().tobytes(), time.cpu().numpy().tobytes()


def batch_bytes(batch: Batch) -> int:
    """Bytes of all tensors of a batch."""
    return sum(tensor.nbytes for field in fields(batch) for tensor in _tensors(getattr(batch, field.name)))


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from _tensors(part)
    elif isinstance(value, tuple):
        for part in value:
            yield from _tensors(part)
