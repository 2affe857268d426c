"""PairPriors of a graph, for training and evaluation (serving reads its neighbours from a bundle)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from model_core.graph.temporal_graph import Interactions, TemporalGraph
from model_core.priors.co_interaction import CoInteraction
from model_core.priors.features import PairPriors

#: Followers kept per item, for every candidate that they are to bring; and the fewest, where
#: catalogues are so large that not all find room.
FOLLOWERS_PER_CANDIDATE, MIN_FOLLOWERS = 2, 8
#: Most snapshots of item-item similarity of a training run, and most bytes of them all; seed
#: times without one of their own use the newest before them (``thinned``).
MAX_SNAPSHOTS, MAX_SNAPSHOT_BYTES = 32, 2**30


def make_priors(
    graph: TemporalGraph[Any],
    window_s: int,
    num_similar: int,
    num_popular: int,
    snapshot_times: Sequence[int] | None = None,
    columns: bool = True,
    values: Sequence[str | None] = (),
    value_scales: Mapping[str, tuple[float, float]] | None = None,
    num_following: int = 40,
    targets: bool = True,
) -> PairPriors:
    """Index a graph's interactions.

    Args:
        graph: With numpy arrays or torch tensors.
        window_s: Label window Δ of the task, seconds.
        num_similar: Candidates by item-kNN, and neighbours kept per item.
        num_popular: Candidates by popularity.
        snapshot_times: When item-item similarity may be computed (``thinned``); None: at
            every seed time that is asked for.
        columns: Whether the columns of both tables are read.
        values: Columns of event rows that are read.
        value_scales: Theirs, where another graph's are wanted.
        num_following: Candidates by what follows; ``num_followers`` are kept per item.
        targets: Whether the labels' own kind of events is counted apart.
    """
    interactions = graph.interactions.to_numpy()
    of_graph = interactions, graph.num_entities, graph.num_items
    followers = num_followers(num_known_items(interactions), num_following)
    return PairPriors.of(
        graph, CoInteraction.similar(*of_graph, num_similar, snapshot_times),
        CoInteraction.following(*of_graph, window_s, followers, snapshot_times),
        window_s,
        num_similar, num_popular, num_following, columns, values, value_scales, targets)


def num_known_items(interactions: Interactions[np.ndarray]) -> int:
    """How many items have events."""
    return int(np.count_nonzero(np.bincount(interactions.item)))


def num_followers(num_known_items: int, num_following: int) -> int:
    """Followers kept per item: twice the candidates, or as many as have room in two snapshots, at least 8.

    Example:
        >>> num_followers(4_000, 40), num_followers(3_000_000, 40), num_followers(10**9, 40)
        (80, 22, 8)
    """
    room = MAX_SNAPSHOT_BYTES // (2 * 8 * max(num_known_items, 1))
    return min(FOLLOWERS_PER_CANDIDATE * num_following, max(room, MIN_FOLLOWERS))


def most_snapshots(num_known_items: int, num_similar: int, num_following: int) -> int:
    """How many snapshots of so many items fit, at least 2."""
    kept = num_similar + num_followers(num_known_items, num_following)
    size = max(num_known_items * kept * 8, 1)
    return max(min(MAX_SNAPSHOT_BYTES // size, MAX_SNAPSHOTS), 2)


def thinned(times: np.ndarray, most: int = MAX_SNAPSHOTS, half_life: float | None = 8.0) -> np.ndarray:
    """At most ``most`` of the distinct times, close together where rows count most.

    Between two snapshots a row sees the older one, up to a gap behind its time. Weighted as the rows
    are, that is least where the gaps go with one over the root of the weight. The oldest time is among
    those taken, so that every row has one.

    Args:
        times: Seed times of training rows.
        most: At least 1.
        half_life: In how many distinct times a row's weight halves; None: never.

    Example:
        >>> thinned(np.arange(100, 200), most=8)
        array([100, 154, 168, 177, 184, 189, 193, 196])
    """
    distinct = np.unique(times)
    number = len(distinct)
    if number <= most:
        return distinct
    root = np.ones(number) if half_life is None else np.exp2(-np.arange(number) / (2 * half_life))
    mass = np.cumsum(root) / root.sum()
    # Ages at which equal shares of the root's mass end; those that round to one are set apart.
    place = np.arange(most)
    age = np.searchsorted(mass, (place + 1) / most - 1e-9)
    age = np.minimum(np.maximum.accumulate(age - place) + place, number - most + place)
    age[-1] = number - 1
    return distinct[number - 1 - age[::-1]]
