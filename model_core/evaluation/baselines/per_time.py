"""PerTimeScorer: a scorer whose knowledge is rebuilt for every seed time."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

import numpy as np
import torch

from model_core.graph.temporal_graph import Interactions

ScoreEntities = Callable[[np.ndarray], np.ndarray]

_KEPT_TIMES = 4


def interactions_until(interactions: Interactions[np.ndarray], time: int) -> Interactions[np.ndarray]:
    """The interactions with time ≤ ``time``; a prefix, since they are sorted by time."""
    end = int(np.searchsorted(interactions.time, time, side="right"))
    return Interactions(
        *(np.asarray(part[:end]) for part in (interactions.entity, interactions.item, interactions.time))
    )


class PerTimeScorer:
    """Scores each seed with what was known at its own time.

    Args:
        interactions: All of them; only those ≤ a seed's time reach ``prepare``.
        num_items: Size of the catalogue.
        prepare: (interactions ≤ t, t) to a function from entities, int64 [B], to scores,
            float32 [B, num_items]. Its results are kept for the last few distinct times.
    """

    def __init__(
        self,
        interactions: Interactions[np.ndarray],
        num_items: int,
        prepare: Callable[[Interactions[np.ndarray], int], ScoreEntities],
    ) -> None:
        self._interactions, self._num_items, self._prepare = interactions, num_items, prepare
        self._known: OrderedDict[int, ScoreEntities] = OrderedDict()

    def __call__(self, entity: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        entity_np, time_np = entity.cpu().numpy(), time.cpu().numpy()
        scores = np.empty((len(entity_np), self._num_items), dtype=np.float32)
        for moment in np.unique(time_np):
            rows = np.flatnonzero(time_np == moment)
            scores[rows] = self._at(int(moment))(entity_np[rows])
        return torch.from_numpy(scores).to(entity.device)

    def _at(self, time: int) -> ScoreEntities:
        if time not in self._known:
            self._known[time] = self._prepare(interactions_until(self._interactions, time), time)
            if len(self._known) > _KEPT_TIMES:
                self._known.popitem(last=False)
        self._known.move_to_end(time)
        return self._known[time]
