"""TemporalGraph: tables as a typed graph whose edges are sorted by time.

Rows are nodes; every foreign key gives two relations, one in each direction. All
arrays are memory-mapped numpy files, so opening takes milliseconds and serving code
needs no torch; ``to_torch`` puts the same structure on a device.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Literal, NamedTuple, TypeVar

import numpy as np

from model_core.records import Record, open_record
from model_core.tables.routes import Route, routes_from_json

if TYPE_CHECKING:
    import torch

KIND, SCHEMA_VERSION = "graph", 3

#: Time of a row without time: before everything, so always visible.
UNTIMED = int(np.iinfo(np.int64).min)

#: Behind the name of a number column: its flag of missing values.
MISSING = ":missing"

ArrayT = TypeVar("ArrayT")


def to_numpy(array: Any) -> np.ndarray:
    """A numpy array as it is, or the values of a tensor on any device."""
    return array if isinstance(array, np.ndarray) else array.cpu().numpy()


class Relation(NamedTuple):
    """Messages flow from ``src`` rows to ``dst`` rows. ``name`` is ``<table>.<fkey>`` or its ``rev_``."""

    src: str
    name: str
    dst: str

    @property
    def key(self) -> str:
        """A string fit for file names, module names and ONNX inputs."""
        return "__".join(self).replace(".", "_")

    @property
    def parent_is_source(self) -> bool:
        """Whether messages flow from the referenced row to the rows that refer to it."""
        return not self.name.startswith(f"{self.src}.")


@dataclass(frozen=True)
class Adjacency(Generic[ArrayT]):
    """In-neighbours of every ``dst`` row, oldest first.

    Attributes:
        indptr: int64 [num_dst + 1].
        neighbor: int64 [num_edges], ``src`` rows, sorted within a dst row by (time, row).
        time: int64 [num_edges], time of the neighbour (UNTIMED if its table has none).
    """

    indptr: ArrayT
    neighbor: ArrayT
    time: ArrayT


@dataclass(frozen=True)
class TableColumns(Generic[ArrayT]):
    """Features of one table.

    Attributes:
        number: float32 [n, F]; standardised, missing imputed, flags of missingness included.
        category: int64 [n, C]; 0 = missing or unseen before the cutoff.
        text: float32 [n, T * D]; hashed bags of words, one block per text column.
        category_sizes: Size of every category vocabulary, the 0 included; length C.
        number_names, category_names, text_names: What the columns are.
        twin: int64 [n], the earliest row with the same features, so that equal rows are
            encoded once; None where nobody looked, and every row stands for itself.
    """

    number: ArrayT
    category: ArrayT
    text: ArrayT
    category_sizes: tuple[int, ...]
    number_names: tuple[str, ...]
    category_names: tuple[str, ...]
    text_names: tuple[str, ...]
    twin: ArrayT | None = None


@dataclass(frozen=True)
class Interactions(Generic[ArrayT]):
    """Distinct (entity, item, time) triples along the routes of the split, by time.

    ``time`` is when the last row of the route appeared; all ≤ the graph's last time.
    All int64 [m], sorted by (time, entity, item).

    Attributes:
        target: bool [m], which are of the kind that the labels speak of (the purchases of a shop that
            also has views); None where all are.
    """

    entity: ArrayT
    item: ArrayT
    time: ArrayT
    target: ArrayT | None = None

    def to_numpy(self) -> Interactions[np.ndarray]:
        """The same in numpy."""
        return Interactions(to_numpy(self.entity), to_numpy(self.item), to_numpy(self.time),
                            None if self.target is None else to_numpy(self.target))

    def targets(self: Interactions[np.ndarray]) -> Interactions[np.ndarray]:
        """Those of the kind that labels speak of, alone."""
        if self.target is None:
            return self
        return Interactions(*(np.asarray(part)[self.target] for part in (self.entity, self.item, self.time)))


@dataclass(frozen=True)
class TemporalGraph(Generic[ArrayT]):
    """A temporal heterogeneous graph (numpy arrays, or torch tensors after ``to_torch``).

    Attributes:
        num_nodes: Table name to row count.
        node_time: Table name to int64 [n]; UNTIMED throughout for tables without time.
        adjacency: Relation to in-neighbours.
        columns: Table name to features.
        interactions: Entity-item events, for popularity, seen masks and item-kNN.
        entity_table, item_table: Where seeds start and which rows are ranked.
        hops: Relations along the longest route between the two: the default depth of a model.
        cutoff: Statistics and vocabularies know only rows with time ≤ this (seconds).
        last_time: No row later than this is in the graph (the test seed time).
        routes: Along which foreign keys entities meet items; empty where nobody knows.
        target_routes: Those of them that labels speak of; empty where all do.
    """

    num_nodes: Mapping[str, int]
    node_time: Mapping[str, ArrayT]
    adjacency: Mapping[Relation, Adjacency[ArrayT]]
    columns: Mapping[str, TableColumns[ArrayT]]
    interactions: Interactions[ArrayT]
    entity_table: str
    item_table: str
    hops: int
    cutoff: int
    last_time: int
    record: Record | None = None
    routes: tuple[Route, ...] = ()
    target_routes: tuple[Route, ...] = ()

    @property
    def relations(self) -> tuple[Relation, ...]:
        return tuple(self.adjacency)

    @property
    def num_items(self) -> int:
        return self.num_nodes[self.item_table]

    @property
    def num_entities(self) -> int:
        return self.num_nodes[self.entity_table]

    def source_keys(self, table: str) -> np.ndarray:
        """Primary key in the source of every row of a table, int64 [n]."""
        file = f"nodes/{table}/key.npy"
        if self.record is None or file not in self.record.files:
            # A graph that was not built from a snapshot has no source but itself.
            return np.arange(self.num_nodes[table], dtype=np.int64)
        return np.load(self.record.file(file), allow_pickle=False)

    @classmethod
    def open(cls, path: Path | str, verify: Literal["size", "digest"] = "size") -> TemporalGraph[np.ndarray]:
        """Open a graph record; arrays stay on disk until they are touched."""
        record = open_record(path, KIND, SCHEMA_VERSION, verify)
        meta: Mapping[str, Any] = record.meta

        def load(name: str) -> np.ndarray:
            return np.load(record.file(f"{name}.npy"), mmap_mode="r", allow_pickle=False)

        def load_columns(table: str, names: Mapping[str, Any]) -> TableColumns[np.ndarray]:
            number, category, text = (load(f"nodes/{table}/{part}")
                                      for part in ("number", "category", "text"))
            twin = f"nodes/{table}/twin"
            return TableColumns(
                number, category, text, tuple(names["category_sizes"]), tuple(names["number_names"]),
                tuple(names["category_names"]), tuple(names["text_names"]),
                # Not there in graphs of an earlier release.
                load(twin) if f"{twin}.npy" in record.files else None,
            )

        relations = [Relation(*entry) for entry in meta["relations"]]
        routes, target_routes = routes_from_json(meta["routes"])
        return TemporalGraph(
            num_nodes=dict(meta["num_nodes"]),
            node_time={table: load(f"nodes/{table}/time") for table in meta["num_nodes"]},
            adjacency={
                relation: Adjacency(*(load(f"edges/{relation.key}/{part}")
                                      for part in ("indptr", "neighbor", "time")))
                for relation in relations
            },
            columns={table: load_columns(table, names) for table, names in meta["columns"].items()},
            interactions=Interactions(
                load("interactions/entity"), load("interactions/item"), load("interactions/time"),
                load("interactions/target") if "interactions/target.npy" in record.files else None),
            **{key: meta[key] for key in ("entity_table", "item_table", "hops", "cutoff", "last_time")},
            record=record, routes=routes, target_routes=target_routes,
        )

    def to_torch(self, device: str | torch.device = "cpu") -> TemporalGraph[torch.Tensor]:
        """The same graph as tensors on a device (on the CPU they share the mapped memory)."""
        import warnings

        import torch

        def move(array: Any) -> torch.Tensor:
            with warnings.catch_warnings():  # mapped arrays are read-only; we never write to them
                warnings.simplefilter("ignore", UserWarning)
                return torch.from_numpy(np.asarray(array)).to(device)

        events = self.interactions
        return TemporalGraph(
            num_nodes=self.num_nodes,
            node_time={table: move(time) for table, time in self.node_time.items()},
            adjacency={
                relation: Adjacency(move(a.indptr), move(a.neighbor), move(a.time))
                for relation, a in self.adjacency.items()
            },
            columns={
                table: TableColumns(move(c.number), move(c.category), move(c.text), c.category_sizes,
                                    c.number_names, c.category_names, c.text_names,
                                    None if c.twin is None else move(c.twin))
                for table, c in self.columns.items()
            },
            interactions=Interactions(
                move(events.entity), move(events.item), move(events.time),
                None if events.target is None else move(events.target)),
            entity_table=self.entity_table, item_table=self.item_table, hops=self.hops,
            cutoff=self.cutoff, last_time=self.last_time, record=self.record,
            routes=self.routes, target_routes=self.target_routes,
        )
