"""ValuePriors: what the values of a user's events with an item say about the pair.

Who takes two hundred pieces at a time comes back for them at another pace than who takes two.
Values are the standardised number columns of event rows (``event_values``), each in a slot of
its own.
"""

from __future__ import annotations

import numpy as np

from model_core.graph.temporal_graph import Interactions
from model_core.priors.event_values import MAX_VALUES, UNIT
from model_core.priors.events import EventIndex
from model_core.priors.past import Past

#: Of each slot: the newest value, and how far the pair's mean is above the user's and the item's.
KINDS = ("last", "above_user", "above_item")
VALUE_FEATURES = tuple(f"value_{slot}_{kind}" for slot in range(1, MAX_VALUES + 1) for kind in KINDS)
#: Events with the mean of the column (0) that are added to a user's and to an item's.
USER_PRIOR, ITEM_PRIOR = 2.0, 5.0


class ValuePriors:
    """Features of the pairs that a seed's user has met.

    Args:
        interactions: All events, by time; none later than a seed's time is used for it.
        values: float32 [m, V], values of each, NaN for none; V ≤ ``MAX_VALUES``.
    """

    def __init__(self, interactions: Interactions[np.ndarray], values: np.ndarray) -> None:
        assert values.shape[1] <= MAX_VALUES
        self._by_entity = values[np.argsort(interactions.entity, kind="stable")]
        by_item = values[np.argsort(interactions.item, kind="stable")]
        known = ~np.isnan(by_item)
        self._count, self._total = np.zeros((2, len(values) + 1, values.shape[1]), dtype=np.int64)
        np.cumsum(known, axis=0, out=self._count[1:])
        # Integers: a difference of running sums of floats would depend on events of other items.
        np.cumsum(np.rint(np.where(known, by_item, 0) / UNIT).astype(np.int64), axis=0, out=self._total[1:])

    def __call__(self, past: Past, events: EventIndex, time: np.ndarray) -> np.ndarray:
        """Features of the pairs of ``past``.

        Args:
            past: Of B seeds.
            events: The index that ``past`` was read from.
            time: int64 [B], seed times.

        Returns:
            float32 [number of pairs, len(VALUE_FEATURES)]; 0 in slots without values.
        """
        feature = np.zeros((len(past.pair), len(VALUE_FEATURES)), dtype=np.float32)
        values = self._by_entity[past.position]
        start, stop = events.item_ptr[past.pair_item], events.item_end(past.pair_item, time[past.pair_seed])
        for slot, value in enumerate(values.T):
            known = ~np.isnan(value)
            value, pair, seed = value[known].astype(np.float64), past.inverse[known], past.seed[known]
            count = np.bincount(pair, minlength=len(past.pair))
            mean = np.bincount(pair, value, len(past.pair)) / np.maximum(count, 1)
            last = np.zeros(len(past.pair))
            last[pair] = value  # events of a seed come by time: the last write is the newest
            of_user = np.bincount(seed, value, past.num_seeds) / (
                np.bincount(seed, minlength=past.num_seeds) + USER_PRIOR)
            of_item = (self._total[stop, slot] - self._total[start, slot]) * UNIT / (
                self._count[stop, slot] - self._count[start, slot] + ITEM_PRIOR)
            columns = np.stack([last, mean - of_user[past.pair_seed], mean - of_item], axis=1)
            feature[:, len(KINDS) * slot : len(KINDS) * (slot + 1)] = np.where(count[:, None] > 0, columns, 0)
        return feature
