"""Which chains of foreign keys the labels speak of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from model_core.split.seeds import SeedTable
from model_core.tables.interactions import find_interactions, num_walks
from model_core.tables.routes import Route, shortest_routes, simple_routes
from model_core.tables.snapshot import Snapshot
from model_core.tables.triples import Triples, distinct

#: A route must confirm this share of the label items that no route before it does, beyond chance.
MIN_SHARE = 0.05
#: Hops that a route may have more than the shortest, and all told.
MAX_DETOUR, MAX_HOPS = 3, 6
#: Walks along a longer route, per row of its tables: more say that all users meet all items.
MAX_WALKS_PER_ROW = 10
#: Longer routes that are looked at, those with the fewest walks.
MAX_ROUTES = 16
#: Training labels that are looked at.
MAX_LABEL_ROWS = 10_000


class LabelRoutes(NamedTuple):
    """Routes by which entities meet items.

    Attributes:
        routes: All, the shortest first.
        target: Those of them that the labels speak of. The others are other behaviour of the
            same users: a shop's views beside its purchases.
    """

    routes: tuple[Route, ...]
    target: tuple[Route, ...]


def label_routes(snapshot: Snapshot, train: SeedTable) -> LabelRoutes:
    """The schema's shortest routes, those without which labels cannot be explained, and which labels mean.

    On a forum a user reaches a post in one step: the user wrote it. A task that asks for the
    posts that a user will comment on speaks of another way, through the comments, and own posts
    say little of it. Labels tell: a label (t, entity, item) is confirmed by a route if a
    chain of rows along it appears in (t, t + Δ]. Of the shortest routes those that confirm
    labels, more than chance would, are the targets; where these leave labels unconfirmed, the longer route
    that confirms most of the rest is added, and so on. Where no route confirms anything, all are targets.

    Args:
        snapshot: Validated tables.
        train: Training labels; those of later windows must not decide anything.

    Raises:
        DataError: No foreign keys connect the entity and the item table.
    """
    task = snapshot.task
    fkeys = {name: table.fkeys for name, table in snapshot.tables.items()}
    shortest = tuple(shortest_routes(fkeys, task.entity_table, task.item_table))
    if not len(train.item):
        return LabelRoutes(shortest, shortest)
    labels = _Labels(snapshot, train)
    target = labels.covered_by({
        route: num_walks(snapshot, route, snapshot.val_time) if len(shortest) > 1 else 0.0
        for route in shortest})
    longer: list[Route] = []
    if 1 - labels.known.mean() >= MIN_SHARE:
        others = simple_routes(fkeys, task.entity_table, task.item_table, most_hops(shortest))
        walks = {route: num_walks(snapshot, route, snapshot.val_time)
                 for route in others if route not in shortest}
        few = sorted((route for route in walks if walks[route] <= _most_walks(snapshot, route)),
                     key=walks.__getitem__)
        longer = labels.covered_by({route: walks[route] for route in few[:MAX_ROUTES]})
    routes = (*shortest, *sorted(longer, key=len))
    return LabelRoutes(routes, tuple(route for route in routes if route in (*target, *longer)) or routes)


def _most_walks(snapshot: Snapshot, route: Route) -> int:
    passed = {snapshot.task.entity_table, *(hop.dst for hop in route)}
    return MAX_WALKS_PER_ROW * sum(snapshot.tables[name].num_rows for name in passed)


class _Labels:
    """Training labels, and which of them are confirmed by the routes chosen so far.

    Args:
        snapshot: Validated tables; only rows up to the validation time are walked.
        train: Training labels; of many, rows evenly spread over time.

    Attributes:
        known: bool [nnz], label items that are confirmed.
    """

    def __init__(self, snapshot: Snapshot, train: SeedTable) -> None:
        self._snapshot = snapshot
        rows = np.unique(np.linspace(0, len(train) - 1, min(len(train), MAX_LABEL_ROWS)).astype(np.int64))
        self._seeds = train.take(rows)
        # Ids are checked only after this, by the certificate.
        num_entities = snapshot.tables[snapshot.task.entity_table].num_rows
        entities = distinct(self._seeds.entity)
        self._entities = entities[(entities >= 0) & (entities < num_entities)]
        self.known = np.zeros(len(self._seeds.item), dtype=bool)
        # The same rows with each other's items: what a route confirms of them it confirms by chance.
        item = np.random.default_rng(0).permutation(self._seeds.item)
        self._shuffled = replace(self._seeds, item=item)

    def covered_by(self, walks: Mapping[Route, float]) -> list[Route]:
        """Routes, one after the other, each of which confirms most of what is not yet known.

        Of those that do about as well (less than MIN_SHARE worse), the one with the fewest walks:
        it says least beside the labels.

        Args:
            walks: Routes with their numbers of walks.
        """
        confirmed = {route: self._confirmed(route) for route in walks}
        chosen: list[Route] = []
        while confirmed:
            gain = {route: float((mine & ~self.known).mean() - (luck & ~self.known).mean())
                    for route, (mine, luck) in confirmed.items()}
            best = max(gain.values())
            if best < MIN_SHARE:
                break
            alike = [route for route in gain if gain[route] >= max(MIN_SHARE, best - MIN_SHARE)]
            chosen.append(min(alike, key=walks.__getitem__))
            self.known |= confirmed.pop(chosen[-1])[0]
        return chosen

    def _confirmed(self, route: Route) -> tuple[np.ndarray, np.ndarray]:
        """Which label items a route confirms, and which of shuffled ones, bool [nnz] each."""
        snapshot = self._snapshot
        triples = find_interactions(snapshot, snapshot.val_time, [route], entities=self._entities)
        mine, luck = (confirmed_labels(seeds, triples, snapshot.task.window_s)
                      for seeds in (self._seeds, self._shuffled))
        return mine, luck


def most_hops(shortest: Sequence[Route]) -> int:
    """How long a longer route may be; never less than the shortest."""
    hops = len(shortest[0])
    return max(min(hops + MAX_DETOUR, MAX_HOPS), hops)


def confirmed_labels(seeds: SeedTable, interactions: Triples, window_s: int) -> np.ndarray:
    """Whether a label item has an interaction of the same entity inside the label window.

    Args:
        seeds: Label rows, sorted by time.
        interactions: (entity, item, time), sorted by time.
        window_s: Δ.

    Returns:
        bool [nnz], as ``seeds.item``.
    """
    entity, item, time = interactions
    num_items = int(max(item.max(initial=0), seeds.item.max(initial=0))) + 1
    label = np.repeat(seeds.entity, np.diff(seeds.item_ptr)) * num_items + seeds.item
    pair = entity * num_items + item
    confirmed = np.zeros(len(label), dtype=bool)
    for moment in np.unique(seeds.time):
        rows = np.searchsorted(seeds.time, [moment, moment + 1])
        mine = slice(*seeds.item_ptr[rows])
        inside = slice(*np.searchsorted(time, [moment, moment + window_s], side="right"))
        happened, asked = distinct(pair[inside]), label[mine]
        confirmed[mine] = (np.searchsorted(happened, asked, side="right")
                           > np.searchsorted(happened, asked))
    return confirmed
