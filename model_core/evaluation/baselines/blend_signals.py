"""What a blend adds up: own events, popularity and item-kNN, all fading with age."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from model_core.evaluation.baselines.neighbors import Neighbors
from model_core.graph.temporal_graph import Interactions


@dataclass(frozen=True)
class BlendWeights:
    """Settings of a blend.

    Attributes:
        own, popular, similar: Weights of the three signals.
        own_half_life: Decay of the user's own events, in label windows; it also weighs
            the items that similarity starts from.
        popular_half_life: Decay of everybody's events, in label windows.
        repeats: False puts all items the user had met behind all others.
        similar_repeats: Whether the user's own items are also scored by similarity.
    """

    own: float = 1.0
    popular: float = 1.0
    similar: float = 0.1
    own_half_life: float = 16.0
    popular_half_life: float = 1.0
    repeats: bool = True
    similar_repeats: bool = True


#: In use where the validation window has no target to fit on: mostly the own past.
DEFAULT = BlendWeights()


@dataclass(frozen=True)
class Signals:
    """What a blend adds up, for a block of users and some or all items.

    Attributes:
        own: float32 [B, N], cube root of the decayed number of the user's own events. The
            root damps: ten purchases say more than one, but not ten times as much.
        popular: float32 [N] or [B, N], decayed number of events of the item, as a share of
            that of the most popular item.
        similar: float32 [B, N], cube root of Σ over own items of decayed events times
            cosine to the item.
        met: bool [B, N], whether the user had met the item.
    """

    own: np.ndarray
    popular: np.ndarray
    similar: np.ndarray
    met: np.ndarray


def combine(signals: Signals, weights: BlendWeights) -> np.ndarray:
    """Scores of a blend, float32 [B, N].

    Example:
        >>> two = Signals(*(np.array([row], dtype=np.float32) for row in ([2, 0], [1, 1], [0, 3])),
        ...               met=np.array([[True, False]]))
        >>> combine(two, BlendWeights(own=1.0, popular=0.5, similar=0.5))
        array([[2.5, 2. ]], dtype=float32)
        >>> combine(two, BlendWeights(own=1.0, popular=0.5, similar=0.5, repeats=False))
        array([[-0.5,  2. ]], dtype=float32)
    """
    similar = signals.similar if weights.similar_repeats else np.where(signals.met, 0.0, signals.similar)
    scores = (np.float32(weights.own) * signals.own + np.float32(weights.popular) * signals.popular
              + np.float32(weights.similar) * similar)
    if not weights.repeats:
        # No score is negative so far: this puts every item met below every other item.
        scores = scores - signals.met * (scores.max(axis=1, keepdims=True, initial=0.0) + np.float32(0.5))
    return scores.astype(np.float32, copy=False)


class KnownSignals:
    """The signals as of one seed time.

    Args:
        known: Interactions at or before ``time``, sorted by time.
        time: Seed time, UTC seconds.
        window_s: Label window in seconds, the unit of half-lives.
        neighbors: Shared item-item similarity.
        num_items: Size of the catalogue.
    """

    def __init__(
        self, known: Interactions[np.ndarray], time: int, window_s: int, neighbors: Neighbors,
        num_items: int,
    ) -> None:
        self._known, self._num_items = known, num_items
        self._age_windows = (time - known.time) / window_s
        self._met, self._similar = neighbors.at(time)

    def popular(self, half_life: float) -> np.ndarray:
        """float32 [num_items]."""
        total = np.bincount(self._known.item, weights=self._decay(half_life), minlength=self._num_items)
        return (total / max(total.max(initial=0.0), np.finfo(np.float64).tiny)).astype(np.float32)

    def history(self, half_life: float) -> sparse.csr_array:
        """Decayed number of events of every user with every item, float32 [num_entities, num_items]."""
        counts = sparse.csr_array(
            (self._decay(half_life), (self._known.entity, self._known.item)), shape=self._met.shape)
        counts.sum_duplicates()
        return counts.astype(np.float32)

    def met(self, entity: np.ndarray) -> np.ndarray:
        """bool [B, num_items]."""
        found: np.ndarray = self._met[entity].toarray() > 0
        return found

    def own_and_similar(
        self, history: sparse.csr_array, entity: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """(own, similar), float32 [B, num_items] each, from the rows of a history."""
        rows = history[entity]
        return np.cbrt(rows.toarray()), np.cbrt((rows @ self._similar).toarray())

    def _decay(self, half_life: float) -> np.ndarray:
        return np.exp2(-self._age_windows / half_life)
