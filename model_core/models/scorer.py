"""ModelScorer: a trained model as a function of (entity, time)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from model_core.errors import ArtifactError
from model_core.graph.schema import GraphSchema
from model_core.graph.temporal_graph import TemporalGraph
from model_core.models.contextgnn.model import ContextGNN
from model_core.priors.features import PairPriors
from model_core.sampling.batches import make_batch
from model_core.sampling.neighbors import sample

#: Nodes per seed that are assumed where the caller does not know better.
ASSUMED_NODES_PER_SEED = 2_048.0
DEFAULT_MAX_BATCH_NODES = 400_000


class ModelScorer:
    """Scores the whole catalogue for any seeds, in evaluation mode and without gradients.

    Item vectors are computed once, when the scorer is first called. Make a new scorer
    for every evaluation: one kept across training steps would rank with old vectors.

    Args:
        model: Any model of ``MODELS``. Its training mode is restored after every call.
        graph: The graph as tensors, on ``device``.
        fan_out: Neighbours per hop, as in training.
        device: Where the model is.
        strategy: ``"last"`` or ``"uniform"`` (then repeatable, not random).
        nodes_per_seed: Mean size of a subgraph, to cut blocks of seeds.
        max_batch_nodes: Nodes per forward pass, about.
        priors: Candidate pairs of any seeds; required by a model that uses them.

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
        self.device, self.strategy, self.priors = torch.device(device), strategy, priors
        per_seed = max(nodes_per_seed or ASSUMED_NODES_PER_SEED, 1.0)
        self.rows_per_block = max(int(max_batch_nodes / per_seed), 1)
        self._item_vectors: Tensor | None = None

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
        vectors = self.item_vectors
        training = self.model.training
        self.model.eval()
        try:
            with torch.no_grad():
                blocks = [
                    self._block(entity[at : at + self.rows_per_block],
                                time[at : at + self.rows_per_block], vectors)
                    for at in range(0, len(entity), self.rows_per_block)
                ]
        finally:
            self.model.train(training)
        if not blocks:
            return torch.zeros((0, len(vectors)), device=self.device)
        return blocks[0] if len(blocks) == 1 else torch.cat(blocks)

    def _block(self, entity: Tensor, time: Tensor, vectors: Tensor) -> Tensor:
        subgraph = sample(self.graph, entity.to(self.device), time.to(self.device),
                          self.fan_out, strategy=self.strategy)
        candidates = None if self.priors is None else self.priors(
            entity.cpu().numpy(), time.cpu().numpy())
        return self.model(make_batch(self.graph, subgraph, candidates), vectors).float()


def _first_difference(wanted: GraphSchema, found: GraphSchema) -> str:
    for name, value in wanted.to_json().items():
        other = found.to_json()[name]
        if value != other:
            return f"{name} = {other!r} instead of {value!r}"
    return "an equal one"
