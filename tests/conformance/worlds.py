"""Three small worlds whose right answer is known, to see whether a ranker learns.

Each world is a shop (users <- events -> items) over a few windows. What happens after
the test seed time is in the labels only, never in the graph. ``World.expected`` says
for every model and baseline between which test MAP it must land: a ranker that cannot
in theory solve a world has an upper bound there, with the reason beside it.
"""

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
        expected: Model or baseline name to (least, most) test MAP@10.
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


def _window_start(window: int) -> int:
    return START + window * WINDOW


def _labels(events: list[Event], windows: range) -> SeedTable:
    rows: dict[tuple[int, int], list[int]] = {}
    for user, item, time in events:
        window = (time - START - 1) // WINDOW  # labels lie in (t, t + window]
        if window in windows:
            rows.setdefault((user, window), []).append(item)
    return make_seeds([(user, _window_start(w), items) for (user, w), items in rows.items()])


def _world(
    folder: Path, events: list[Event], num_users: int, num_items: int, num_history: int,
    num_windows: int, oracle: Callable[[SeedTable], np.ndarray],
    expected: Mapping[str, tuple[float, float]], item_category: np.ndarray | None = None,
) -> World:
    """Windows 0..num_history-1 have no labels; the last two are val and test."""
    val_time, test_time = _window_start(num_windows - 2), _window_start(num_windows - 1)
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
    split = make_split(
        folder,
        _labels(events, range(num_history, num_windows - 2)),
        _labels(events, range(num_windows - 2, num_windows - 1)),
        _labels(events, range(num_windows - 1, num_windows)),
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


def rebuy(folder: Path) -> World:
    """Every user owns four items and only ever buys those again.

    Right answer: the own past. Popularity is flat, so it stays near chance.
    """
    num_users, num_items, num_windows = 80, 120, 9
    rng = np.random.default_rng(1)
    own = np.stack([rng.choice(num_items, 4, replace=False) for _ in range(num_users)])
    events = []
    for window in range(num_windows):
        for user in range(num_users):
            bought = own[user][rng.random(4) < 0.6] if window else own[user]
            if len(bought) == 0:
                bought = own[user][:1]
            events += [(user, int(item), _window_start(window) + int(rng.integers(1, WINDOW)))
                       for item in bought]

    def oracle(seeds: SeedTable) -> np.ndarray:
        scores = np.zeros((len(seeds), num_items))
        np.put_along_axis(scores, own[seeds.entity], 1.0, axis=1)
        return scores

    return _world(
        folder, events, num_users, num_items, 2, num_windows, oracle,
        {
            "contextgnn": (0.6, 1.0),
            # Items carry no features here: a user's state says how much was bought, not
            # what, so a tower without the pair score cannot know the own items.
            "two_tower": (0.0, 0.25),
            "popularity": (0.0, 0.2),
            "recent_popularity": (0.0, 0.2),
            "past_then_popular": (0.6, 1.0),
            "item_knn": (0.0, 1.0),  # depends on whether a variant returns own items
        },
    )


def checkerboard(folder: Path) -> World:
    """Two disjoint tastes; a user takes items of one taste, each at most once.

    An item carries its taste as a category. By the test window every user has three
    unseen items of the taste left, and those are the labels. Right answer: the taste,
    without what was seen. The own past is always wrong; popularity mixes both tastes.
    """
    num_users, per_taste, num_windows = 240, 16, 5
    rng = np.random.default_rng(2)
    events = []
    for user in range(num_users):
        order = rng.permutation(per_taste) + per_taste * (user % 2)
        steps = np.split(order, [4, 7, 10, 13])
        events += [(user, int(item), _window_start(window) + int(rng.integers(1, WINDOW)))
                   for window, items in enumerate(steps) for item in items]
    seen = np.zeros((num_users, 2 * per_taste))
    for user, item, time in events:
        if time <= _window_start(num_windows - 1):
            seen[user, item] = 1

    def oracle(seeds: SeedTable) -> np.ndarray:
        taste = np.arange(2 * per_taste)[None] // per_taste == seeds.entity[:, None] % 2
        return taste - seen[seeds.entity]

    return _world(
        folder, events, num_users, 2 * per_taste, 1, num_windows, oracle,
        {
            "contextgnn": (0.6, 1.0),
            # It learns the taste, but no pair score tells it which items were seen:
            # three labels among sixteen items of the taste in any order give about .27.
            "two_tower": (0.2, 1.0),
            "popularity": (0.0, 0.19),
            "recent_popularity": (0.0, 0.19),
            "past_then_popular": (0.0, 0.1),
            "item_knn": (0.2, 1.0),
        },
        item_category=1 + np.arange(2 * per_taste)[:, None] // per_taste,
    )


def popularity(folder: Path) -> World:
    """Users draw items from one fixed skewed distribution, whatever they took before.

    Right answer: popularity over everybody. The own past is a small noisy sample of it.
    """
    num_users, num_items, num_windows = 240, 100, 5
    rng = np.random.default_rng(3)
    share = 1.0 / np.arange(1, num_items + 1)
    share = rng.permutation(share / share.sum())  # so that low ids are not popular by chance
    events = [
        (user, int(rng.choice(num_items, p=share)),
         _window_start(window) + int(rng.integers(1, WINDOW)))
        for window in range(num_windows) for user in range(num_users)
    ]

    def oracle(seeds: SeedTable) -> np.ndarray:
        return np.tile(share, (len(seeds), 1))

    return _world(
        folder, events, num_users, num_items, 1, num_windows, oracle,
        {
            "contextgnn": (0.24, 1.0),
            "two_tower": (0.24, 1.0),
            "popularity": (0.24, 1.0),
            "recent_popularity": (0.24, 1.0),
            "past_then_popular": (0.0, 0.22),
            "item_knn": (0.0, 0.23),
        },
    )


WORLDS: dict[str, Callable[[Path], World]] = {
    "rebuy": rebuy,
    "checkerboard": checkerboard,
    "popularity": popularity,
}
