"""To and from PyG's HeteroData, so that a PyG user can look at and bring graphs."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch_geometric.data import HeteroData

from model_core.errors import DataError
from model_core.graph.adjacency import time_sorted_adjacency
from model_core.graph.temporal_graph import (
    UNTIMED,
    Adjacency,
    Interactions,
    Relation,
    TableColumns,
    TemporalGraph,
)
from model_core.tables.routes import routes_from_json, routes_to_json

_GRAPH_KEYS = ("entity_table", "item_table", "hops", "cutoff", "last_time")
_NAMES = ("category_sizes", "number_names", "category_names", "text_names")


def to_hetero_data(graph: TemporalGraph[Any]) -> HeteroData:
    """A graph as HeteroData.

    Node stores hold ``num_nodes``, ``time`` (int64 s), ``number``, ``category``, ``text``,
    and ``twin`` where it is known; edge stores ``edge_index`` (source, destination) and
    ``time``, sorted by (destination, time, source). Interactions are ``data["interactions"]``, int64
    [3, m], with ``data["interactions_target"]``, bool [m], where not all are of the labels' kind.

    Args:
        graph: With numpy arrays or torch tensors. CPU memory is shared, not copied.
    """
    graph = graph.to_torch() if isinstance(graph.interactions.time, np.ndarray) else graph
    data = HeteroData()
    for table, num_nodes in graph.num_nodes.items():
        store, columns = data[table], graph.columns[table]
        store.num_nodes = num_nodes
        store.time = graph.node_time[table]
        store.number, store.category, store.text = columns.number, columns.category, columns.text
        if columns.twin is not None:
            store.twin = columns.twin
        for name in _NAMES:
            store[name] = getattr(columns, name)
    for relation, edges in graph.adjacency.items():
        store = data[tuple(relation)]
        dst = torch.arange(len(edges.indptr) - 1, device=edges.indptr.device)
        dst = dst.repeat_interleave(edges.indptr.diff())
        store.edge_index = torch.stack([edges.neighbor, dst])
        store.time = edges.time
    events = graph.interactions
    data.interactions = torch.stack([events.entity, events.item, events.time])
    if events.target is not None:
        data.interactions_target = events.target
    data.routes = routes_to_json(graph.routes, graph.target_routes)
    for key in _GRAPH_KEYS:
        data[key] = getattr(graph, key)
    return data


def from_hetero_data(
    data: HeteroData,
    *,
    entity_table: str | None = None,
    item_table: str | None = None,
    cutoff: int | None = None,
    last_time: int | None = None,
) -> TemporalGraph[np.ndarray]:
    """HeteroData as a graph with numpy arrays (``to_torch`` puts it on a device).

    Reads what ``to_hetero_data`` writes, and also the common layout of others: ``x`` is
    taken for ``number`` where that is absent, and a node type without ``time`` is always
    visible. Both directions of a relation have to be present
    (``torch_geometric.transforms.ToUndirected`` adds them).

    Args:
        data: The graph.
        entity_table, item_table: Node types of seeds and ranked items; stored ones if unset.
        cutoff, last_time: In seconds; stored ones if unset, else the last node time.

    Raises:
        DataError: A node type is missing or the items cannot be reached.
    """
    entity_table = _node_type(data, "entity_table", entity_table)
    item_table = _node_type(data, "item_table", item_table)
    node_time = {table: _node_time(data, table) for table in data.node_types}
    latest = max((int(time.max()) for time in node_time.values() if len(time)), default=UNTIMED)
    adjacency: dict[Relation, Adjacency[np.ndarray]] = {}
    for relation in (Relation(*edge_type) for edge_type in data.edge_types):
        src, dst = _numpy(data[tuple(relation)].edge_index)
        adjacency[relation] = time_sorted_adjacency(
            src, dst, node_time[relation.src], len(node_time[relation.dst]))
    events = _numpy(data["interactions"]) if "interactions" in data else np.zeros((3, 0), np.int64)
    # What is stored of routes holds for the ends that are stored.
    is_known = (entity_table, item_table) == tuple(
        _stored(data, key, None) for key in ("entity_table", "item_table"))
    routes, target_routes = routes_from_json(_stored(data, "routes", []) if is_known else [])
    entity, item, time = (np.ascontiguousarray(row) for row in events)
    target = _numpy(data["interactions_target"]) if "interactions_target" in data else None
    last_time = last_time if last_time is not None else _stored(data, "last_time", latest)
    return TemporalGraph(
        num_nodes={table: len(time) for table, time in node_time.items()},
        node_time=node_time,
        adjacency=adjacency,
        columns={table: _columns(data[table], len(node_time[table])) for table in data.node_types},
        interactions=Interactions(entity, item, time, target),
        entity_table=entity_table,
        item_table=item_table,
        hops=(_stored(data, "hops", None) if is_known else None) or _fewest_hops(
            tuple(adjacency), entity_table, item_table),
        cutoff=cutoff if cutoff is not None else _stored(data, "cutoff", last_time),
        last_time=last_time, routes=routes, target_routes=target_routes,
    )


def _numpy(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().cpu().numpy()


def _stored(data: HeteroData, key: str, default: Any) -> Any:
    return data[key] if key in data else default  # noqa: SIM401 - HeteroData has no get


def _node_type(data: HeteroData, key: str, name: str | None) -> str:
    name = name if name is not None else _stored(data, key, None)
    if name not in data.node_types:
        raise DataError(f"HeteroData, {key}", f"one of its node types {data.node_types}",
                        repr(name), f"pass {key}")
    return name


def _node_time(data: HeteroData, table: str) -> np.ndarray:
    if "time" in data[table]:
        return _numpy(data[table].time).astype(np.int64, copy=False)
    return np.full(data[table].num_nodes, UNTIMED)


def _columns(store: Any, num_nodes: int) -> TableColumns[np.ndarray]:
    """Features of one node type; absent ones have width 0, absent names are made up."""
    parts: dict[str, Any] = {}
    for name, dtype in (("number", np.float32), ("category", np.int64), ("text", np.float32)):
        value = store.get(name, store.get("x") if name == "number" else None)
        empty = np.zeros((num_nodes, 0), dtype)
        parts[name] = empty if value is None else _numpy(value).astype(dtype, copy=False)
    width = parts["category"].shape[1]
    made_up: dict[str, Any] = {
        "category_sizes": tuple((parts["category"].max(axis=0, initial=0) + 1).tolist()),
        "number_names": tuple(f"number_{i}" for i in range(parts["number"].shape[1])),
        "category_names": tuple(f"category_{i}" for i in range(width)),
        "text_names": ("text",) if parts["text"].shape[1] else (),
    }
    twin = _numpy(store.twin) if "twin" in store else None
    return TableColumns(**parts, twin=twin, **{name: tuple(store[name]) if name in store else made_up[name]
                                               for name in _NAMES})


def _fewest_hops(relations: tuple[Relation, ...], start: str, end: str) -> int:
    """Length of the shortest chain of relations along which ``end`` reaches ``start``."""
    reached, hops = {start}, 0
    while True:
        hops += 1
        # Messages flow src -> dst, so a neighbourhood grows from dst to src.
        grown = {relation.src for relation in relations if relation.dst in reached}
        if end in grown:
            return hops
        if grown <= reached:
            raise DataError(f"HeteroData, node types {start!r} and {end!r}",
                            "a chain of edge types between them", "none",
                            "add the missing edge types, in both directions")
        reached |= grown
