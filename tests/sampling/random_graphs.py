"""Hypothesis strategies: small typed temporal graphs and seed batches on them."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from model_core.graph.temporal_graph import TemporalGraph
from tests.factories import Rows, make_graph

#: Few distinct times, so that ties are the rule.
TIMES = st.integers(-2, 6)


@st.composite
def graphs(draw: st.DrawFn) -> TemporalGraph[np.ndarray]:
    """Users <- orders -> items, users -> managers (users), and reviews of orders.

    Keys may be missing, any table may be untimed, users and items may have times of
    their own, and any event table may be empty.
    """
    num_users, num_items = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    num_orders, num_reviews = draw(st.integers(0, 14)), draw(st.integers(0, 8))

    def times(n: int) -> np.ndarray | None:
        values = draw(st.lists(TIMES, min_size=n, max_size=n))
        return np.asarray(values, dtype=np.int64) if draw(st.booleans()) else None

    def key(n: int, target: int) -> np.ndarray:
        low = -1 if draw(st.booleans()) else 0
        if target == 0:
            return np.full(n, -1, dtype=np.int64)
        return np.asarray(
            draw(st.lists(st.integers(low, target - 1), min_size=n, max_size=n)), dtype=np.int64)

    return make_graph(
        {
            "users": Rows(num_users, times(num_users), {"manager": ("users", key(num_users, num_users))},
                          number=np.arange(num_users, dtype=float)[:, None]),
            "items": Rows(num_items, times(num_items),
                          category=np.arange(num_items)[:, None] % 2),
            "orders": Rows(num_orders, times(num_orders), {
                "user": ("users", key(num_orders, num_users)),
                "item": ("items", key(num_orders, num_items)),
                "gift": ("items", key(num_orders, num_items)),
            }, number=np.arange(num_orders, dtype=float)[:, None]),
            "reviews": Rows(num_reviews, times(num_reviews),
                            {"order": ("orders", key(num_reviews, num_orders))}),
        },
        "users", "items",
    )


@st.composite
def batches(draw: st.DrawFn) -> tuple[TemporalGraph[np.ndarray], np.ndarray, np.ndarray, list[int]]:
    """A graph, seeds (with repeats), seed times and a fan-out."""
    graph = draw(graphs())
    n = draw(st.integers(0, 5))
    seeds = draw(st.lists(st.integers(0, graph.num_entities - 1), min_size=n, max_size=n))
    bounds = draw(st.lists(st.integers(-3, 7), min_size=n, max_size=n))
    fan_out = draw(st.lists(st.integers(0, 5), min_size=0, max_size=4))
    return graph, np.asarray(seeds, np.int64), np.asarray(bounds, np.int64), fan_out
