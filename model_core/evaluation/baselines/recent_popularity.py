"""Recent popularity: popularity in which old interactions fade."""

from __future__ import annotations

import numpy as np

from model_core.config import EvaluateConfig
from model_core.evaluation.baselines.per_time import PerTimeScorer, ScoreEntities
from model_core.evaluation.baselines.popularity import same_for_everybody
from model_core.evaluation.ranking import Scorer
from model_core.graph.temporal_graph import Interactions, TemporalGraph
from model_core.split.seeds import Split

_SECONDS_PER_DAY = 86_400
#: Below every log-score a float64 sum can give: items never met yet.
_NEVER = -2_000.0


def make(graph: TemporalGraph[np.ndarray], split: Split, config: EvaluateConfig) -> Scorer:
    """Score = log2 of Σ 2^(-age / half-life) over the item's interactions ≤ seed time.

    The logarithm changes no order and keeps scores of items not met for many half-lives
    apart in float32. The half-life is ``config.half_life_days``; unset, it is a quarter of
    the task's label window: an event one window old counts a sixteenth, so that the
    newest window decides, whatever the task's pace.
    """
    half_life_s = (split.window_s / 4 if config.half_life_days is None
                   else config.half_life_days * _SECONDS_PER_DAY)

    def prepare(known: Interactions[np.ndarray], time: int) -> ScoreEntities:
        weight = np.exp2((known.time - time) / half_life_s)
        total = np.bincount(known.item, weights=weight, minlength=graph.num_items)
        score = np.full(graph.num_items, _NEVER)
        np.log2(total, out=score, where=total > 0)
        return same_for_everybody(score)

    return PerTimeScorer(graph.interactions, graph.num_items, prepare)
