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


@settings(max_examples=80, deadline=None)
@given(batch=batches())
def test_gathered_rows_are_the_nodes_rows(batch):
    graph, seeds, seed_time, fan_out = batch
    tensors = graph.to_torch()
    subgraph = sample(tensors, torch.from_numpy(seeds), torch.from_numpy(seed_time), fan_out)
    made = make_batch(tensors, subgraph)
    for table, node in subgraph.node.items():
        columns = graph.columns[table]
        row = node.numpy()
        assert len(made.number[table]) == len(np.unique(row))
        assert (made.number[table][made.row_of[table]].numpy() == columns.number[row]).all()
        assert (made.category[table][made.row_of[table]].numpy() == columns.category[row]).all()
        assert made.text[table].shape == (len(np.unique(row)), 0)
        time = graph.node_time[table][row]
        age = np.where(time == UNTIMED, 0, (seed_time[subgraph.seed[table].numpy()] - time) / DAY)
        assert np.array_equal(made.age_days[table].numpy(), age.astype(np.float32))
    assert torch.equal(made.item, subgraph.node["items"])
