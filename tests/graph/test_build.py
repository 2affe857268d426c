"""The graph record against the tables it was made from."""

import numpy as np
import pandas as pd
import pytest

from model_core.config import GraphConfig, SplitConfig
from model_core.errors import DataError
from model_core.graph.build import build_graph
from model_core.graph.schema import GraphSchema
from model_core.graph.temporal_graph import UNTIMED, Relation, TemporalGraph
from model_core.split.temporal import temporal_split
from model_core.tables.interactions import find_interactions
from tests.graph.snapshots import Frame, seconds, write_snapshot
from tests.graph.worlds import TEST_TIME, VAL_TIME, shop_snapshot


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("graph")
    snapshot = shop_snapshot(folder / "snapshot")
    split = temporal_split(snapshot, SplitConfig(), folder / "split")
    return snapshot, split, build_graph(snapshot, split, GraphConfig(), folder / "graph"), folder


def all_arrays(graph):
    for table in graph.num_nodes:
        columns = graph.columns[table]
        yield from (graph.node_time[table], columns.number, columns.category, columns.text)
    for edges in graph.adjacency.values():
        yield from (edges.indptr, edges.neighbor, edges.time)
    yield from (graph.interactions.entity, graph.interactions.item, graph.interactions.time)


def test_opening_reads_nothing(world):
    graph = TemporalGraph.open(world[3] / "graph", verify="digest")
    arrays = list(all_arrays(graph))
    assert len(arrays) == 4 * 4 + 6 * 3 + 3
    assert all(isinstance(array, np.memmap) for array in arrays)


def test_nodes_are_rows(world):
    snapshot, _, graph, _ = world
    assert graph.num_nodes == {name: table.num_rows for name, table in snapshot.tables.items()}
    assert (graph.node_time["orders"] == snapshot.times("orders")).all()
    assert (graph.node_time["users"] == UNTIMED).all()
    assert (graph.cutoff, graph.last_time) == (VAL_TIME, TEST_TIME)
    assert (graph.entity_table, graph.item_table, graph.hops) == ("users", "items", 3)


def test_edges_are_the_foreign_keys_of_visible_rows(world):
    snapshot, _, graph, _ = world
    assert len(graph.relations) == 6
    for table, schema in snapshot.tables.items():
        for column, target in schema.fkeys.items():
            fkey = snapshot.fkey(table, column)
            expected = {
                (row, key) for row, key in enumerate(fkey.tolist()) if key >= 0
                and graph.node_time[table][row] <= TEST_TIME
                and graph.node_time[target][key] <= TEST_TIME
            }
            assert expected
            for relation, swap in ((Relation(table, f"{table}.{column}", target), False),
                                   (Relation(target, f"rev_{table}.{column}", table), True)):
                edges = graph.adjacency[relation]
                dst = np.repeat(np.arange(graph.num_nodes[relation.dst]), np.diff(edges.indptr))
                found = list(zip(edges.neighbor.tolist(), dst.tolist(), strict=True))
                assert {pair[::-1] if swap else pair for pair in found} == expected
                assert len(found) == len(expected)
                assert (edges.time == graph.node_time[relation.src][edges.neighbor]).all()


def test_interactions_are_those_up_to_the_last_time(world):
    snapshot, _, graph, _ = world
    found = graph.interactions
    expected = find_interactions(snapshot, TEST_TIME)
    assert all((a == b).all() for a, b in
               zip((found.entity, found.item, found.time), expected, strict=True))
    assert found.time.max() <= TEST_TIME


def test_keys_times_and_hidden_columns_are_no_features(world):
    graph = world[2]
    names = {table: set(c.number_names + c.category_names + c.text_names)
             for table, c in graph.columns.items()}
    assert names == {
        "users": {"country", "born"}, "items": {"price", "fresh"},
        "orders": {"channel", "note", "discount", "discount:missing"}, "lines": {"quantity"},
    }


def test_rows_after_the_last_time_have_no_features(world):
    graph = world[2]
    for table in ("orders", "lines"):
        late = graph.node_time[table] > TEST_TIME
        assert late.any()
        columns = graph.columns[table]
        for array in (columns.number, columns.category, columns.text):
            assert not array[late].any()


def test_codes_fit_their_sizes_and_everything_is_finite(world):
    for columns in world[2].columns.values():
        assert np.isfinite(columns.number).all()
        assert np.isfinite(columns.text).all()
        for position, size in enumerate(columns.category_sizes):
            assert columns.category[:, position].min() >= 0
            assert columns.category[:, position].max() < size


def test_the_same_input_gives_the_same_bytes(world):
    snapshot, split, graph, folder = world
    again = build_graph(snapshot, split, GraphConfig(), folder / "again")
    assert again.record.digest == graph.record.digest


def test_the_schema_survives_json(world):
    schema = GraphSchema.of(world[2])
    assert GraphSchema.from_json(schema.to_json()) == schema
    assert schema.tables["orders"].timed
    assert not schema.tables["users"].timed


def test_counts_and_statistics_are_stored(world):
    snapshot, _, graph, _ = world
    counts = graph.record.meta["counts"]
    orders = snapshot.times("orders")
    assert counts["rows"]["orders"] == {
        "rows": len(orders), "fitted_on": int((orders <= VAL_TIME).sum()),
        "after_last_time": int((orders > TEST_TIME).sum()),
    }
    assert counts["edges"]["orders.user_id"] == len(
        graph.adjacency[Relation("orders", "orders.user_id", "users")].neighbor)
    kinds = {s["column"]: s["kind"] for s in graph.record.meta["statistics"]["orders"]}
    assert kinds == {"channel": "category", "note": "text", "discount": "number"}


def test_tables_without_features_or_edges_open(tmp_path):
    tables = {
        "users": Frame(pd.DataFrame({"user_id": [0, 1]}), "user_id"),
        "items": Frame(pd.DataFrame({"item_id": [0, 1]}), "item_id"),
        "events": Frame(pd.DataFrame({"user_id": [0, 1, 0], "item_id": [0, 1, 1],
                                      "at": seconds([10, 55, 80])}),
                        None, "at", {"user_id": "users", "item_id": "items"}),
        "notes": Frame(pd.DataFrame({"user_id": [-1, -1], "at": seconds([90, 91])}), None, "at",
                       {"user_id": "users"}),
    }
    labels = {"train": [(5, 0, [0])], "val": [(50, 1, [1])], "test": [(60, 0, [1])]}
    snapshot = write_snapshot(tmp_path / "s", tables, val_time=50, test_time=60, window_s=10,
                              labels=labels)
    split = temporal_split(snapshot, SplitConfig(), tmp_path / "split")
    graph = build_graph(snapshot, split, GraphConfig(), tmp_path / "graph")
    assert graph.columns["notes"].number.shape == (2, 0)
    assert len(graph.adjacency[Relation("notes", "notes.user_id", "users")].neighbor) == 0
    assert graph.to_torch().columns["users"].text.shape == (2, 0)


def test_relations_that_would_share_a_file_are_refused(tmp_path):
    tables = {
        "a": Frame(pd.DataFrame({"a_id": [0]}), "a_id"),
        "b": Frame(pd.DataFrame({"x.y": [0], "x_y": [0], "at": seconds([1])}), None, "at",
                   {"x.y": "a", "x_y": "a"}),
    }
    labels = {"train": [(0, 0, [0])], "val": [(50, 0, [0])], "test": [(60, 0, [0])]}
    snapshot = write_snapshot(tmp_path / "s", tables, val_time=50, test_time=60, window_s=10,
                              entity=("a", "a_id"), item=("b", "x_y"), labels=labels)
    split = temporal_split(snapshot, SplitConfig(), tmp_path / "split")
    with pytest.raises(DataError, match="same name 'b__b_x_y__a'"):
        build_graph(snapshot, split, GraphConfig(), tmp_path / "graph")
    assert not (tmp_path / "graph").exists()


def test_an_edge_to_a_row_that_comes_after_the_last_time_is_left_out(tmp_path):
    tables = {
        "users": Frame(pd.DataFrame({"user_id": [0]}), "user_id"),
        "items": Frame(pd.DataFrame({"item_id": [0, 1], "at": seconds([1, 61])}), "item_id", "at"),
        "events": Frame(pd.DataFrame({"user_id": [0, 0], "item_id": [0, 1], "at": seconds([40, 55])}),
                        None, "at", {"user_id": "users", "item_id": "items"}),
    }
    labels = {"train": [(5, 0, [0])], "val": [(50, 0, [0])], "test": [(60, 0, [0])]}
    snapshot = write_snapshot(tmp_path / "s", tables, val_time=50, test_time=60, window_s=10,
                              labels=labels)
    split = temporal_split(snapshot, SplitConfig(), tmp_path / "split")
    graph = build_graph(snapshot, split, GraphConfig(), tmp_path / "graph")
    of = graph.adjacency[Relation("events", "events.item_id", "items")]
    assert of.indptr.tolist() == [0, 1, 1]
    assert of.neighbor.tolist() == [0]
    assert graph.interactions.time.tolist() == [40]
