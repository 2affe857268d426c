"""The champion as one more scorer: opened for this window, left out where it cannot be."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from model_core.config import EvaluateConfig
from model_core.errors import ArtifactError, EvaluationError
from model_core.evaluation.gate import CHAMPION, Reigning
from model_core.evaluation.ranking import Scorer
from model_core.evaluation.scoring import Evaluation
from model_core.graph.temporal_graph import TemporalGraph
from model_core.storage.champion import ChampionRecord
from model_core.training.transfer import WhichWeights, champion_scorer

#: As with the model: the shipped weights may have learned from labels of the validation window.
_WEIGHTS: dict[str, WhichWeights] = {"test": "final", "val": "selected"}


def open_champion(
    champion: ChampionRecord | None, graph: TemporalGraph[Any], config: EvaluateConfig, device: str
) -> tuple[Reigning, dict[str, Scorer]]:
    """The champion as of the run's logical date, and its scorer for each window.

    Args:
        champion: Its record; None and the state ``none``: there is none.
        graph: Today's graph, as tensors on ``device``.
        config: Says which windows are ranked.
        device: Where the champion runs.

    Returns:
        What reigns, with the reason if it cannot be scored; and window to scorer, empty then.
    """
    if champion is None or champion.version is None:
        return Reigning(), {}
    if champion.bundle_dir is None:
        return Reigning(champion.version, champion.problem or "it cannot be read"), {}
    try:
        return Reigning(champion.version), {
            split: champion_scorer(champion.bundle_dir, graph, device, weights=weights)
            for split, weights in _WEIGHTS.items() if split == "test" or split in config.splits}
    except ArtifactError as error:
        # Where the bundle lies for the moment says nothing, and would make equal reports differ.
        return Reigning(champion.version, error.fault.replace(str(champion.bundle_dir), champion.version)), {}


def rank_beside(
    rank: Callable[..., Evaluation],
    scorers: Mapping[str, Scorer],
    instead: Mapping[tuple[str, str], Scorer],
    reigning: Reigning,
    rival: Mapping[str, Scorer],
) -> tuple[Evaluation, Reigning]:
    """Rank all scorers and the champion; without it where its scores are no scores.

    Args:
        rank: ``evaluate_scorers``, but for scorers and ``instead``.
        scorers, instead: As there, without the champion.
        reigning, rival: From ``open_champion``.

    Raises:
        EvaluationError: Scores of another scorer are NaN or +inf.
    """
    if not rival:
        return rank(scorers, instead=instead), reigning
    try:
        beside = {("val", CHAMPION): rival["val"]} if "val" in rival else {}
        return rank({**scorers, CHAMPION: rival["test"]}, instead={**instead, **beside}), reigning
    except EvaluationError as error:
        # Raises once more where the fault is not the champion's.
        return rank(scorers, instead=instead), dataclasses.replace(reigning, problem=str(error))
