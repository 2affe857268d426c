"""Fits a blend's weights and half-lives to the validation rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from model_core.evaluation.baselines.blend_signals import (
    DEFAULT,
    BlendWeights,
    KnownSignals,
    Signals,
    combine,
)
from model_core.evaluation.baselines.per_time import interactions_until
from model_core.evaluation.metrics import map_at_k
from model_core.evaluation.predictions import hit_matrix
from model_core.evaluation.ranking import top_k
from model_core.graph.temporal_graph import Interactions
from model_core.split.seeds import SeedTable

SignalsAt = Callable[[Interactions[np.ndarray], int], KnownSignals]

_WEIGHTS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
_HALF_LIVES = (0.25, 1.0, 4.0, 16.0, 64.0)
#: What is tried, one setting after the other. Only ratios of weights matter, so the
#: weight of own events is on or off; popularity stays on, to order what ties.
_GRID: dict[str, tuple[Any, ...]] = {
    "repeats": (True, False),
    "own": (1.0, 0.0),
    "popular": _WEIGHTS,
    "similar": (0.0, *_WEIGHTS),
    "similar_repeats": (True, False),
    "own_half_life": _HALF_LIVES,
    "popular_half_life": _HALF_LIVES,
}
#: Two places to start from: people come back to their items, or never do.
_STARTS = (DEFAULT, replace(DEFAULT, repeats=False, popular=0.1, similar=1.0))
_MAX_SWEEPS = 4
#: Less than this in MAP is no reason to change a setting.
_LEAST_GAIN = 1e-4

_MOST_ROWS = 2_000
_FEWEST_ROWS = 200
#: Scores (rows times items) that the fit looks at: large catalogues are fitted on fewer rows.
_MAX_CELLS = 200_000_000
_BLOCK_CELLS = 4_000_000


@dataclass(frozen=True)
class Fitted:
    """Outcome of a fit.

    Attributes:
        weights: The best settings found.
        map: Their mean average precision on the rows they were fitted to; None without rows.
        num_rows: Number of these rows.
    """

    weights: BlendWeights
    map: float | None
    num_rows: int


@dataclass(frozen=True)
class _Candidates:
    """Items of each row that may reach its list, with their signals at every half-life.

    ``item`` is ascending within a row and padded with -1; arrays are [R, C].
    """

    item: np.ndarray
    met: np.ndarray
    own: dict[float, np.ndarray]
    similar: dict[float, np.ndarray]
    popular: dict[float, np.ndarray]


def fit_blend(
    interactions: Interactions[np.ndarray], signals_at: SignalsAt, seeds: SeedTable,
    num_items: int, k: int,
) -> Fitted:
    """Settings with the best MAP@k on the rows, by coordinate search from two starts.

    Everything is deterministic. At most 2,000 rows are used, evenly spaced, fewer for
    catalogues of more than 100,000 items. Each row ranks only its candidates: the first
    few dozen items by each signal at each half-life, with and without items met. What is
    far down in every signal hardly ever comes first in their sum, so the MAP seen here is
    close to, not equal to, that of the whole catalogue.

    Args:
        interactions: All of them; only those ≤ a row's time are used for it.
        signals_at: (interactions ≤ t, t) to the signals at t.
        seeds: Label rows to fit to: those of validation.
        num_items: Size of the catalogue.
        k: Length of the lists.
    """
    labelled = np.flatnonzero(np.diff(seeds.item_ptr) > 0)
    if not len(labelled):
        return Fitted(DEFAULT, None, 0)
    most = int(np.clip(_MAX_CELLS // max(num_items, 1), _FEWEST_ROWS, _MOST_ROWS))
    even = np.unique(np.linspace(0, len(labelled) - 1, min(most, len(labelled))).astype(np.int64))
    rows = seeds.take(labelled[even])
    candidates = _candidates(interactions, signals_at, rows, num_items, k)
    tried: dict[BlendWeights, float] = {}

    def mean_ap(weights: BlendWeights) -> float:
        if weights not in tried:
            tried[weights] = _mean_ap(candidates, weights, rows, num_items, k)
        return tried[weights]

    best = max((_climb(mean_ap, start) for start in _STARTS), key=mean_ap)
    return Fitted(best, mean_ap(best), len(rows))


def _climb(mean_ap: Callable[[BlendWeights], float], start: BlendWeights) -> BlendWeights:
    """Coordinate search: the best value of one setting at a time, until none helps."""
    best = start
    for _ in range(_MAX_SWEEPS):
        before = best
        for name, values in _GRID.items():
            for value in values:
                other = replace(best, **{name: value})
                if mean_ap(other) > mean_ap(best) + _LEAST_GAIN:
                    best = other
        if best == before:
            break
    return best


def _mean_ap(
    candidates: _Candidates, weights: BlendWeights, rows: SeedTable, num_items: int, k: int
) -> float:
    scores = combine(
        Signals(candidates.own[weights.own_half_life], candidates.popular[weights.popular_half_life],
                candidates.similar[weights.own_half_life], candidates.met), weights)
    column = top_k(torch.from_numpy(np.where(candidates.item >= 0, scores, -np.inf)), k).numpy()
    item = np.where(column >= 0, np.take_along_axis(candidates.item, np.maximum(column, 0), axis=1), -1)
    return float(map_at_k(hit_matrix(item, rows, num_items), np.diff(rows.item_ptr)).mean())


def _candidates(
    interactions: Interactions[np.ndarray], signals_at: SignalsAt, rows: SeedTable,
    num_items: int, k: int,
) -> _Candidates:
    parts: list[_Candidates] = []
    block = max(1, _BLOCK_CELLS // max(num_items, 1))
    for time in np.unique(rows.time):  # rows are sorted by time, so parts keep their order
        signals = signals_at(interactions_until(interactions, int(time)), int(time))
        histories = {half_life: signals.history(half_life) for half_life in _HALF_LIVES}
        popular = {half_life: signals.popular(half_life) for half_life in _HALF_LIVES}
        entity = rows.entity[rows.time == time]
        for first in range(0, len(entity), block):
            chunk = entity[first : first + block]
            personal = {half_life: signals.own_and_similar(history, chunk)
                        for half_life, history in histories.items()}
            parts.append(_block_candidates(personal, popular, signals.met(chunk), 2 * k + 30))
    return _stacked(parts)


def _block_candidates(
    personal: dict[float, tuple[np.ndarray, np.ndarray]], popular: dict[float, np.ndarray],
    met: np.ndarray, count: int,
) -> _Candidates:
    """The largest of each signal at each half-life, among all items and among those not met."""
    lists = []
    for half_life, (own, similar) in personal.items():
        fresh = np.where(met, -np.inf, np.stack([similar, np.broadcast_to(popular[half_life], met.shape)]))
        lists += [
            _largest(own, 4 * count),  # own items take the first places together, so more of them
            _largest(similar, count), *(_largest(signal, count) for signal in fresh),
            np.repeat(_largest(popular[half_life][None], count), len(met), axis=0),
        ]
    item = np.sort(np.concatenate(lists, axis=1), axis=1)
    item[:, 1:][item[:, 1:] == item[:, :-1]] = -1  # each item once
    item = np.sort(np.where(item < 0, met.shape[1], item), axis=1)  # padding goes to the end
    item = item[:, : int((item < met.shape[1]).sum(axis=1).max())]
    item = np.where(item < met.shape[1], item, -1)

    def gathered(signal: np.ndarray) -> np.ndarray:
        return np.take_along_axis(signal, np.maximum(item, 0), axis=1)

    return _Candidates(
        item, gathered(met),
        {half_life: gathered(own) for half_life, (own, _) in personal.items()},
        {half_life: gathered(similar) for half_life, (_, similar) in personal.items()},
        {half_life: values[np.maximum(item, 0)] for half_life, values in popular.items()},
    )


def _largest(signal: np.ndarray, count: int) -> np.ndarray:
    return top_k(torch.from_numpy(np.ascontiguousarray(signal, dtype=np.float32)), count).numpy()


def _stacked(parts: list[_Candidates]) -> _Candidates:
    """Blocks under one another, padded to one width."""
    width = max(part.item.shape[1] for part in parts)

    def stack(arrays: list[np.ndarray], padding: int) -> np.ndarray:
        return np.concatenate([
            np.pad(array, ((0, 0), (0, width - array.shape[1])), constant_values=padding)
            for array in arrays])

    return _Candidates(
        stack([part.item for part in parts], -1), stack([part.met for part in parts], 0),
        *({half_life: stack([getattr(part, name)[half_life] for part in parts], 0)
           for half_life in _HALF_LIVES} for name in ("own", "similar", "popular")),
    )
