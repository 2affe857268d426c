"""What a seed did up to its time: its events, and the distinct pairs among them."""

from __future__ import annotations

import numpy as np

from model_core.priors.events import EventIndex
from model_core.priors.ranges import flat_ranges

#: Half-lives of decayed counts and widths of counting windows, in label windows.
HALF_LIVES = (0.5, 2.0, 8.0, 32.0)
PAIR_WINDOWS = (1.0, 4.0)
USER_WINDOWS = (1.0, 4.0)

PAIR_FEATURES = (
    "pair_met", "pair_count", *(f"pair_count_half_life_{h:g}" for h in HALF_LIVES),
    *(f"pair_count_window_{w:g}" for w in PAIR_WINDOWS), "pair_age_last", "pair_age_first",
    "pair_interval", "pair_age_last_to_interval", "pair_share_of_baskets", "pair_age_since_user",
    "pair_share_of_events",
)
USER_FEATURES = (
    "user_count", "user_items", "user_age_last", "user_age_first",
    *(f"user_count_window_{w:g}" for w in USER_WINDOWS), "user_baskets", "user_basket_size",
    "user_repeat_share", "user_known",
)

#: Newest events of a seed that are read: bounds the work for extreme users.
MAX_EVENTS = 4_096


class Past:
    """Events of every seed up to its time.

    Args:
        events: All interactions.
        entity, time: int64 [B], the seeds.
        window_s: Label window, the unit of ages, in seconds.
    """

    def __init__(self, events: EventIndex, entity: np.ndarray, time: np.ndarray, window_s: int) -> None:
        start, stop = events.entity_range(entity, time)
        start = np.maximum(start, stop - MAX_EVENTS)
        self.num_seeds = len(entity)
        self.seed, position = flat_ranges(start, stop)
        #: Where the events lie among those of all entities, by (entity, time).
        self.position = position
        item, when = events.entity_item[position], events.entity_time[position]
        self.age = (time[self.seed] - when) / float(window_s)
        #: Whether an event has another time than the one before it of the same seed.
        self.new_basket = np.ones(len(when), dtype=bool)
        self.new_basket[1:] = (np.diff(when) != 0) | (np.diff(self.seed) != 0)
        self.pair, self.inverse = np.unique(
            self.seed * events.num_items + item, return_inverse=True)
        self.pair_seed = self.pair // events.num_items
        self.pair_item = self.pair % events.num_items
        num_pairs = len(self.pair)
        self.count = np.bincount(self.inverse, minlength=num_pairs)
        # Events of a seed come by time: the last write is the newest, backwards the oldest.
        self.age_last, self.age_first = np.zeros(num_pairs), np.zeros(num_pairs)
        self.age_last[self.inverse] = self.age
        self.age_first[self.inverse[::-1]] = self.age[::-1]
        self.num_events = np.bincount(self.seed, minlength=self.num_seeds)
        self.num_baskets = np.bincount(self.seed[self.new_basket], minlength=self.num_seeds)
        self.num_distinct = np.bincount(self.pair_seed, minlength=self.num_seeds)
        self.user_last, self.user_first = np.zeros(self.num_seeds), np.zeros(self.num_seeds)
        self.user_last[self.seed] = self.age
        self.user_first[self.seed[::-1]] = self.age[::-1]

    def first_meetings_of(self, key: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Whether pairs, int64 [M] keys ``seed * num_items + item``, met first in the last label window.

        Returns:
            That, and whether they met at all, int64 [M] of 0 and 1 each.
        """
        recent, ever = np.zeros((2, len(key)), dtype=np.int64)
        if len(self.pair):
            place = np.minimum(np.searchsorted(self.pair, key), len(self.pair) - 1)
            ever[:] = self.pair[place] == key
            recent[:] = ever * (self.age_first[place] < 1)
        return recent, ever

    def newest(self, count: int) -> np.ndarray:
        """Positions of the newest ``count`` pairs of every seed, ascending."""
        if len(self.pair) == 0 or self.num_distinct.max() <= count:
            return np.arange(len(self.pair))
        order = np.lexsort((self.pair_item, self.age_last, self.pair_seed))
        rank = np.arange(len(order)) - np.searchsorted(self.pair_seed, self.pair_seed)
        return np.sort(order[rank < count])

    def pair_features(self) -> np.ndarray:
        """float32 [number of pairs, len(PAIR_FEATURES)]."""
        count, last, first = self.count, self.age_last, self.age_first

        def total(weight: np.ndarray) -> np.ndarray:
            return np.bincount(self.inverse, weights=weight, minlength=len(count))

        interval = (first - last) / np.maximum(count - 1, 1)
        columns = [
            np.ones(len(count)), np.log1p(count),
            *(np.log1p(total(np.exp2(-self.age / h))) for h in HALF_LIVES),
            *(np.log1p(total(self.age < w)) for w in PAIR_WINDOWS),
            np.log1p(last), np.log1p(first), np.log1p(interval),
            np.where(count > 1, np.log((last + 0.1) / (interval + 0.1)), 0.0),
            count / np.maximum(self.num_baskets, 1)[self.pair_seed],
            np.log1p(last - self.user_last[self.pair_seed]),
            count / np.maximum(self.num_events, 1)[self.pair_seed],
        ]
        return np.stack(columns, axis=1).astype(np.float32)

    def user_features(self) -> np.ndarray:
        """float32 [B, len(USER_FEATURES)]."""
        count = self.num_events
        some = np.maximum(count, 1)
        recent = [np.bincount(self.seed[self.age < w], minlength=self.num_seeds)
                  for w in USER_WINDOWS]
        columns = [
            np.log1p(count), np.log1p(self.num_distinct), np.log1p(self.user_last),
            np.log1p(self.user_first), *(np.log1p(n) for n in recent), np.log1p(self.num_baskets),
            np.log1p(count / np.maximum(self.num_baskets, 1)),
            1 - self.num_distinct / some, count > 0,
        ]
        return np.stack(columns, axis=1).astype(np.float32)
