"""PairPriors of a graph, for training and evaluation (serving reads its neighbours from a bundle)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from model_core.graph.temporal_graph import TemporalGraph
from model_core.priors.co_interaction import CoInteraction
from model_core.priors.features import PairPriors

#: Followers kept per item, for every candidate that they are to bring.
FOLLOWERS_PER_CANDIDATE = 2
#: Most snapshots of item-item similarity of a training run, and most bytes of them all; seed
#: times without one of their own use the newest before them.
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
        num_following: Candidates by what follows; twice as many followers are kept per item.
    """
    of_graph = graph.interactions.to_numpy(), graph.num_entities, graph.num_items
    return PairPriors.of(
        graph, CoInteraction.similar(*of_graph, num_similar, snapshot_times),
        CoInteraction.following(*of_graph, window_s, FOLLOWERS_PER_CANDIDATE * num_following, snapshot_times),
        window_s,
        num_similar, num_popular, num_following, columns, values, value_scales)


def most_snapshots(num_known_items: int, num_similar: int, num_following: int) -> int:
    """How many snapshots of so many items fit, at least 2."""
    size = max(num_known_items * (num_similar + FOLLOWERS_PER_CANDIDATE * num_following) * 8, 1)
    return max(min(MAX_SNAPSHOT_BYTES // size, MAX_SNAPSHOTS), 2)


def thinned(times: np.ndarray, most: int = MAX_SNAPSHOTS) -> np.ndarray:
    """At most ``most`` of the distinct times, evenly spread, first and last among them.

    Example:
        >>> thinned(np.array([5, 1, 2, 3, 4]), most=3)
        array([1, 3, 5])
    """
    distinct = np.unique(times)
    place = np.linspace(0, len(distinct) - 1, min(most, len(distinct)))
    return distinct[np.unique(np.round(place).astype(np.int64))]
