"""ModelScorer: a trained model as a function of (entity, time)."""

from __future__ import annotations

import copy
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from model_core.errors import ArtifactError
from model_core.graph.schema import GraphSchema
from model_core.graph.temporal_graph import TemporalGraph
from model_core.models.contextgnn.model import ContextGNN, Readout
from model_core.models.row_encodings import RowEncodings
from model_core.priors.features import PairPriors
from model_core.sampling.batches import Batch
from model_core.sampling.seed_batches import BlockKey, SeedBatches, block_key
from model_core.workers import Workers

#: Nodes per seed that are assumed where the caller does not know better.
ASSUMED_NODES_PER_SEED = 2_048.0
DEFAULT_MAX_BATCH_NODES = 400_000
#: Scores of a block up to which it is cut for the workers: each part reads the whole item table.
MAX_CUT_SCORES = 2**23
#: Most memory for remembered readouts. Blocks beyond it are computed anew.
MAX_READOUT_BYTES = 2**28


@dataclass(frozen=True)
class PreparedBlock:
    """Seeds of one forward pass: their batch, or None where their readout is remembered."""

    key: BlockKey
    batch: Batch | None


class ModelScorer:
    """Scores the whole catalogue for any seeds, in evaluation mode and without gradients.

    Item vectors are computed once, when the scorer is first called, and rows of tables when
    a block first reads them. Take a new scorer
    (``renewed``) for every evaluation: one kept across training steps would rank with old
    vectors.

    Args:
        model: Any model of ``MODELS``. Its training mode is restored after every call.
        graph: The graph as tensors, on ``device``.
        fan_out: Neighbours per hop, as in training.
        device: Where the model is.
        strategy: ``"last"`` or ``"uniform"`` (then repeatable, not random).
        nodes_per_seed: Mean size of a subgraph, to cut blocks of seeds.
        max_batch_nodes: Nodes per forward pass, about.
        priors: Candidate pairs of any seeds; required by a model that uses them.
        kept_bytes: Most memory for batches that are kept, for seeds scored at every epoch.
        workers: Who works on the parts that a block of seeds is cut into; what suits the
            device when unset.

    Raises:
        ArtifactError: The model was made for a graph of another shape.
    """

    def __init__(
        self,
        model: ContextGNN,
        graph: TemporalGraph[Tensor],
        fan_out: Sequence[int],
        *,
        device: str | torch.device = "cpu",
        strategy: Literal["last", "uniform"] = "last",
        nodes_per_seed: float | None = None,
        max_batch_nodes: int = DEFAULT_MAX_BATCH_NODES,
        priors: PairPriors | None = None,
        kept_bytes: int = 0,
        workers: Workers | None = None,
    ) -> None:
        assert priors is not None or model.prior is None, "this model needs pair priors"
        schema = GraphSchema.of(graph)
        if schema != model.schema:
            raise ArtifactError(
                "model and graph", "a graph of the schema that the model was trained on",
                _first_difference(model.schema, schema),
                "score with the graph of the same run, or train again",
            )
        self.model, self.graph, self.fan_out = model, graph, tuple(fan_out)
        self.device = torch.device(device)
        self.batches = SeedBatches(graph, fan_out, strategy=strategy, priors=priors,
                                   max_bytes=kept_bytes)
        per_seed = max(nodes_per_seed or ASSUMED_NODES_PER_SEED, 1.0)
        self.rows_per_block = max(int(max_batch_nodes / per_seed), 1)
        self._item_vectors: Tensor | None = None
        self._encodings = RowEncodings(model, graph)
        self._readouts: dict[BlockKey, Readout] | None = None
        self._room = 0
        self._lock = threading.Lock()
        self.workers = workers or Workers.on(self.device)

    def renewed(
        self, model: ContextGNN | None = None, *, max_readout_bytes: int = 0
    ) -> ModelScorer:
        """A scorer with the model's weights of now, which shares the kept batches.

        Args:
            model: Another model of the same schema and depth; this one when unset.
            max_readout_bytes: Most memory for readouts. They let the same seeds be scored
                again without a forward pass, with another ``model.far_shift`` for one; all
                other weights must stay as they are.
        """
        other = copy.copy(self)
        other.model = model = model or self.model
        assert model.schema == self.model.schema
        assert model.num_layers == self.model.num_layers
        assert self.batches.priors is not None or model.prior is None, "this model needs pair priors"
        other._item_vectors = None
        other._encodings = RowEncodings(model, self.graph)
        other._readouts = {} if max_readout_bytes > 0 else None
        other._room = max_readout_bytes
        return other

    @property
    def item_vectors(self) -> Tensor:
        """float32 [num_items, d], of the model as it was at the first use."""
        if self._item_vectors is None:
            training = self.model.training
            self.model.eval()
            with torch.no_grad():
                columns = self.graph.columns[self.graph.item_table]
                vectors = self.model.item_vectors(columns)
                # The LOOKUP table itself would go on changing with training.
                self._item_vectors = vectors.detach().clone() if vectors.requires_grad else vectors
            self.model.train(training)
        return self._item_vectors

    def __call__(self, entity: Tensor, time: Tensor) -> Tensor:
        """Raw scores, float32 [B, num_items].

        Args:
            entity: int64 [B], rows of the entity table.
            time: int64 [B], seed times in UTC seconds.
        """
        return self.score(self.prepare(entity, time))

    def prepare(self, entity: Tensor, time: Tensor) -> tuple[PreparedBlock, ...]:
        """All that needs no weights; may run in another thread than ``score``."""
        size = self._part_size(len(entity))

        def prepare(at: int) -> PreparedBlock:
            seeds = [part[at : at + size].to(self.device) for part in (entity, time)]
            key = block_key(*seeds)
            known = self._readouts is not None and key in self._readouts
            return PreparedBlock(key, None if known else self.batches(*seeds))

        return tuple(self.workers.map(prepare, range(0, len(entity), size)))

    def _part_size(self, num_seeds: int) -> int:
        """Seeds per part: those of all workers together have as many nodes as a block may have."""
        # A uniform draw depends on the block that it is made for: a cut would be another draw.
        cut = self.batches.strategy == "last" and num_seeds * self.graph.num_items <= MAX_CUT_SCORES
        parts = self.workers.count if cut else 1
        return max(min(self.rows_per_block // parts, -(-num_seeds // parts)), 1)

    def score(self, blocks: Sequence[PreparedBlock]) -> Tensor:
        """Raw scores of prepared seeds, float32 [B, num_items], the caller's to change."""
        vectors = self.item_vectors
        training = self.model.training
        self.model.eval()

        @torch.no_grad()
        def score(part: tuple[BlockKey, Batch | None]) -> Tensor:
            return self.model.catalogue_scores(self._readout(*part), vectors).float()

        try:
            # Rows are encoded part by part, before the workers begin: which one came first would
            # change the shape of a product, and so its last bits.
            with torch.no_grad():
                parts = [(block.key, block.batch and self._encodings.put_into(block.batch))
                         for block in blocks]
            scores = list(self.workers.map(score, parts))
        finally:
            self.model.train(training)
        if not scores:
            return torch.zeros((0, len(vectors)), device=self.device)
        return scores[0] if len(scores) == 1 else torch.cat(scores)

    def _readout(self, key: BlockKey, batch: Batch | None) -> Readout:
        if batch is None:
            assert self._readouts is not None
            return self._readouts[key]
        readout = self.model.read_out(batch)
        if self._readouts is not None:
            size = sum(tensor.nbytes for tensor in (
                readout.query, readout.offset, readout.gate,
                *(part for kind in readout.pairs for part in (kind.seed, kind.item, kind.score))))
            with self._lock:
                if key not in self._readouts and size <= self._room:
                    self._readouts[key] = readout
                    self._room -= size
        return readout


def _first_difference(wanted: GraphSchema, found: GraphSchema) -> str:
    for name, value in wanted.to_json().items():
        other = found.to_json()[name]
        if value != other:
            return f"{name} = {other!r} instead of {value!r}"
    return "an equal one"
