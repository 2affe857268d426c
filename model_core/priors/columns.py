"""ColumnLifts: what the columns of users and items say about a pair.

Two log ratios of an observed to an expected count, each summed over columns as if these
were independent (naive Bayes), and 0 where nothing is known:

- *alike*: other users with the same value in a column (age group, occupation) have taken the
  item more often than everybody has;
- *taste*: values of the item's columns (genre, range of prices) are more frequent in the
  user's own history than in everybody's.

Only the first event of a user and an item counts: a wholesaler that orders every week is
one user that takes an item. Columns in which one value holds most rows tell few rows apart
and are left out.

A network over user and item vectors could learn both, but not from a few hundred rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from model_core.graph.temporal_graph import (
    Interactions,
    TableColumns,
    TemporalGraph,
    to_numpy,
)
from model_core.priors.keyed_times import KeyedTimes
from model_core.priors.keys import distinct_keys
from model_core.priors.past import Past

#: Half-lives of the user's history, in label windows; the first counts all alike.
TASTE_HALF_LIVES = (np.inf, 2.0)
COLUMN_FEATURES = (
    "alike_lift_window", "alike_lift", *(f"taste_lift_half_life_{h:g}" for h in TASTE_HALF_LIVES),
)
#: A number column becomes ranges with about as many rows each.
NUM_RANGES = 8
#: Columns of a table that are read, in the order of the graph, categories before numbers.
MAX_COLUMNS = 8
#: Columns are left out where one value holds more than this share of the rows.
MAX_SHARE = 0.8
#: Pairs of a user column's codes and items that are told apart: so many keys and the seconds of
#: a century fit into 63 bits. A column with more is not read.
MAX_PAIR_KEYS = 2**31
#: Events as expected that are added to both counts of a ratio: few events say little.
ALIKE_PRIOR, TASTE_PRIOR = 10.0, 20.0
#: Largest share of one column in a taste lift, up and down.
MAX_TASTE = 3.0


def codes(columns: TableColumns[Any], fit: np.ndarray) -> list[np.ndarray]:
    """Small codes of a table's columns: int64 [n] for each category and each number column.

    Text is left out, and so are columns that tell few rows apart (``MAX_SHARE``).

    Args:
        columns: Of n rows.
        fit: bool [n], rows that ranges and the choice of columns may know. All get codes.
    """
    if not fit.any():
        return []
    found = list(to_numpy(columns.category).astype(np.int64).T)
    for column in to_numpy(columns.number).T:
        edges = np.unique(np.quantile(column[fit], np.arange(1, NUM_RANGES) / NUM_RANGES))
        found.append(np.searchsorted(edges, column, side="left").astype(np.int64))
    most = MAX_SHARE * fit.sum()
    return [column for column in found if np.bincount(column[fit]).max() <= most][:MAX_COLUMNS]


@dataclass(frozen=True)
class _Column:
    """A column as codes, with the events of each."""

    code: np.ndarray
    num_codes: int
    events: KeyedTimes


@dataclass(frozen=True)
class _EntityColumn(_Column):
    """A column of users, also with the events of each (code, item)."""

    pair_events: KeyedTimes


class ColumnLifts:
    """Features of candidate pairs from the columns of both tables.

    Args:
        interactions: All events, by time; none later than a seed's time is used for it.
        entity_codes, item_codes: Columns of the two tables (``codes``).
        entity_time: int64 [num_entities], when users appeared. A seed before that has no columns.
        num_items: Rows of the item table.
        window_s: Label window, seconds.
    """

    def __init__(
        self, interactions: Interactions[np.ndarray], entity_codes: list[np.ndarray],
        item_codes: list[np.ndarray], entity_time: np.ndarray, num_items: int, window_s: int,
    ) -> None:
        who, what, when = _first_meetings(interactions, num_items)
        self.entity_time, self.num_items, self.window_s = entity_time, num_items, window_s
        self._time = when
        self._item_events = KeyedTimes.build(what, when, num_items)
        self._entity, self._item = [], []
        for code in entity_codes:
            num_codes = int(code.max()) + 1
            num_pairs = num_codes * num_items
            if num_pairs <= MAX_PAIR_KEYS:
                self._entity.append(_EntityColumn(
                    code, num_codes, KeyedTimes.build(code[who], when, num_codes),
                    KeyedTimes.build(code[who] * num_items + what, when, num_pairs)))
        for code in item_codes:
            num_codes = int(code.max()) + 1
            self._item.append(_Column(code, num_codes, KeyedTimes.build(code[what], when, num_codes)))

    @classmethod
    def of(cls, graph: TemporalGraph[Any], window_s: int) -> ColumnLifts:
        """Of a graph with numpy arrays or tensors.

        Ranges and the choice of columns know rows up to the graph's cutoff only, so they stay
        the same when the graph grows.
        """
        entity, item = (
            codes(graph.columns[table], to_numpy(graph.node_time[table]) <= graph.cutoff)
            for table in (graph.entity_table, graph.item_table))
        return cls(graph.interactions.to_numpy(), entity, item,
                   to_numpy(graph.node_time[graph.entity_table]), graph.num_items, window_s)

    def __call__(
        self, past: Past, entity: np.ndarray, time: np.ndarray, seed: np.ndarray, item: np.ndarray
    ) -> np.ndarray:
        """Features of pairs.

        Args:
            past: Of the B seeds.
            entity, time: int64 [B], the seeds.
            seed, item: int64 [M], the pairs.

        Returns:
            float32 [M, len(COLUMN_FEATURES)].
        """
        feature = np.zeros((len(item), len(COLUMN_FEATURES)), dtype=np.float32)
        feature[:, :2] = self._alike(past, entity, time, seed, item)
        feature[:, 2:] = self._taste(past, time, seed, item)
        return feature

    def _alike(
        self, past: Past, entity: np.ndarray, time: np.ndarray, seed: np.ndarray, item: np.ndarray
    ) -> np.ndarray:
        """Both alike lifts, [M, 2]: of first events in the last label window, and of all."""
        lift = np.zeros((len(item), 2))
        if not self._entity:
            return lift
        # What the user did itself says nothing about others like it. Of users with more events
        # than are read, some may look newer than they are: never more than there were.
        own = np.stack(past.first_meetings_of(seed * self.num_items + item), axis=1)
        recent = np.bincount(past.pair_seed[past.age_first < 1], minlength=past.num_seeds)
        own_total = np.stack([recent, past.num_distinct], axis=1)
        total = self._since(np.searchsorted(self._time, time, side="right"),
                            np.searchsorted(self._time, time - self.window_s, side="right"))
        born = (self.entity_time[entity] <= time)[seed, None]
        moments, moment = np.unique(time, return_inverse=True)
        of_item = self._counts(self._item_events, item, moment[seed], moments, self.num_items)
        for column in self._entity:
            value = column.code[entity]
            alike = self._counts(column.events, value, moment, moments, column.num_codes)
            others = np.maximum(alike - own_total, 0)
            share = others / np.maximum(total - alike + others, 1)
            observed = self._counts(column.pair_events, value[seed] * self.num_items + item,
                                    moment[seed], moments, column.num_codes * self.num_items)
            of_others = np.maximum(observed - own, 0)
            expected = (of_item - observed + of_others) * share[seed]
            lift += born * np.log((of_others + ALIKE_PRIOR) / (expected + ALIKE_PRIOR))
        return lift

    def _counts(
        self, events: KeyedTimes, key: np.ndarray, moment: np.ndarray, moments: np.ndarray, num_keys: int
    ) -> np.ndarray:
        """Events of keys in the last window and of all time, int64 [n, 2]; looked up once per moment."""
        cell = moment * num_keys + key
        distinct = distinct_keys(cell, len(moments) * num_keys)
        key, time = distinct % num_keys, moments[distinct // num_keys]
        found = self._since(events.count(key, time), events.count(key, time - self.window_s))
        return found[np.searchsorted(distinct, cell)]

    @staticmethod
    def _since(now: np.ndarray, before: np.ndarray) -> np.ndarray:
        return np.stack([now - before, now], axis=1)

    def _taste(
        self, past: Past, time: np.ndarray, seed: np.ndarray, item: np.ndarray
    ) -> np.ndarray:
        """Taste lifts, [M, len(TASTE_HALF_LIVES)]."""
        lift = np.zeros((len(item), len(TASTE_HALF_LIVES)))
        weights = [np.exp2(-past.age_last / half_life) for half_life in TASTE_HALF_LIVES]
        moments, moment = np.unique(time, return_inverse=True)
        all_events = np.maximum(np.searchsorted(self._time, moments, side="right"), 1)
        for column in self._item:
            at, value = np.divmod(np.arange(len(moments) * column.num_codes), column.num_codes)
            expected = (column.events.count(value, moments[at]) / all_events[at])[
                moment[seed] * column.num_codes + column.code[item]]
            own_cell = past.pair_seed * column.num_codes + column.code[past.pair_item]
            cell = seed * column.num_codes + column.code[item]
            for number, weight in enumerate(weights):
                own = np.bincount(own_cell, weight, minlength=len(time) * column.num_codes)[cell]
                whole = np.bincount(past.pair_seed, weight, minlength=len(time))[seed]
                # The expected share cancels: a value that nobody has met says nothing.
                ratio = np.divide(own, expected, out=np.zeros(len(item)), where=expected > 0)
                taste = np.log((ratio + TASTE_PRIOR) / (whole + TASTE_PRIOR))
                lift[:, number] += np.where(expected > 0, np.clip(taste, -MAX_TASTE, MAX_TASTE), 0)
        return lift


def _first_meetings(
    interactions: Interactions[np.ndarray], num_items: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(entity, item, time) of the first event of every pair, by time."""
    entity, item, time = (np.asarray(part) for part in (
        interactions.entity, interactions.item, interactions.time))
    _, first = np.unique(entity * num_items + item, return_index=True)  # events come by time
    first.sort()
    return entity[first], item[first], time[first]
