"""A batch holds each distinct row once and every node's age at its seed time."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings

from model_core.graph.temporal_graph import UNTIMED
from model_core.sampling.batches import make_batch
from model_core.sampling.neighbors import sample
from tests.factories import DAY, Rows, make_graph
from tests.sampling.random_graphs import batches


def test_rows_are_shared_between_seeds_and_ages_are_not():
    graph = make_graph(
        {"users": Rows(2), "items": Rows(2, number=np.array([[5.0], [6.0]])),
         "events": Rows(3, np.array([0, DAY, 2 * DAY]), {
             "u": ("users", np.array([0, 0, 1])), "i": ("items", np.array([1, 1, 0]))},
             category=np.array([[3], [1], [2]]))},
        "users", "items").to_torch()
    seeds, times = torch.tensor([0, 0, 1]), torch.tensor([DAY, 3 * DAY, 2 * DAY + DAY // 2])
    batch = make_batch(graph, sample(graph, seeds, times, [4, 4]))
    assert batch.num_seeds == 3
    assert batch.category["events"].tolist() == [[3], [1], [2]]
    assert batch.row_of["events"].tolist() == [0, 1, 0, 1, 2]
    assert batch.seed["events"].tolist() == [0, 0, 1, 1, 2]
    assert batch.age_days["events"].tolist() == [1.0, 0.0, 3.0, 2.0, 0.5]
    assert batch.item.tolist() == [1, 1, 0]
    assert batch.number["items"][batch.row_of["items"]].squeeze(1).tolist() == [6.0, 6.0, 5.0]
    assert batch.age_days["items"].tolist() == [0.0, 0.0, 0.0]  # untimed
    assert batch.age_days["users"].dtype == torch.float32


def test_a_seed_that_is_not_born_yet_has_no_features():
    graph = make_graph(
        {"users": Rows(2, np.array([5 * DAY, DAY]), number=np.array([[5.0], [6.0]])),
         "items": Rows(1),
         "events": Rows(1, np.array([DAY]), {"u": ("users", np.array([0])), "i": ("items", np.array([0]))})},
        "users", "items").to_torch()
    seeds, times = torch.tensor([0, 0, 1]), torch.tensor([2 * DAY, 6 * DAY, 2 * DAY])
    batch = make_batch(graph, sample(graph, seeds, times, [4, 4]))
    gathered = batch.number["users"][batch.row_of["users"]].squeeze(1)
    assert gathered[:3].tolist() == [0.0, 5.0, 6.0]
    assert batch.age_days["users"][:3].tolist() == [0.0, 1.0, 1.0]


@settings(max_examples=80, deadline=None)
@given(batch=batches())
def test_gathered_rows_are_the_nodes_rows(batch):
    graph, seeds, seed_time, fan_out = batch
    tensors = graph.to_torch()
    subgraph = sample(tensors, torch.from_numpy(seeds), torch.from_numpy(seed_time), fan_out)
    made = make_batch(tensors, subgraph)
    for table, node in subgraph.node.items():
        columns = graph.columns[table]
        row, bound = node.numpy(), seed_time[subgraph.seed[table].numpy()]
        time = graph.node_time[table][row]
        known = (time <= bound)[:, None]  # false for seeds that are not born yet alone
        num_rows = len(np.unique(row)) + int(not known.all())
        assert len(made.number[table]) == num_rows
        assert (made.number[table][made.row_of[table]].numpy() == columns.number[row] * known).all()
        assert (made.category[table][made.row_of[table]].numpy() == columns.category[row] * known).all()
        assert made.text[table].shape == (num_rows, 0)
        age = np.where((time == UNTIMED) | ~known[:, 0], 0, (bound - time) / DAY)
        assert np.array_equal(made.age_days[table].numpy(), age.astype(np.float32))
        assert (made.age_days[table] >= 0).all()
    assert torch.equal(made.item, subgraph.node["items"])
