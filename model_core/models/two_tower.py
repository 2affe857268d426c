"""Two-tower GraphSAGE: the same user side, without a pair score."""

from __future__ import annotations

from model_core.config import ModelConfig
from model_core.graph.schema import GraphSchema
from model_core.models.contextgnn.model import ContextGNN


class TwoTower(ContextGNN):
    """``p·w_i / √d + a(p)`` for every item, p from the user's temporal subgraph.

    It cannot tell items apart inside the subgraph unless their columns do, so it knows
    tastes but not repeats: the reference that shows what the pair score adds.

    Args: as ContextGNN; ``use_pair``, ``use_priors`` and ``use_tower`` are overruled.
    """

    def __init__(self, schema: GraphSchema, config: ModelConfig, num_layers: int) -> None:
        config = config.model_copy(update={"use_pair": False, "use_priors": False, "use_tower": True})
        super().__init__(schema, config, num_layers)
