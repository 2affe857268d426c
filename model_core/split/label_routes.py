"""Which chains of foreign keys the labels speak of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from model_core.split.seeds import SeedTable
from model_core.tables.interactions import Triples, distinct, find_interactions, num_walks
from model_core.tables.routes import Route, shortest_routes, simple_routes
from model_core.tables.snapshot import Snapshot

#: A longer route must confirm this share of the label items that no route before it does.
MIN_SHARE = 0.05
#: Hops that a route may have more than the shortest, and all told.
MAX_DETOUR, MAX_HOPS = 3, 6
#: Walks along a longer route, per row of the tables: more say that all users meet all items.
MAX_WALKS_PER_ROW = 10


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
    labels are the targets; where these leave labels unconfirmed, the longer route that confirms most
    of the rest is added, and so on. Where no route confirms anything, all are targets.

    Args:
        snapshot: Validated tables.
        train: Training labels; those of later windows must not decide anything.

    Raises:
        DataError: No foreign keys connect the entity and the item table.
    """
    task = snapshot.task
    fkeys = {name: table.fkeys for name, table in snapshot.tables.items()}
    shortest = shortest_routes(fkeys, task.entity_table, task.item_table)
    known = np.zeros(len(train.item), dtype=bool)
    target = _covering(snapshot, train, shortest, known)
    longer = []
    if 1 - known.mean() >= MIN_SHARE:
        most = MAX_WALKS_PER_ROW * sum(table.num_rows for table in snapshot.tables.values())
        others = [route for route in simple_routes(
                      fkeys, task.entity_table, task.item_table, most_hops(shortest))
                  if route not in shortest and num_walks(snapshot, route) <= most]
        longer = _covering(snapshot, train, others, known)
    routes = (*shortest, *sorted(longer, key=len))
    return LabelRoutes(routes, tuple(route for route in routes if route in (*target, *longer)) or routes)


def _covering(
    snapshot: Snapshot, train: SeedTable, routes: Sequence[Route], known: np.ndarray
) -> list[Route]:
    """Routes, one after the other, each of which confirms most of the label items not yet known.

    Args:
        known: bool [nnz], which label items are confirmed; those that the result confirms are added.
    """
    confirmed = {route: _confirmed(snapshot, train, route) for route in routes}
    chosen: list[Route] = []
    while confirmed:
        gain = {route: float((mine & ~known).mean()) for route, mine in confirmed.items()}
        best = max(gain.values())
        if best < MIN_SHARE:
            break
        # Of routes that do as well, the one that says least beside the labels.
        alike = [route for route in gain if gain[route] > best - MIN_SHARE]
        chosen.append(min(alike, key=lambda route: num_walks(snapshot, route)))
        known |= confirmed.pop(chosen[-1])
    return chosen


def _confirmed(snapshot: Snapshot, train: SeedTable, route: Route) -> np.ndarray:
    """Of training label items, by a route; only rows from before the validation time are walked."""
    triples = find_interactions(snapshot, snapshot.val_time, [route])
    return confirmed_labels(train, triples, snapshot.task.window_s)


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
