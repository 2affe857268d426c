"""Small worlds whose right answer is known, to see whether a ranker learns.

Each world is a shop (users <- events -> items) over a few windows. What happens after
the test seed time is in the labels only, never in the graph. ``World.expected`` says
for every model and baseline between which test MAP it must land: a ranker that cannot
in theory solve a world has an upper bound there, with the reason beside it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from model_core.split.seeds import SeedTable
from tests.conformance.making import WINDOW, World, make_world, window_start


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
            events += [(user, int(item), window_start(window) + int(rng.integers(1, WINDOW)))
                       for item in bought]

    def oracle(seeds: SeedTable) -> np.ndarray:
        scores = np.zeros((len(seeds), num_items))
        np.put_along_axis(scores, own[seeds.entity], 1.0, axis=1)
        return scores

    return make_world(
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
            "blend": (0.6, 1.0),
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
        events += [(user, int(item), window_start(window) + int(rng.integers(1, WINDOW)))
                   for window, items in enumerate(steps) for item in items]
    seen = np.zeros((num_users, 2 * per_taste))
    for user, item, time in events:
        if time <= window_start(num_windows - 1):
            seen[user, item] = 1

    def oracle(seeds: SeedTable) -> np.ndarray:
        taste = np.arange(2 * per_taste)[None] // per_taste == seeds.entity[:, None] % 2
        return taste - seen[seeds.entity]

    return make_world(
        folder, events, num_users, 2 * per_taste, 1, num_windows, oracle,
        {
            "contextgnn": (0.6, 1.0),
            # It learns the taste, but no pair score tells it which items were seen:
            # three labels among sixteen items of the taste in any order give .24, and
            # a little less to who learned what was taken most: it is left the least.
            "two_tower": (0.2, 1.0),
            "popularity": (0.0, 0.19),
            "recent_popularity": (0.0, 0.19),
            "past_then_popular": (0.0, 0.1),
            "item_knn": (0.2, 1.0),
            "blend": (0.9, 1.0),  # fitted: what was met is never met again
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
         window_start(window) + int(rng.integers(1, WINDOW)))
        for window in range(num_windows) for user in range(num_users)
    ]

    def oracle(seeds: SeedTable) -> np.ndarray:
        return np.tile(share, (len(seeds), 1))

    return make_world(
        folder, events, num_users, num_items, 1, num_windows, oracle,
        {
            "contextgnn": (0.24, 1.0),
            "two_tower": (0.24, 1.0),
            "popularity": (0.24, 1.0),
            "recent_popularity": (0.24, 1.0),
            "past_then_popular": (0.0, 0.22),
            "item_knn": (0.0, 0.23),
            "blend": (0.24, 1.0),
        },
    )


def never_again(folder: Path) -> World:
    """A user takes every item once, in an order of its own, and nothing twice.

    Before the test window it has taken 48 of 56; the other eight are the labels. Right
    answer: whatever was not taken. A subgraph holds the newest events only, so the graph
    alone cannot tell the old ones from the new; counting all of the past can.
    """
    num_users, per_window, num_windows = 90, 8, 7
    num_items = per_window * num_windows
    rng = np.random.default_rng(4)
    order = np.stack([rng.permutation(num_items) for _ in range(num_users)])
    events = [
        (user, int(item), window_start(window) + int(rng.integers(1, WINDOW)))
        for user in range(num_users) for window in range(num_windows)
        for item in order[user, per_window * window : per_window * (window + 1)]
    ]

    def oracle(seeds: SeedTable) -> np.ndarray:
        scores = np.zeros((len(seeds), num_items))
        np.put_along_axis(scores, order[seeds.entity, -per_window:], 1.0, axis=1)
        return scores

    return make_world(
        folder, events, num_users, num_items, 1, num_windows, oracle,
        {
            "contextgnn": (0.9, 1.0),
            "contextgnn without priors": (0.0, 0.3),
            "two_tower": (0.0, 0.15),
            "popularity": (0.0, 0.15),
            "recent_popularity": (0.0, 0.15),
            "past_then_popular": (0.0, 0.01),
            "item_knn": (0.0, 0.3),
            "blend": (0.9, 1.0),
        },
    )


def fashion(folder: Path) -> World:
    """Everybody takes what was most popular in the window before, and that changes.

    In every window setters, whom nobody ranks for, take one item that is new to all in
    such numbers that it leads the window; in the next one the followers take it, each
    once. Right answer: the leader of the last window. Over all of history the earlier
    leaders are ahead of it, and no follower has ever met it.
    """
    num_followers, num_setters, num_items, num_windows = 60, 30, 60, 9
    rng = np.random.default_rng(5)
    leader = rng.permutation(num_items)[:num_windows]
    events = []
    for window in range(num_windows):
        def some_time(window: int = window) -> int:
            return window_start(window) + int(rng.integers(1, WINDOW))

        for setter in range(num_followers, num_followers + num_setters):
            events += [(setter, int(leader[window]), some_time()) for _ in range(4)]
            events += [(setter, int(rng.integers(num_items)), some_time()) for _ in range(2)]
        if window:
            events += [(user, int(leader[window - 1]), some_time()) for user in range(num_followers)]

    def oracle(seeds: SeedTable) -> np.ndarray:
        window = (seeds.time - window_start(0)) // WINDOW
        return np.eye(num_items)[leader[window - 1]]

    return make_world(
        folder, events, num_followers + num_setters, num_items, 1, num_windows, oracle,
        {
            "contextgnn": (0.9, 1.0),
            "contextgnn without priors": (0.0, 0.2),  # the leader was never a label before
            "two_tower": (0.0, 0.2),
            "popularity": (0.0, 0.2),
            "recent_popularity": (0.9, 1.0),
            "past_then_popular": (0.0, 0.2),
            "item_knn": (0.0, 0.3),
            "blend": (0.9, 1.0),
        },
        labelled=lambda user: user < num_followers,
    )


WORLDS: dict[str, Callable[[Path], World]] = {
    "rebuy": rebuy,
    "checkerboard": checkerboard,
    "popularity": popularity,
    "never_again": never_again,
    "fashion": fashion,
}
