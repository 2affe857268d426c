"""A small good dataset, held in memory so that a test can spoil one thing and write it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

DAY = 86_400
WEEK = 7 * DAY
START = int(np.datetime64("2020-01-06", "s").astype(np.int64))
NUM_USERS, NUM_ITEMS, NUM_EVENTS, NUM_WEEKS = 12, 9, 400, 10
VAL = START + 8 * WEEK
TEST = VAL + WEEK
TASK = "user-item"

SQL = """SELECT t.timestamp, e.user_id, LIST(DISTINCT e.item_id) AS item_id
FROM timestamps t
JOIN events e ON e.time > t.timestamp AND e.time <= t.timestamp + INTERVAL '{timedelta}'
GROUP BY 1, 2"""


@dataclass
class Draft:
    """A dataset before it is written."""

    tables: dict[str, pa.Table]
    manifest: dict[str, Any]
    task: dict[str, Any]
    labels: dict[str, pa.Table]

    def set_column(self, table: str, column: str, values: Any) -> None:
        """Replace a column by a numpy array, list or pyarrow array."""
        old = self.tables[table]
        index = old.schema.get_field_index(column)
        self.tables[table] = old.set_column(index, column, pa.array(values))

    def edit_column(self, table: str, column: str, row: int, value: Any) -> None:
        """Replace one value, keeping the type."""
        old = self.tables[table].column(column)
        values = old.to_pylist()
        values[row] = value
        self.set_column(table, column, pa.array(values, old.type))

    def write(self, folder: Path) -> Path:
        (folder / "db").mkdir(parents=True)
        (folder / "tasks" / TASK).mkdir(parents=True)
        (folder / "manifest.yaml").write_text(yaml.safe_dump(self.manifest, sort_keys=False))
        (folder / "tasks" / TASK / "manifest.yaml").write_text(yaml.safe_dump(self.task, sort_keys=False))
        for name, table in self.tables.items():
            pq.write_table(table, folder / "db" / f"{name}.parquet")
        for split, table in self.labels.items():
            pq.write_table(table, folder / "tasks" / TASK / f"{split}.parquet")
        return folder


def stamps(seconds: np.ndarray, unit: str = "us") -> pa.Array:
    """Seconds as timestamps of a unit."""
    factor = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[unit]
    return pa.array(np.asarray(seconds, dtype=np.int64) * factor).cast(pa.timestamp(unit))


def good_draft() -> Draft:
    """Users, items and ten weeks of events; labels as the SQL makes them."""
    rng = np.random.default_rng(0)
    user, item = rng.integers(0, NUM_USERS, NUM_EVENTS), rng.integers(0, NUM_ITEMS, NUM_EVENTS)
    time = START + np.sort(rng.integers(0, NUM_WEEKS * WEEK, NUM_EVENTS))
    time[-1] = START + NUM_WEEKS * WEEK + DAY
    tables = {
        "users": pa.table({"user_id": np.arange(NUM_USERS), "country": ["be", "nl", "fr"] * 4,
                           "age": rng.normal(40, 9, NUM_USERS)}),
        "items": pa.table({"item_id": np.arange(NUM_ITEMS),
                           "title": [f"item {i}" for i in range(NUM_ITEMS)]}),
        "events": pa.table({"user_id": user, "item_id": item, "price": rng.random(NUM_EVENTS),
                            "time": stamps(time)}),
    }
    return Draft(
        tables=tables,
        manifest={
            "name": "small", "val_timestamp": str(np.datetime64(VAL, "s")).replace("T", " "),
            "test_timestamp": str(np.datetime64(TEST, "s")).replace("T", " "),
            "tables": {
                "users": {"pkey": "user_id", "time_col": None, "fkeys": {}},
                "items": {"pkey": "item_id", "time_col": None, "fkeys": {}},
                "events": {"pkey": None, "time_col": "time",
                           "fkeys": {"user_id": "users", "item_id": "items"}},
            },
        },
        task={
            "name": TASK, "kind": "forecast", "task_type": "recommendation", "time_col": "timestamp",
            "src_entity_table": "users", "src_entity_col": "user_id",
            "dst_entity_table": "items", "dst_entity_col": "item_id",
            "eval_k": 5, "timedelta": "7 days", "sql": SQL,
        },
        labels={split: label_table(label_rows(time, user, item, seeds)) for split, seeds in (
            ("train", range(VAL - WEEK, START - 1, -WEEK)), ("val", [VAL]), ("test", [TEST]))},
    )


def label_rows(time, user, item, seeds) -> list[tuple[int, int, list[int]]]:
    """(seed time, user, items) by brute force."""
    rows = []
    for seed in seeds:
        inside = (time > seed) & (time <= seed + WEEK)
        for one in np.unique(user[inside]):
            rows.append((seed, int(one), np.unique(item[inside & (user == one)]).tolist()))
    return sorted(rows)


def label_table(rows: list[tuple[int, int, list[int]]], unit: str = "us") -> pa.Table:
    return pa.table({
        "timestamp": stamps(np.asarray([row[0] for row in rows], dtype=np.int64), unit),
        "user_id": pa.array([row[1] for row in rows], pa.int64()),
        "item_id": pa.array([row[2] for row in rows], pa.list_(pa.int64())),
    })
