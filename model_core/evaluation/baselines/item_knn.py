"""Item-kNN: items that the users of one's own items also met."""

from __future__ import annotations

import numpy as np

from model_core.config import EvaluateConfig
from model_core.evaluation.baselines.neighbors import shared_neighbors
from model_core.evaluation.baselines.per_time import PerTimeScorer, ScoreEntities
from model_core.evaluation.baselines.popularity import window_position
from model_core.evaluation.ranking import Scorer
from model_core.graph.temporal_graph import Interactions, TemporalGraph
from model_core.split.seeds import Split


def make(graph: TemporalGraph[np.ndarray], split: Split, config: EvaluateConfig) -> Scorer:
    """Score = Σ over the user's items of the cosine to the item, over its nearest neighbours.

    Cosine of the item columns of the 0/1 user-item matrix up to the seed time; an item
    is not its own neighbour (Sarwar et al., 2001; Deshpande and Karypis, 2004). Items
    without any similarity to the user's past follow by popularity of the last label
    window, so that users without history get popular items.
    """
    neighbors = shared_neighbors(graph, config.num_knn_neighbors)

    def prepare(known: Interactions[np.ndarray], time: int) -> ScoreEntities:
        met, similar = neighbors.at(time)
        popular = -window_position(known, time, split.window_s, graph.num_items).astype(np.float32)

        def score(entity: np.ndarray) -> np.ndarray:
            scores = (met[entity] @ similar).toarray()
            return np.where(scores > 0, scores, popular)

        return score

    return PerTimeScorer(graph.interactions, graph.num_items, prepare)
