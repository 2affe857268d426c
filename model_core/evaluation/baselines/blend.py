"""Blend: own items, popular items and similar items, all fading, weighed on validation.

What a practitioner writes in an afternoon: re-buy what was bought lately, fill up with
what sells now, and add what goes with it. The weights and half-lives are fitted on the
validation window by the baseline itself, so one recipe suits shops where people re-buy
and catalogues where nothing is ever met twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from model_core.config import EvaluateConfig
from model_core.evaluation.baselines.blend_fit import SignalsAt, fit_blend
from model_core.evaluation.baselines.blend_signals import BlendWeights, KnownSignals, Signals, combine
from model_core.evaluation.baselines.neighbors import shared_neighbors
from model_core.evaluation.baselines.per_time import PerTimeScorer, ScoreEntities
from model_core.evaluation.ranking import Scorer
from model_core.graph.temporal_graph import Interactions, TemporalGraph
from model_core.split.seeds import Split


class BlendScorer(PerTimeScorer):
    """A blend with its settings.

    Attributes:
        weights: The settings.
        facts: The settings and where they come from, as JSON values, for reports.
    """

    def __init__(
        self, graph: TemporalGraph[np.ndarray], signals_at: SignalsAt, weights: BlendWeights,
        facts: Mapping[str, Any],
    ) -> None:
        def prepare(known: Interactions[np.ndarray], time: int) -> ScoreEntities:
            signals = signals_at(known, time)
            history = signals.history(weights.own_half_life)
            popular = signals.popular(weights.popular_half_life)

            def score(entity: np.ndarray) -> np.ndarray:
                own, similar = signals.own_and_similar(history, entity)
                return combine(Signals(own, popular, similar, signals.met(entity)), weights)

            return score

        super().__init__(graph.interactions, graph.num_items, prepare)
        self.weights, self.facts = weights, {**asdict(weights), **facts}


def make(graph: TemporalGraph[np.ndarray], split: Split, config: EvaluateConfig) -> Scorer:
    """Score = weighted sum of decayed own events, decayed popularity and item-kNN.

    The settings maximise MAP at the task's k on the validation rows (``fit_blend``), with
    what was known at their seed times; nothing of the test window is used. The figure on
    validation is therefore fitted, that on test is not. Without a target in the validation
    window ``DEFAULT`` is used.

    Where users also do what labels do not speak of (views beside purchases), it is fitted to all
    events and to those of the labels' kind alone, and what did better on validation is kept.
    """
    if graph.interactions.target is None:
        return _fitted(graph, split, config)
    everything = _fitted(graph, split, config, {"events": "all"})
    alone = _fitted(replace(graph, interactions=graph.interactions.targets()), split, config,
                    {"events": "those of the labels' kind"})
    return max(everything, alone, key=lambda scorer: scorer.facts["fitted_map"] or 0.0)


def _fitted(
    graph: TemporalGraph[np.ndarray], split: Split, config: EvaluateConfig,
    facts: Mapping[str, Any] | None = None,
) -> BlendScorer:
    """With the settings that are best on validation, and what else is to be said of them."""
    neighbors = shared_neighbors(graph, config.num_knn_neighbors)

    def signals_at(known: Interactions[np.ndarray], time: int) -> KnownSignals:
        return KnownSignals(known, time, split.window_s, neighbors, graph.num_items)

    fitted = fit_blend(graph.interactions, signals_at, split.val, graph.num_items, split.eval_k)
    return BlendScorer(graph, signals_at, fitted.weights, {
        "fitted_on_rows": fitted.num_rows, "fitted_map": fitted.map, **(facts or {})})
