"""Simple baselines: what a model has to beat, in every report.

Each is built only from the graph's interactions at or before the seed time, anew for
every distinct seed time. A strong simple baseline is often the best model there is:
item-kNN leads several published tables.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from model_core.config import EvaluateConfig
from model_core.evaluation.baselines import blend, item_knn, past_then_popular, popularity, recent_popularity
from model_core.evaluation.ranking import Scorer
from model_core.graph.temporal_graph import TemporalGraph
from model_core.split.seeds import Split

BaselineFactory = Callable[[TemporalGraph[np.ndarray], Split, EvaluateConfig], Scorer]

BASELINES: dict[str, BaselineFactory] = {
    "popularity": popularity.make,
    "recent_popularity": recent_popularity.make,
    "past_then_popular": past_then_popular.make,
    "item_knn": item_knn.make,
    "blend": blend.make,
}
