"""How a small world with a known answer is made, and how a ranking of it is judged."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from model_core.graph.temporal_graph import TemporalGraph
from model_core.split.seeds import SeedTable, Split
from tests.factories import DAY, Rows, make_graph, make_seeds, make_split

START = 1_600_000_000
WINDOW = 10 * DAY
K = 10

Event = tuple[int, int, int]  # user, item, time


@dataclass(frozen=True)
class World:
    """A graph and its split, with the answers.

    Attributes:
        graph: numpy graph; rows ≤ the test seed time only.
        split: Its labels, opened from disk.
        chance: Expected test MAP@10 of a random ranking.
        oracle: Test MAP@10 of a ranker that knows how the world was made.
        expected: Model, variant of a model or baseline to (least, most) test MAP@10.
    """

    graph: TemporalGraph[np.ndarray]
    split: Split
    chance: float
    oracle: float
    expected: Mapping[str, tuple[float, float]]


def mean_average_precision(ranking: np.ndarray, seeds: SeedTable, k: int = K) -> float:
    """MAP@k as RelBench counts it, written slowly on purpose. ``ranking`` is [n, >= k]."""
    total = 0.0
    for row in range(len(seeds)):
        truth = set(seeds.items_of(row).tolist())
        hits, average = 0, 0.0
        for place, item in enumerate(ranking[row, :k].tolist(), start=1):
            if item in truth:
                hits += 1
                average += hits / place
        total += average / min(len(truth), k)
    return total / len(seeds)


def top_k(scores: np.ndarray, k: int = K) -> np.ndarray:
    """Best items of each row, ties to the lower item id."""
    return np.argsort(-scores, axis=1, kind="stable")[:, :k]


def window_start(window: int) -> int:
    return START + window * WINDOW


def labels_of(events: list[Event], windows: range) -> SeedTable:
    """What every user takes in every one of the windows."""
    rows: dict[tuple[int, int], list[int]] = {}
    for user, item, time in events:
        window = (time - START - 1) // WINDOW  # labels lie in (t, t + window]
        if window in windows:
            rows.setdefault((user, window), []).append(item)
    return make_seeds([(user, window_start(w), items) for (user, w), items in rows.items()])


def make_world(
    folder: Path, events: list[Event], num_users: int, num_items: int, num_history: int,
    num_windows: int, oracle: Callable[[SeedTable], np.ndarray],
    expected: Mapping[str, tuple[float, float]], item_category: np.ndarray | None = None,
    labelled: Callable[[int], bool] = lambda user: True,
) -> World:
    """Windows 0..num_history-1 have no labels; the last two are val and test.

    Only users of whom ``labelled`` holds have labels at all.
    """
    val_time, test_time = window_start(num_windows - 2), window_start(num_windows - 1)
    events = sorted(events, key=lambda event: (event[2], event[0], event[1]))
    known = [event for event in events if event[2] <= test_time]
    user, item, time = (np.asarray([event[i] for event in known], dtype=np.int64) for i in range(3))
    graph = make_graph(
        {
            "users": Rows(num_users),
            "items": Rows(num_items, category=item_category),
            "events": Rows(len(known), time,
                           {"user_id": ("users", user), "item_id": ("items", item)}),
        },
        "users", "items", known, cutoff=val_time, last_time=test_time,
    )
    told = [event for event in events if labelled(event[0])]
    split = make_split(
        folder,
        labels_of(told, range(num_history, num_windows - 2)),
        labels_of(told, range(num_windows - 2, num_windows - 1)),
        labels_of(told, range(num_windows - 1, num_windows)),
        num_entities=num_users, num_items=num_items, window_s=WINDOW,
        val_time=val_time, test_time=test_time, eval_k=K,
    )
    rng = np.random.default_rng(0)
    chance = np.mean([
        mean_average_precision(rng.random((len(split.test), num_items)).argsort(1), split.test)
        for _ in range(5)
    ])
    best = mean_average_precision(top_k(oracle(split.test)), split.test)
    return World(graph, split, float(chance), best, expected)
