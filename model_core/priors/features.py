"""PairPriors: candidate items of a seed, with what its past says about each of them.

Candidates of (entity, t) are the items the entity met, the items nearest to those by
co-interaction, the items that users took in a label window after they had met those, and
the most popular items of the last label window. Everything is read from interactions at
or before t. Ages are in label windows Δ, so that one set of widths suits a task of a week
and a task of a year; counts and ages enter as log(1 + x).

The features are those of well-known heuristics (Sarwar et al. 2001 for item-kNN; decayed
own counts as in next-basket baselines, Hu et al. 2020, arXiv 2006.00556): a network on
top of them starts from what is hard to beat.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from model_core.graph.temporal_graph import Interactions, TemporalGraph
from model_core.priors.columns import COLUMN_FEATURES, ColumnLifts
from model_core.priors.event_values import event_values
from model_core.priors.events import EventIndex
from model_core.priors.keys import distinct_keys
from model_core.priors.knn import FOLLOW_FEATURES, KNN_FEATURES, knn_scores
from model_core.priors.neighbors import NeighborSource
from model_core.priors.past import PAIR_FEATURES, USER_FEATURES, Past
from model_core.priors.values import VALUE_FEATURES, ValuePriors

#: Widths of counting windows, in label windows.
ITEM_WINDOWS = (0.25, 1.0, 2.0, 4.0, 16.0)

ITEM_FEATURES = (
    *(f"item_count_window_{w:g}" for w in ITEM_WINDOWS), "item_count", "item_age_last",
    "item_age_first", "item_trend_short", "item_trend_long", "item_users",
    "item_repeat_share",
)
FEATURES = (PAIR_FEATURES + VALUE_FEATURES + KNN_FEATURES + FOLLOW_FEATURES + COLUMN_FEATURES
            + ITEM_FEATURES + USER_FEATURES)

#: A pair's features, of the events that labels speak of alone, where users also do other things.
TARGET_FEATURES = tuple(f"target_{name}" for name in PAIR_FEATURES)

#: Moments whose popular items are remembered.
MAX_KEPT_TIMES = 4_096


def feature_names(target_events: bool) -> tuple[str, ...]:
    """Names of a candidate's features, in order.

    Args:
        target_events: Whether the labels' own kind of events is told apart (``GraphSchema``).
    """
    return (*FEATURES, *TARGET_FEATURES) if target_events else FEATURES


@dataclass(frozen=True)
class Candidates:
    """Candidate pairs of a batch of B seeds, sorted by (seed, item), each pair once.

    Attributes:
        seed: int64 [M], 0..B-1.
        item: int64 [M], catalogue rows.
        feature: float32 [M, F], as ``feature_names`` says.
    """

    seed: np.ndarray
    item: np.ndarray
    feature: np.ndarray

    @classmethod
    def none(cls, target_events: bool = False) -> Candidates:
        """No candidates at all."""
        return cls(np.zeros(0, np.int64), np.zeros(0, np.int64),
                   np.zeros((0, len(feature_names(target_events))), np.float32))


class PairPriors:
    """Candidates and their features for any seeds; numpy only, the same in training and serving.

    Args:
        events: All interactions; none later than a seed's time is used for it.
        neighbors: Item-item similarity at given times.
        followers: The same of what users take after an item.
        columns: What the columns of both tables say of a pair; None: their features are 0.
        values: What the columns of the user's events with an item say; None: their features are 0.
        window_s: Label window Δ of the task, seconds.
        num_similar: Candidates by item-kNN.
        num_popular: Candidates by popularity in (t - Δ, t].
        num_following: Candidates by what follows.
        targets: The interactions of the kind that labels speak of; None where all are.
    """

    def __init__(
        self, events: EventIndex, neighbors: NeighborSource, followers: NeighborSource,
        columns: ColumnLifts | None, values: ValuePriors | None, window_s: int, num_similar: int = 80,
        num_popular: int = 60, num_following: int = 40, targets: EventIndex | None = None,
    ) -> None:
        self.events, self.targets, self.window_s = events, targets, window_s
        self.neighbors, self.followers = neighbors, followers
        self.columns, self.values = columns, values
        self.num_similar, self.num_popular, self.num_following = num_similar, num_popular, num_following
        self._popular: dict[int, np.ndarray] = {}

    @classmethod
    def of(
        cls, graph: TemporalGraph[Any], neighbors: NeighborSource, followers: NeighborSource,
        window_s: int, num_similar: int, num_popular: int, num_following: int, columns: bool,
        values: Sequence[str | None],
        value_scales: Mapping[str, tuple[float, float]] | None = None, targets: bool = True,
    ) -> PairPriors:
        """On a graph with numpy arrays or tensors.

        Args:
            graph, neighbors, followers, window_s, num_similar, num_popular, num_following: See
                ``PairPriors``.
            columns: Whether the columns of both tables are read.
            values: Columns of event rows that are read (``event_values.value_columns``), one per slot.
            value_scales: Theirs, where another graph's are wanted (``event_values``).
            targets: Whether the labels' own kind of events is counted apart, where the graph knows it;
                else its features are those of users who did nothing.
        """
        lifts = ColumnLifts.of(graph, window_s) if columns else None
        events = graph.interactions.to_numpy()
        of_events = ValuePriors(events, event_values(graph, values, value_scales)) if any(values) else None
        of_targets = None
        if events.target is not None:
            apart = events.targets()
            if not targets:
                apart = Interactions(apart.entity[:0], apart.item[:0], apart.time[:0])
            of_targets = EventIndex.build(apart, graph.num_entities, graph.num_items)
        return cls(EventIndex.of(graph), neighbors, followers, lifts, of_events, window_s, num_similar,
                   num_popular, num_following, of_targets)

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Names of the features it gives."""
        return feature_names(self.targets is not None)

    def __call__(self, entity: np.ndarray, time: np.ndarray) -> Candidates:
        """Candidates of every seed.

        Args:
            entity: int64 [B], rows of the entity table.
            time: int64 [B], seed times in UTC seconds.
        """
        num_items = self.events.num_items
        past = Past(self.events, entity, time, self.window_s)
        near_key, near = knn_scores(past, time, self.neighbors, num_items, self.num_similar)
        next_key, following = knn_scores(past, time, self.followers, num_items, self.num_following)
        popular = [self._popular_at(moment) for moment in time.tolist()]
        popular_seed = np.repeat(np.arange(len(time)), [len(items) for items in popular])
        popular_key = popular_seed * num_items + np.concatenate([np.zeros(0, np.int64), *popular])
        # Both read the newest events only, so that one may hold a pair that the other does not.
        done = None if self.targets is None else Past(self.targets, entity, time, self.window_s)
        met_key = past.pair if done is None else np.concatenate([past.pair, done.pair])
        key = distinct_keys(
            np.concatenate([met_key, near_key, next_key, popular_key]), len(time) * num_items)
        seed, item = key // num_items, key % num_items

        feature = np.zeros((len(key), len(self.feature_names)), dtype=np.float32)
        ends = np.cumsum([len(PAIR_FEATURES), len(VALUE_FEATURES), len(KNN_FEATURES), len(FOLLOW_FEATURES),
                          len(COLUMN_FEATURES), len(ITEM_FEATURES), len(USER_FEATURES)])
        pair, values, by_near, by_next, lifts, about_item, about_user, of_targets = np.split(
            feature, ends, axis=1)
        met = np.searchsorted(key, past.pair)
        pair[met] = past.pair_features()
        if self.values is not None:
            values[met] = self.values(past, self.events, time)
        by_near[:] = near.features(key, seed, past.num_distinct, num_items)
        by_next[:] = following.features(key, seed, past.num_distinct, num_items)
        if self.columns is not None:
            lifts[:] = self.columns(past, entity, time, seed, item)
        about_item[:] = self._item_features(item, time[seed])
        about_user[:] = past.user_features()[seed]
        if done is not None:
            of_targets[np.searchsorted(key, done.pair)] = done.pair_features()
        # Rounded here once, so that a cache may keep 16 bits and change nothing.
        return Candidates(seed, item, feature.astype(np.float16).astype(np.float32))

    def _popular_at(self, time: int) -> np.ndarray:
        """Most frequent items of (t - Δ, t], ties by all history, then by row."""
        found = self._popular.get(time)  # in one go: other threads may clear it
        if found is None:
            events = self.events
            start, end = np.searchsorted(events.time, [time - self.window_s, time], side="right")
            item, count = np.unique(events.item[start:end], return_counts=True)
            known = events.item_end(item, np.full(len(item), time)) - events.item_ptr[item]
            order = np.lexsort((item, -known, -count))[: self.num_popular]
            if len(self._popular) >= MAX_KEPT_TIMES:  # a server asks at ever new times
                self._popular.clear()
            found = self._popular[time] = item[order].astype(np.int64)
        return found

    def _item_features(self, item: np.ndarray, time: np.ndarray) -> np.ndarray:
        """float32 [M, len(ITEM_FEATURES)]; computed once per distinct (item, time)."""
        events, window = self.events, float(self.window_s)
        moments, which = np.unique(time, return_inverse=True)
        key, place = np.unique(which * events.num_items + item, return_inverse=True)
        item, time = key % events.num_items, moments[key // events.num_items]
        start, end = events.item_ptr[item], events.item_end(item, time)
        total = end - start
        known = total > 0
        count = {w: end - events.item_end(item, time - int(w * window)) for w in ITEM_WINDOWS}
        last = np.where(known, time - _take(events.item_time, end - 1), 0) / window
        first = np.where(known, time - _take(events.item_time, start), 0) / window
        users = np.where(known, _take(events.item_users, end - 1), 0)
        columns = [
            *(np.log1p(count[w]) for w in ITEM_WINDOWS), np.log1p(total), np.log1p(last),
            np.log1p(first),
            np.log((count[1.0] + 1) / (count[4.0] / 4 + 1)),
            np.log((count[4.0] + 1) / (count[16.0] / 4 + 1)),
            np.log1p(users), 1 - users / np.maximum(total, 1),
        ]
        return np.stack(columns, axis=1).astype(np.float32)[place]


def _take(values: np.ndarray, position: np.ndarray) -> np.ndarray:
    """``values[position]`` where the caller discards what lies outside."""
    if len(values) == 0:
        return np.zeros(len(position), dtype=values.dtype)
    return values[np.clip(position, 0, len(values) - 1)]
