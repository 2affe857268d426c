"""Small Snapshot records written straight from data frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from model_core.records import write_record
from model_core.tables.snapshot import KIND, SCHEMA_VERSION, Snapshot

DAY = 86_400


@dataclass
class Frame:
    """One table. ``kinds`` overrides what the dtype says; hidden columns stay in the file."""

    frame: pd.DataFrame
    pkey: str | None = None
    time_col: str | None = None
    fkeys: Mapping[str, str] = field(default_factory=dict)
    hidden: tuple[str, ...] = ()

    def kind(self, column: str) -> str:
        if column in (self.pkey, self.time_col):
            return "pkey" if column == self.pkey else "time"
        if column in self.fkeys:
            return "fkey"
        dtype = self.frame[column].dtype
        if pd.api.types.is_bool_dtype(dtype) or str(dtype) == "boolean":
            return "boolean"
        if pd.api.types.is_numeric_dtype(dtype):
            return "number"
        return "datetime" if pd.api.types.is_datetime64_any_dtype(dtype) else "string"

    def arrow(self) -> pa.Table:
        columns = {}
        for name in self.frame.columns:
            values = self.frame[name]
            kind = self.kind(name)
            if kind in ("pkey", "fkey"):
                filled = values.astype("Int64")
                columns[name] = pa.array(filled.where(filled >= 0), pa.int64())
            elif kind in ("time", "datetime"):
                columns[name] = pa.array(values.astype("datetime64[us]"), pa.timestamp("us"))
            elif kind == "string":
                columns[name] = pa.array(values, pa.string())
            else:
                columns[name] = pa.array(values, from_pandas=True)
        return pa.table(columns)


def seconds(values: Sequence[float]) -> pd.Series:
    """Times from UTC seconds."""
    micros = np.round(np.asarray(values, dtype=np.float64) * 1e6).astype(np.int64)
    return pd.Series(micros.view("datetime64[us]"))


def write_snapshot(
    folder: Path,
    tables: Mapping[str, Frame],
    *,
    val_time: int,
    test_time: int,
    window_s: int,
    entity: tuple[str, str] = ("users", "user_id"),
    item: tuple[str, str] = ("items", "item_id"),
    labels: Mapping[str, Sequence[tuple[int, int, Sequence[int | None]]]] | None = None,
    sql: str | None = None,
    eval_k: int = 10,
    as_of: int | None = None,
) -> Snapshot:
    """Write and open a Snapshot record. ``labels``: split to (time, entity, items) rows."""
    times = [np.asarray(table.frame[table.time_col].astype("datetime64[us]")).astype(np.int64) / 1e6
             for table in tables.values() if table.time_col and len(table.frame)]
    with write_record(folder, KIND, SCHEMA_VERSION) as (out, meta):
        (out / "db").mkdir()
        entries = []
        for name, table in tables.items():
            pq.write_table(table.arrow(), out / "db" / f"{name}.parquet")
            entries.append({
                "name": name, "pkey": table.pkey, "time_col": table.time_col,
                "fkeys": dict(table.fkeys), "num_rows": len(table.frame),
                "columns": {c: table.kind(c) for c in table.frame.columns if c not in table.hidden},
            })
        for split, rows in (labels or {}).items():
            (out / "labels").mkdir(exist_ok=True)
            pq.write_table(pa.table({
                "time": pa.array([row[0] for row in rows], pa.int64()),
                "entity": pa.array([row[1] for row in rows], pa.int64()),
                "items": pa.array([list(row[2]) for row in rows], pa.list_(pa.int64())),
            }), out / "labels" / f"{split}.parquet")
        meta.update(
            dataset="test", tables=entries, val_time=val_time, test_time=test_time, as_of=as_of,
            min_time=int(np.ceil(min(t.min() for t in times))),
            max_time=int(np.ceil(max(t.max() for t in times))), counts={},
            task={
                "name": "buy", "entity_table": entity[0], "entity_col": entity[1],
                "item_table": item[0], "item_col": item[1], "time_col": "timestamp",
                "window_s": window_s, "eval_k": eval_k, "sql": sql,
                "remove_columns": [[name, column] for name, table in tables.items()
                                   for column in table.hidden],
            },
        )
    return Snapshot.open(folder)
