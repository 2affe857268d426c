"""Split: seed rows (entity, time, items) for training, validation and test."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from model_core.records import Record, open_record
from model_core.split.logical_time import KIND, SCHEMA_VERSION, logical_time_of
from model_core.tables.routes import Route, routes_from_json

__all__ = ["KIND", "SCHEMA_VERSION", "SeedTable", "Split"]


@dataclass(frozen=True)
class SeedTable:
    """Label rows: at ``time`` which items will ``entity`` link to within the window.

    Rows are sorted by (time, entity); a row's items are unique and ascending.

    Attributes:
        entity: int64 [n], row of the entity table.
        time: int64 [n], seed time t in UTC seconds.
        item_ptr: int64 [n + 1], offsets into ``item``.
        item: int64 [nnz], rows of the item table.
    """

    entity: np.ndarray
    time: np.ndarray
    item_ptr: np.ndarray
    item: np.ndarray

    def __len__(self) -> int:
        return len(self.entity)

    def items_of(self, row: int) -> np.ndarray:
        return self.item[self.item_ptr[row] : self.item_ptr[row + 1]]

    def take(self, rows: np.ndarray) -> SeedTable:
        """The given rows, in the given order."""
        counts = np.diff(self.item_ptr)[rows]
        item_ptr = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        flat = np.repeat(self.item_ptr[rows] - item_ptr[:-1], counts) + np.arange(item_ptr[-1])
        return SeedTable(self.entity[rows], self.time[rows], item_ptr, self.item[flat])

    @classmethod
    def joined(cls, earlier: SeedTable, later: SeedTable) -> SeedTable:
        """The rows of two tables, of which the second starts no earlier than the first ends."""
        assert not (len(earlier) and len(later)) or earlier.time[-1] <= later.time[0]
        return cls(
            np.concatenate([earlier.entity, later.entity]), np.concatenate([earlier.time, later.time]),
            np.concatenate([earlier.item_ptr, earlier.item_ptr[-1] + later.item_ptr[1:]]),
            np.concatenate([earlier.item, later.item]))

    @classmethod
    def read(cls, path: Path) -> SeedTable:
        table = pq.read_table(path).combine_chunks()
        items = table.column("items").combine_chunks()
        if isinstance(items, pa.ChunkedArray):
            items = items.chunk(0)
        return cls(
            entity=table.column("entity").to_numpy().astype(np.int64),
            time=table.column("time").to_numpy().astype(np.int64),
            item_ptr=items.offsets.to_numpy().astype(np.int64),
            item=items.values.to_numpy().astype(np.int64),
        )

    def write(self, path: Path) -> None:
        items = pa.LargeListArray.from_arrays(pa.array(self.item_ptr), pa.array(self.item))
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(
            pa.table({"time": pa.array(self.time), "entity": pa.array(self.entity), "items": items}),
            path,
        )


@dataclass(frozen=True)
class Split:
    """Opened split record.

    Payload: ``seeds/<split>.parquet``, ``certificate.json``, ``locality.json``.

    Attributes:
        record: The record it was opened from.
        dataset, task: Names, for people.
        train, val, test: Seed rows.
        entity_table, item_table: Names of the tables that ``entity`` and ``item`` index.
        num_entities, num_items: Their row counts.
        window_s: Δ in seconds; labels lie in (t, t+Δ].
        eval_k: The task's cut-off.
        val_time, test_time: Seed times of val and test.
        train_cutoff: Last moment training may know, labels included (= val_time).
        as_of: Logical date or None.
        label_source: ``"stored"`` or ``"sql"``.
        certificate: Leakage certificate (see split/leakage.py).
        locality: ``{split: {"s_1": ..., "s_2": ..., "s_3": ...}}``.
        routes: Along which foreign keys entities meet items (see split/label_routes.py).
        target_routes: Those of them that the labels speak of.
        counts: Rows dropped and why, e.g. ``{"train": {"duplicate_items": 0, ...}}``.
    """

    record: Record
    dataset: str
    task: str
    train: SeedTable
    val: SeedTable
    test: SeedTable
    entity_table: str
    item_table: str
    num_entities: int
    num_items: int
    window_s: int
    eval_k: int
    val_time: int
    test_time: int
    train_cutoff: int
    as_of: int | None
    label_source: str
    certificate: Mapping[str, Any]
    locality: Mapping[str, Mapping[str, float]]
    counts: Mapping[str, Any]
    routes: tuple[Route, ...]
    target_routes: tuple[Route, ...]

    META = (
        "dataset", "task", "entity_table", "item_table", "num_entities", "num_items", "window_s",
        "eval_k",
        "val_time", "test_time", "train_cutoff", "as_of", "label_source", "locality", "counts",
    )

    @property
    def logical_time(self) -> int:
        """The moment it stands for: ``as_of``, else the test seed time."""
        return logical_time_of(self.record.meta)

    @classmethod
    def open(cls, path: Path | str, verify: Literal["size", "digest"] = "size") -> Split:
        record = open_record(path, KIND, SCHEMA_VERSION, verify)
        train, val, test = (SeedTable.read(record.file(f"seeds/{name}.parquet"))
                            for name in ("train", "val", "test"))
        routes, target_routes = routes_from_json(record.meta["routes"])
        return cls(
            record=record, train=train, val=val, test=test,
            certificate=json.loads(record.file("certificate.json").read_bytes()),
            routes=routes, target_routes=target_routes,
            **{key: record.meta[key] for key in cls.META},
        )
