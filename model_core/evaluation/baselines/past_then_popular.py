"""Own past, then popular: what the user met before, filled up with popular items."""

from __future__ import annotations

import numpy as np

from model_core.config import EvaluateConfig
from model_core.evaluation.baselines.per_time import PerTimeScorer, ScoreEntities
from model_core.evaluation.baselines.popularity import window_position
from model_core.evaluation.ranking import Scorer
from model_core.graph.temporal_graph import Interactions, TemporalGraph
from model_core.priors.ranges import flat_ranges
from model_core.split.seeds import Split


def make(graph: TemporalGraph[np.ndarray], split: Split, config: EvaluateConfig) -> Scorer:
    """Own items by count, then most recent first, then by popularity; then all others by popularity.

    Popularity here is that of the last label window. Scores are places in that order:
    whole numbers, exact in float32 up to 16 million items.
    """
    del config

    def prepare(known: Interactions[np.ndarray], time: int) -> ScoreEntities:
        popular = window_position(known, time, split.window_s, graph.num_items)
        entity, item, place = own_places(known, popular, graph.num_items)
        return lambda wanted: _score(wanted, popular, entity, item, place)

    return PerTimeScorer(graph.interactions, graph.num_items, prepare)


def own_places(
    known: Interactions[np.ndarray], popular: np.ndarray, num_items: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Distinct (entity, item) pairs with the place of the item in the entity's own past.

    Returns:
        entity, item, place: int64 [p] each, sorted by entity; the best item of an entity
        with m items has place m, its worst has place 1.
    """
    pair, inverse, count = np.unique(known.entity * num_items + known.item,
                                     return_inverse=True, return_counts=True)
    last = np.zeros(len(pair), dtype=np.int64)
    last[inverse] = known.time  # sorted by time: the last write is the newest
    entity, item = pair // num_items, pair % num_items
    order = np.lexsort((item, popular[item], -last, -count, entity))
    entity, item = entity[order], item[order]
    end = np.searchsorted(entity, entity, side="right")
    return entity, item, end - np.arange(len(entity))


def _score(
    wanted: np.ndarray, popular: np.ndarray, entity: np.ndarray, item: np.ndarray, place: np.ndarray
) -> np.ndarray:
    scores = np.repeat(-popular[None, :].astype(np.float32), len(wanted), axis=0)
    row, position = flat_ranges(np.searchsorted(entity, wanted, side="left"),
                                np.searchsorted(entity, wanted, side="right"))
    scores[row, item[position]] = place[position]
    return scores
