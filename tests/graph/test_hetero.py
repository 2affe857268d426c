"""To PyG and back."""

import dataclasses

import numpy as np
import pytest
import torch
from torch_geometric.data import HeteroData
from torch_geometric.transforms import ToUndirected

from model_core.config import GraphConfig, SplitConfig
from model_core.errors import DataError
from model_core.graph.build import build_graph
from model_core.graph.hetero import from_hetero_data, to_hetero_data
from model_core.graph.temporal_graph import UNTIMED, Relation, TemporalGraph
from model_core.split.temporal import temporal_split
from tests.factories import with_targets
from tests.graph.worlds import shop_snapshot


@pytest.fixture(scope="module")
def graph(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hetero")
    snapshot = shop_snapshot(folder / "snapshot")
    split = temporal_split(snapshot, SplitConfig(), folder / "split")
    return build_graph(snapshot, split, GraphConfig(), folder / "graph")


def assert_equal(a, b):
    if dataclasses.is_dataclass(a):
        for field in dataclasses.fields(a):
            if field.name != "record":
                assert_equal(getattr(a, field.name), getattr(b, field.name))
    elif isinstance(a, dict):
        assert list(a) == list(b)
        for key in a:
            assert_equal(a[key], b[key])
    elif isinstance(a, np.ndarray):
        assert a.dtype == b.dtype
        assert np.array_equal(a, b)
    else:
        assert a == b


@pytest.mark.parametrize("as_tensors", [False, True])
def test_round_trip(graph: TemporalGraph, as_tensors):
    data = to_hetero_data(graph.to_torch() if as_tensors else graph)
    assert data.validate()
    assert_equal(graph, from_hetero_data(data))


def test_round_trip_of_targets(graph: TemporalGraph):
    some = with_targets(graph, np.arange(len(graph.interactions.time)) % 2 == 0)
    data = to_hetero_data(some.to_torch())
    assert data.validate()
    assert_equal(some, from_hetero_data(data))


def test_depth_and_routes_survive_where_the_shortest_route_is_not_all(graph):
    deeper = dataclasses.replace(graph, hops=graph.hops + 2, routes=graph.routes[:1], target_routes=())
    data = to_hetero_data(deeper)
    assert_equal(deeper, from_hetero_data(data))
    other = from_hetero_data(data, entity_table="orders", item_table="items")
    assert other.hops < graph.hops
    assert other.routes == ()


def test_edges_point_from_source_to_destination(graph):
    data = to_hetero_data(graph)
    relation = Relation("orders", "orders.user_id", "users")
    edge_index = data[tuple(relation)].edge_index
    assert edge_index[0].max() < graph.num_nodes["orders"]
    assert edge_index[1].max() < graph.num_nodes["users"]
    assert edge_index.shape[1] == len(graph.adjacency[relation].neighbor)


def someones_data() -> HeteroData:
    data = HeteroData()
    data["users"].x = torch.ones(2, 3)
    data["items"].num_nodes = 3
    data["events"].x = torch.zeros(4, 1)
    data["events"].time = torch.tensor([4, 3, 2, 1])
    data["events", "by", "users"].edge_index = torch.tensor([[0, 1, 2, 3], [0, 0, 1, 0]])
    data["events", "of", "items"].edge_index = torch.tensor([[0, 1, 2, 3], [2, 2, 1, 0]])
    return ToUndirected()(data)


def test_a_graph_that_someone_brings():
    graph = from_hetero_data(someones_data(), entity_table="users", item_table="items", cutoff=3)
    assert (graph.hops, graph.num_entities, graph.num_items) == (2, 2, 3)
    assert (graph.cutoff, graph.last_time) == (3, 4)
    by = graph.adjacency[Relation("events", "by", "users")]
    assert by.neighbor[: by.indptr[1]].tolist() == [3, 1, 0]  # oldest first
    assert by.time[: by.indptr[1]].tolist() == [1, 3, 4]
    assert graph.columns["users"].number.shape == (2, 3)
    assert graph.columns["items"].category.shape == (3, 0)
    assert (graph.node_time["users"] == UNTIMED).all()
    assert_equal(graph, from_hetero_data(to_hetero_data(graph)))


def test_unknown_or_unreachable_node_types_are_errors():
    data = someones_data()
    with pytest.raises(DataError, match="entity_table"):
        from_hetero_data(data, item_table="items")
    data["shops"].num_nodes = 1
    with pytest.raises(DataError, match="chain of edge types"):
        from_hetero_data(data, entity_table="users", item_table="shops")
