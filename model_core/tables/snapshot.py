"""Snapshot: validated tables of one dataset, frozen at one moment.

The first record of a run. Written by ``model_core.tables.relbench.ingest`` after
every check has passed; read by the split and the graph build.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from model_core.records import Record, open_record

KIND, SCHEMA_VERSION = "snapshot", 1
SPLITS = ("train", "val", "test")

ColumnKind = Literal["pkey", "fkey", "time", "number", "boolean", "string", "datetime"]


@dataclass(frozen=True)
class TableSchema:
    """One table.

    Attributes:
        name: Table name.
        pkey: Primary-key column (values are 0..n-1 in row order), or None.
        time_col: Event-time column, or None for a table without time.
        fkeys: Foreign-key column to the table it points into.
        columns: Column name to kind, by name.
        num_rows: Rows in this snapshot.
    """

    name: str
    pkey: str | None
    time_col: str | None
    fkeys: Mapping[str, str]
    columns: Mapping[str, ColumnKind]
    num_rows: int


@dataclass(frozen=True)
class TaskSpec:
    """A recommendation task: which ``item_table`` rows will an ``entity_table`` row link to.

    Attributes:
        name: Task name.
        entity_table, entity_col: Table of users and their column in label rows.
        item_table, item_col: Table of items and their (list) column in label rows.
        time_col: Seed-time column in label rows.
        window_s: Length Δ of the label window (t, t+Δ], in seconds.
        eval_k: Cut-off of the task's own metrics.
        sql: DuckDB query that makes labels, or None (then only stored labels serve).
        remove_columns: (table, column) pairs hidden from every model and baseline.
    """

    name: str
    entity_table: str
    entity_col: str
    item_table: str
    item_col: str
    time_col: str
    window_s: int
    eval_k: int
    sql: str | None
    remove_columns: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Snapshot:
    """Opened snapshot record.

    Payload: ``db/<table>.parquet`` (pkey int64; fkeys int64, null = missing; time and
    datetime columns timestamp[us] without zone, UTC; number columns int64/float64; strings),
    ``labels/<split>.parquet`` (time int64 s, entity int64, items list<int64>) where the
    dataset stores labels and ``as_of`` is unset, ``profile.json`` and ``profile.html``.

    Attributes:
        record: The record it was opened from.
        dataset: Dataset name.
        tables: Table name to schema.
        task: The task.
        val_time, test_time: Seed times of the evaluation windows, int64 UTC seconds.
        as_of: Logical date of the run in seconds, or None when the manifest's hold.
        min_time, max_time: First and last event time over all timed tables, seconds.
        counts: What was found and treated, e.g. ``{"invoices.customer_id": {"missing": 3}}``.
    """

    record: Record
    dataset: str
    tables: Mapping[str, TableSchema]
    task: TaskSpec
    val_time: int
    test_time: int
    as_of: int | None
    min_time: int
    max_time: int
    counts: Mapping[str, Any]

    @classmethod
    def open(cls, path: Path | str, verify: Literal["size", "digest"] = "size") -> Snapshot:
        record = open_record(path, KIND, SCHEMA_VERSION, verify)
        meta = record.meta
        task = dict(meta["task"])
        task["remove_columns"] = tuple(tuple(pair) for pair in task["remove_columns"])
        return cls(
            record=record,
            dataset=meta["dataset"],
            tables={entry["name"]: TableSchema(**entry) for entry in meta["tables"]},
            task=TaskSpec(**task),
            **{key: meta[key] for key in
               ("val_time", "test_time", "as_of", "min_time", "max_time", "counts")},
        )

    def table(self, name: str, columns: Sequence[str] | None = None) -> pa.Table:
        """Rows of a table in row order (memory-mapped)."""
        return pq.read_table(self.record.file(f"db/{name}.parquet"), columns=columns, memory_map=True)

    def times(self, name: str) -> np.ndarray | None:
        """Event times, int64 [num_rows] UTC seconds; None for a table without time.

        Rounded up: a row half a second after t must not count as ≤ t.
        """
        time_col = self.tables[name].time_col
        if time_col is None:
            return None
        return to_seconds(self.table(name, [time_col]).column(0))

    def fkey(self, name: str, column: str) -> np.ndarray:
        """Foreign-key values, int64 [num_rows]; -1 where missing."""
        values = self.table(name, [column]).column(0)
        return np.asarray(pc.fill_null(values, -1).combine_chunks().to_numpy(zero_copy_only=False),
                          dtype=np.int64)

    def source_keys(self, name: str) -> np.ndarray:
        """Primary key of every row in the source, int64 [num_rows].

        It is the row number, unless cutting at ``as_of`` renumbered the table.
        """
        file = f"former_rows/{name}.parquet"
        if file in self.record.files:
            return pq.read_table(self.record.file(file)).column("row").to_numpy().astype(np.int64)
        return np.arange(self.tables[name].num_rows, dtype=np.int64)

    def has_labels(self) -> bool:
        """Whether the dataset stores labels that hold for this snapshot."""
        return "labels/test.parquet" in self.record.files


def to_seconds(values: pa.ChunkedArray) -> np.ndarray:
    """timestamp[us] column to int64 UTC seconds, rounded up. Nulls are not allowed here."""
    micros = values.cast(pa.timestamp("us")).cast(pa.int64()).combine_chunks().to_numpy()
    return -((-micros) // 1_000_000)
