"""A small random shop as a snapshot, with every kind of column and missing values."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from model_core.tables.snapshot import Snapshot
from tests.graph.snapshots import DAY, Frame, seconds, write_snapshot

WINDOW_S = 10 * DAY
VAL_TIME, TEST_TIME = 70 * DAY, 85 * DAY
END = 100 * DAY

SQL = """
SELECT t.timestamp, o.user_id, LIST(DISTINCT l.item_id) AS item_id
FROM timestamps t
JOIN orders o ON o.at > t.timestamp AND o.at <= t.timestamp + INTERVAL '{timedelta}'
JOIN lines l ON l.order_id = o.order_id
WHERE o.user_id IS NOT NULL AND l.item_id IS NOT NULL
GROUP BY t.timestamp, o.user_id
"""


def shop_frames(seed: int = 0, num_orders: int = 300) -> dict[str, Frame]:
    """users <- orders <- lines -> items, with a timed item table and text on the orders."""
    rng = np.random.default_rng(seed)
    num_users, num_items = 30, 25

    def choice(values, size):
        return rng.choice(np.array(values, dtype=object), size)

    # Evenly spread, the ends included, so that every window is whole.
    at = np.sort(np.concatenate([[0, END], rng.integers(0, END, num_orders - 2)]))
    num_lines = 3 * num_orders
    order_id = rng.integers(0, num_orders, num_lines)
    # Most items come over time, some of them after the test time; no one buys one before it is there.
    added = np.concatenate([np.zeros(8), rng.integers(0, END // DAY, num_items - 8)]) * DAY
    item_id = rng.integers(0, num_items, num_lines)
    item_id = np.where(added[item_id] <= at[order_id], item_id, item_id % 8)
    note = [" ".join(choice(["gift", "fast", "red", "blue", "card", str(i)], 3))
            for i in range(num_orders)]
    return {
        "users": Frame(pd.DataFrame({
            "user_id": np.arange(num_users), "country": choice(["GB", "DE", None], num_users),
            "born": seconds(rng.integers(-20_000, -8_000, num_users) * DAY),
        }), "user_id"),
        "items": Frame(pd.DataFrame({
            "item_id": np.arange(num_items), "price": np.round(rng.lognormal(2, 1, num_items), 2),
            "added": seconds(added), "fresh": rng.random(num_items) < 0.4,
        }), "item_id", "added"),
        "orders": Frame(pd.DataFrame({
            "order_id": np.arange(num_orders), "at": seconds(at),
            "user_id": pd.array(np.where(rng.random(num_orders) < 0.05, -1,
                                         rng.integers(0, num_users, num_orders)), "Int64"),
            "channel": choice(["web", "app", "shop", None], num_orders), "note": note,
            "discount": np.where(rng.random(num_orders) < 0.3, np.nan, rng.random(num_orders)),
            "secret": rng.random(num_orders),
        }), "order_id", "at", {"user_id": "users"}, hidden=("secret",)),
        "lines": Frame(pd.DataFrame({
            "order_id": order_id, "item_id": item_id,
            "quantity": rng.geometric(0.3, num_lines), "at": seconds(at[order_id]),
        }), None, "at", {"order_id": "orders", "item_id": "items"}),
    }


def shop_labels(frames: dict[str, Frame]) -> dict[str, list[tuple[int, int, list[int]]]]:
    """What the shop's SQL says, by pandas."""
    joined = frames["lines"].frame.merge(frames["orders"].frame[["order_id", "user_id"]])
    joined = joined[joined.user_id >= 0]
    at = joined["at"].astype("datetime64[us]").astype("int64") // 1_000_000
    seed_times = {"train": range(VAL_TIME - WINDOW_S, -1, -WINDOW_S),
                  "val": [VAL_TIME], "test": [TEST_TIME]}
    labels = {}
    for split, times in seed_times.items():
        labels[split] = []
        for time in sorted(times):
            inside = joined[(at > time) & (at <= time + WINDOW_S)]
            labels[split] += [(time, int(user), sorted(set(rows.item_id)))
                              for user, rows in inside.groupby("user_id")]
    return labels


def shop_snapshot(folder: Path, seed: int = 0, *, stored: bool = True, **kwargs) -> Snapshot:
    frames = shop_frames(seed)
    return write_snapshot(
        folder, frames, val_time=VAL_TIME, test_time=TEST_TIME, window_s=WINDOW_S, sql=SQL,
        labels=shop_labels(frames) if stored else None, **kwargs,
    )
