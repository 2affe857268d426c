"""Global popularity: the same list for everybody, by how often items were met so far."""

from __future__ import annotations

import numpy as np

from model_core.config import EvaluateConfig
from model_core.evaluation.baselines.per_time import PerTimeScorer, ScoreEntities
from model_core.evaluation.ranking import Scorer
from model_core.graph.temporal_graph import Interactions, TemporalGraph
from model_core.split.seeds import Split


def make(graph: TemporalGraph[np.ndarray], split: Split, config: EvaluateConfig) -> Scorer:
    """Score = number of interactions with the item at or before the seed time."""
    del split, config

    def prepare(known: Interactions[np.ndarray], time: int) -> ScoreEntities:
        return same_for_everybody(np.bincount(known.item, minlength=graph.num_items))

    return PerTimeScorer(graph.interactions, graph.num_items, prepare)


def same_for_everybody(scores: np.ndarray) -> ScoreEntities:
    """One row of scores, repeated for every entity."""
    row = scores.astype(np.float32)
    return lambda entity: np.broadcast_to(row, (len(entity), len(row)))


def window_position(
    known: Interactions[np.ndarray], time: int, window_s: int, num_items: int
) -> np.ndarray:
    """Place of every item by popularity, for filling up personal lists.

    By the number of interactions in (time - window, time], which are the newest labels
    one could know; then by the number over all history. Equals share a place.

    Returns:
        int64 [num_items], 0 for the most popular.
    """
    recent = known.item[known.time > time - window_s]
    counts = np.stack([np.bincount(recent, minlength=num_items),
                       np.bincount(known.item, minlength=num_items)])
    order = np.lexsort(-counts[::-1])
    changed = (np.diff(counts[:, order], axis=1) != 0).any(axis=0)
    position = np.empty(num_items, dtype=np.int64)
    position[order] = np.concatenate([[0], np.cumsum(changed)])[:num_items]
    return position
