"""build_graph: a snapshot's tables as a time-sorted graph with column tensors."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from model_core.config import GraphConfig
from model_core.errors import DataError
from model_core.graph.adjacency import time_sorted_adjacency
from model_core.graph.columns import encode_table
from model_core.graph.temporal_graph import (
    KIND,
    SCHEMA_VERSION,
    UNTIMED,
    Adjacency,
    Relation,
    TemporalGraph,
)
from model_core.graph.twins import twin_rows
from model_core.records import json_bytes, write_record
from model_core.split.seeds import Split
from model_core.tables.interactions import find_interactions
from model_core.tables.routes import routes_to_json
from model_core.tables.snapshot import Snapshot
from model_core.tables.triples import TripleFinder, union


def build_graph(snapshot: Snapshot, split: Split, config: GraphConfig, out: Path) -> TemporalGraph:
    """Turn tables into a typed graph: rows are nodes, foreign keys are edges.

    Every row stays a node, so that node ids are row ids. But nothing that happened after
    ``split.test_time`` gets in: later rows keep their time alone, all their features are
    0 and they have no edges. Statistics and vocabularies know only rows up to
    ``split.train_cutoff``. Tables without time cannot be cut; the leakage certificate
    names them.

    Tables are read column by column, one table after the other, so that memory is
    bounded by the largest of them.

    Args:
        snapshot: Validated tables.
        split: Its times bound what the graph and its statistics may know.
        config: How columns become tensors.
        out: Where the record is written (replaced if it is there).

    Returns:
        The graph, opened (memory-mapped numpy arrays).

    Raises:
        DataError: Two relations would share one file name.
    """
    task, last_time = snapshot.task, split.test_time
    fkeys = {name: table.fkeys for name, table in snapshot.tables.items()}
    hops = max(map(len, split.routes))
    relations = _relations(fkeys)
    times = {name: _node_time(snapshot, name) for name in snapshot.tables}

    with write_record(out, KIND, SCHEMA_VERSION) as (folder, meta):
        columns, statistics, vocabularies, rows = {}, {}, {}, {}
        for name, time in times.items():
            nodes = folder / "nodes" / name
            nodes.mkdir(parents=True)
            np.save(nodes / "time.npy", time)
            fit, visible = time <= split.train_cutoff, time <= last_time
            encoded = encode_table(snapshot, name, fit, visible, split.train_cutoff, config, nodes)
            np.save(nodes / "key.npy", snapshot.source_keys(name))
            if name != task.item_table:  # an item is more than its columns: it may learn a vector
                features = [np.load(nodes / f"{part}.npy", mmap_mode="r", allow_pickle=False)
                            for part in ("number", "category", "text")]
                np.save(nodes / "twin.npy", twin_rows(features, time))
            columns[name] = encoded.entry
            statistics[name], vocabularies[name] = encoded.statistics, encoded.vocabularies
            rows[name] = {"rows": len(time), "fitted_on": int(fit.sum()),
                          "after_last_time": int((~visible).sum())}
        edges: dict[str, int] = {}
        for forward, backward in relations:
            holder, column = forward.src, forward.name.removeprefix(f"{forward.src}.")
            fkey = snapshot.fkey(holder, column)
            edges |= _write_edges(folder, forward, backward, fkey, times, last_time)
        met = _interactions(snapshot, split, last_time)
        _write_arrays(folder / "interactions", met.items())
        (folder / "vocabularies.json").write_bytes(json_bytes(vocabularies))
        meta.update(
            relations=[list(relation) for pair in relations for relation in pair],
            num_nodes={name: len(time) for name, time in times.items()},
            columns=columns, statistics=statistics, counts={"rows": rows, "edges": edges},
            entity_table=task.entity_table, item_table=task.item_table, hops=hops,
            routes=routes_to_json(split.routes, split.target_routes if "target" in met else ()),
            cutoff=split.train_cutoff, last_time=last_time, logical_time=split.logical_time,
        )
    return TemporalGraph.open(out)


def _interactions(snapshot: Snapshot, split: Split, last_time: int) -> dict[str, np.ndarray]:
    """Events along the split's routes, and which are of the kind that labels speak of, unless all are."""
    target = find_interactions(snapshot, last_time, split.target_routes)
    others = [route for route in split.routes if route not in split.target_routes]
    found = union([target, find_interactions(snapshot, last_time, others)]) if others else target
    arrays = dict(zip(("entity", "item", "time"), found, strict=True))
    if len(target[0]) < len(found[0]):
        arrays["target"] = TripleFinder(target)(found) >= 0
    return arrays


def _node_time(snapshot: Snapshot, table: str) -> np.ndarray:
    time = snapshot.times(table)
    return np.full(snapshot.tables[table].num_rows, UNTIMED) if time is None else time


def _relations(fkeys: Mapping[str, Mapping[str, str]]) -> list[tuple[Relation, Relation]]:
    """Both relations of every foreign key, in a stable order."""
    pairs = []
    for table, keys in fkeys.items():
        for column, target in keys.items():
            name = f"{table}.{column}"
            pairs.append((Relation(table, name, target), Relation(target, f"rev_{name}", table)))
    owner: dict[str, Relation] = {}
    for relation in (relation for pair in pairs for relation in pair):
        other = owner.setdefault(relation.key, relation)
        if other != relation:
            raise DataError(
                f"foreign keys {other.name!r} and {relation.name!r}",
                "names that differ in more than dots and underscores",
                f"the same name {relation.key!r}", "rename one of them",
            )
    return pairs


def _write_edges(
    folder: Path,
    forward: Relation,
    backward: Relation,
    fkey: np.ndarray,
    times: Mapping[str, np.ndarray],
    last_time: int,
) -> dict[str, int]:
    """Both directions of one foreign key, among rows with time <= last_time."""
    holder, target = times[forward.src], times[forward.dst]
    here = np.flatnonzero((fkey >= 0) & (holder <= last_time))
    here = here[target[fkey[here]] <= last_time]
    there = fkey[here]
    for relation, src, dst in ((forward, here, there), (backward, there, here)):
        adjacency = time_sorted_adjacency(src, dst, times[relation.src], len(times[relation.dst]))
        _write_arrays(folder / "edges" / relation.key, _parts(adjacency))
    return {forward.name: len(here)}


def _parts(adjacency: Adjacency[np.ndarray]) -> list[tuple[str, np.ndarray]]:
    return [(part, getattr(adjacency, part)) for part in ("indptr", "neighbor", "time")]


def _write_arrays(folder: Path, arrays: Any) -> None:
    folder.mkdir(parents=True)
    for name, array in arrays:
        np.save(folder / f"{name}.npy", array)
