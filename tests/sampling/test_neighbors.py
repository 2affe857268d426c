"""The vectorised sampler is the reference, only faster."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model_core.errors import ConfigError
from model_core.graph.temporal_graph import Relation
from model_core.sampling import neighbors
from model_core.sampling.neighbors import fan_out_for, sample
from model_core.sampling.reference import ReferenceSubgraph, reference_sample, replay
from tests.factories import Rows, make_graph, make_shop
from tests.sampling.random_graphs import batches

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(
    not torch.cuda.is_available(), reason="no CUDA device"))]


def tensors(*arrays, device="cpu"):
    return [torch.from_numpy(np.asarray(array, dtype=np.int64)).to(device) for array in arrays]


def line_shop(num_events: int):
    """One user, an event per second and per item."""
    return make_shop([(0, i, i) for i in range(num_events)], 1, num_events)


EVENTS_OF_USER = Relation("events", "events.user_id", "users")


@pytest.mark.parametrize("device", DEVICES)
@settings(max_examples=200, deadline=None)
@given(batch=batches())
def test_last_equals_reference(batch, device):
    graph, seeds, seed_time, fan_out = batch
    found = sample(graph.to_torch(device), *tensors(seeds, seed_time, device=device), fan_out)
    assert ReferenceSubgraph.of(found) == reference_sample(graph, seeds, seed_time, fan_out)


@pytest.mark.parametrize("device", DEVICES)
@settings(max_examples=150, deadline=None)
@given(batch=batches(), key=st.integers(0, 2**31))
def test_uniform_is_a_legal_draw(batch, key, device):
    graph, seeds, seed_time, fan_out = batch
    generator = torch.Generator().manual_seed(key)
    found = sample(graph.to_torch(device), *tensors(seeds, seed_time, device=device), fan_out,
                   strategy="uniform", generator=generator)
    assert ReferenceSubgraph.of(found) == replay(graph, seeds, seed_time, fan_out, found)


@settings(max_examples=150, deadline=None)
@given(batch=batches(), strategy=st.sampled_from(["last", "uniform"]))
def test_no_row_is_later_than_its_seed(batch, strategy):
    graph, seeds, seed_time, fan_out = batch
    found = sample(graph.to_torch(), *tensors(seeds, seed_time), fan_out, strategy=strategy)
    for table, node in found.node.items():
        skip = len(seeds) if table == found.seed_table else 0  # the root is always kept
        row, seed = node[skip:].numpy(), found.seed[table][skip:].numpy()
        assert (graph.node_time[table][row] <= seed_time[seed]).all()
    assert found.node["users"][: len(seeds)].tolist() == seeds.tolist()


@settings(max_examples=60, deadline=None)
@given(batch=batches(), strategy=st.sampled_from(["last", "uniform"]))
def test_rows_after_the_bound_change_nothing(batch, strategy):
    """The future may hold anything: cutting it off gives the same subgraph."""
    graph, seeds, seed_time, fan_out = batch
    bound = int(seed_time.max(initial=-3))
    late = {
        relation: adjacency.time > bound for relation, adjacency in graph.adjacency.items()
    }
    from dataclasses import replace

    cut = {}
    for relation, adjacency in graph.adjacency.items():
        keep = ~late[relation]
        kept_before = np.concatenate([[0], np.cumsum(keep)])
        cut[relation] = replace(adjacency, indptr=kept_before[adjacency.indptr],
                                neighbor=adjacency.neighbor[keep], time=adjacency.time[keep])
    past = replace(graph, adjacency=cut)
    pair = [sample(g.to_torch(), *tensors(seeds, seed_time), fan_out, strategy=strategy,
                   generator=torch.Generator().manual_seed(3)) for g in (graph, past)]
    assert ReferenceSubgraph.of(pair[0]) == ReferenceSubgraph.of(pair[1])


def test_last_takes_the_newest_and_breaks_ties_by_row():
    graph = make_graph(
        {"users": Rows(1), "items": Rows(5),
         "events": Rows(5, np.array([3, 1, 3, 2, 9]), {
             "user_id": ("users", np.zeros(5)), "item_id": ("items", np.arange(5))})},
        "users", "items")
    for bound, expected in [(0, []), (1, [1]), (2, [1, 3]), (3, [0, 2]), (8, [0, 2]), (9, [2, 4])]:
        found = sample(graph.to_torch(), *tensors([0], [bound]), [2])
        assert found.node["events"].tolist() == expected, bound
        assert found.edge[EVENTS_OF_USER][1].tolist() == [0] * len(expected)


def test_repeated_seed_has_two_disjoint_subgraphs():
    found = sample(line_shop(4).to_torch(), *tensors([0, 0], [1, 3]), [8, 8])
    assert found.node["users"].tolist() == [0, 0]
    assert found.seed["events"].tolist() == [0, 0, 1, 1, 1, 1]
    assert found.num_nodes_per_hop["items"] == (0, 0, 6)


def test_self_relation_makes_edges_to_existing_nodes():
    """0 manages 1 and 2; 1 and 2 report back to 0 without adding a node."""
    graph = make_graph(
        {"users": Rows(3, None, {"manager": ("users", np.array([-1, 0, 0]))}),
         "items": Rows(1),
         "events": Rows(1, np.array([0]), {"u": ("users", np.array([0])), "i": ("items", np.array([0]))})},
        "users", "items")
    found = sample(graph.to_torch(), *tensors([0], [5]), [4, 4, 4])
    assert found.num_nodes_per_hop["users"] == (1, 2, 0, 0)
    reports = Relation("users", "users.manager", "users")
    managers = Relation("users", "rev_users.manager", "users")
    assert [x.tolist() for x in found.edge[reports]] == [[1, 2], [0, 0]]
    assert [x.tolist() for x in found.edge[managers]] == [[0, 0], [1, 2]]
    assert found.num_edges_per_hop[managers] == (0, 2, 0)


def test_a_root_born_after_its_seed_time_is_kept_but_not_reached_again():
    graph = make_graph(
        {"users": Rows(1, np.array([7])), "items": Rows(1),
         "events": Rows(1, np.array([1]), {"u": ("users", np.array([0])), "i": ("items", np.array([0]))})},
        "users", "items")
    found = sample(graph.to_torch(), *tensors([0], [3]), [4, 4])
    assert found.node["users"].tolist() == [0]
    assert len(found.edge[Relation("users", "rev_events.u", "events")][0]) == 0


@pytest.mark.parametrize(("n", "k"), [(5, 1), (5, 2), (5, 3), (5, 4), (30, 7), (30, 29)])
def test_uniform_gives_every_neighbour_the_same_chance(n, k):
    """Chi-square on how often each neighbour and each pair of neighbours is drawn."""
    graph, num_seeds = line_shop(n), 3_000
    found = sample(graph.to_torch(), *tensors(np.zeros(num_seeds), np.full(num_seeds, n)), [k],
                   strategy="uniform", generator=torch.Generator().manual_seed(0))
    drawn = np.zeros((num_seeds, n), dtype=bool)
    drawn[found.seed["events"].numpy(), found.node["events"].numpy()] = True
    assert (drawn.sum(1) == k).all()
    assert len(found.node["events"]) == num_seeds * k
    p = k / n
    z = (drawn.sum(0) - num_seeds * p) / np.sqrt(num_seeds * p * (1 - p))
    assert np.abs(z).max() < 4.5
    if k > 1:
        pairs = (drawn.T.astype(float) @ drawn)[np.triu_indices(n, 1)]
        p = k * (k - 1) / (n * (n - 1))
        z = (pairs - num_seeds * p) / np.sqrt(num_seeds * p * (1 - p))
        assert np.abs(z).max() < 4.8


def test_uniform_is_deterministic_under_its_generator():
    graph = line_shop(40).to_torch()

    def draw(key):
        return ReferenceSubgraph.of(sample(graph, *tensors([0, 0, 0], [30, 40, 40]), [5, 5],
                                           strategy="uniform",
                                           generator=torch.Generator().manual_seed(key)))

    assert draw(1) == draw(1)
    assert draw(1) != draw(2)


def test_global_generator_is_left_alone():
    before = torch.get_rng_state()
    sample(line_shop(40).to_torch(), *tensors([0], [40]), [5], strategy="uniform")
    assert torch.equal(before, torch.get_rng_state())


def test_empty_batch_and_no_hops():
    graph = line_shop(3).to_torch()
    found = sample(graph, *tensors([], []), [4, 4])
    assert found.num_seeds == 0
    assert found.num_nodes_per_hop["events"] == (0, 0, 0)
    found = sample(graph, *tensors([0], [1]), [])
    assert found.node["users"].tolist() == [0]
    assert found.num_edges_per_hop[EVENTS_OF_USER] == ()
    assert found.num_nodes_per_hop == {"users": (1,), "items": (0,), "events": (0,)}


def test_mapped_read_only_arrays_are_not_written(tmp_path):
    graph = line_shop(9)
    for relation, adjacency in graph.adjacency.items():
        for array in (adjacency.indptr, adjacency.neighbor, adjacency.time):
            array.flags.writeable = False
        assert not adjacency.time.flags.writeable, relation
    for strategy in ("last", "uniform"):
        assert len(sample(graph.to_torch(), *tensors([0], [5]), [2], strategy=strategy).node["events"]) == 2


def test_errors_name_the_setting():
    graph = line_shop(3).to_torch()
    with pytest.raises(ConfigError, match="'last' or 'uniform'"):
        sample(graph, *tensors([0], [1]), [2], strategy="newest")
    with pytest.raises(ConfigError, match="non-negative"):
        sample(graph, *tensors([0], [1]), [2, -1])
    from dataclasses import replace

    huge = replace(graph, num_nodes={**graph.num_nodes, "events": 2**62})
    with pytest.raises(ConfigError, match=r"lower train\.batch_size"):
        sample(huge, *tensors([0, 0], [1, 1]), [2])


def test_fan_out_halves_until_the_mean_subgraph_fits():
    """A user with n events in n items: 1 + 2 n nodes at depth 2."""
    graph = line_shop(64).to_torch()
    probe = tensors(np.zeros(1000), np.full(1000, 64))
    assert fan_out_for(graph, 2, 64, 129, *probe) == ((64, 32), 129.0)
    assert fan_out_for(graph, 2, 64, 128, *probe) == ((32, 16), 65.0)
    assert fan_out_for(graph, 2, 64, 9, *probe) == ((4, 2), 9.0)
    assert fan_out_for(graph, 3, 64, 1, *probe) == ((1, 1, 1), 3.0)  # nothing smaller exists
    assert fan_out_for(graph, 2, 100, 129, *probe) == ((100, 50), 129.0)
    assert fan_out_for(graph, 2, 64, 1, *tensors([], [])) == ((64, 32), 0.0)


def test_fan_out_probe_is_the_sampler_s_mean():
    rng = np.random.default_rng(0)
    graph = make_shop([(int(rng.integers(9)), int(rng.integers(7)), int(t)) for t in range(200)], 9, 7)
    seeds, times = tensors(rng.integers(0, 9, 50), rng.integers(0, 200, 50))
    fan_out, mean_nodes = fan_out_for(graph.to_torch(), 3, 32, 60, seeds, times)
    found = sample(graph.to_torch(), seeds, times, fan_out)
    assert mean_nodes == sum(len(node) for node in found.node.values()) / 50 <= 60
    wider = [k * 2 for k in fan_out]
    found = sample(graph.to_torch(), seeds, times, wider)
    assert sum(len(node) for node in found.node.values()) / 50 > 60


@pytest.mark.parametrize("probe_edges", [1, 300, 10**6])
def test_fan_out_probe_does_not_depend_on_its_chunks(monkeypatch, probe_edges):
    """Also when a chunk is cut off for its edges though its seeds are affordable."""
    graph = line_shop(64).to_torch()
    probe = tensors(np.zeros(300), np.arange(300) % 64)
    monkeypatch.setattr(neighbors, "PROBE_EDGES", probe_edges)
    monkeypatch.setattr(neighbors, "MAX_PROBE_EDGES", 512)  # of four seeds at time 63: 2 * 4 * 64
    mean_nodes = np.mean([1 + 2 * (t % 64 + 1) for t in range(0, 300, 2)])
    assert fan_out_for(graph, 2, 64, 10**6, *probe) == ((64, 32), mean_nodes)
    assert fan_out_for(graph, 2, 64, 60, *probe)[0] == (32, 16)
    monkeypatch.setattr(neighbors, "MAX_PROBE_EDGES", 50)
    assert fan_out_for(graph, 2, 64, 10**6, *probe)[0] == (4, 2)
