"""Shared node states give what separate ones give, gradients included."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from model_core.models.contextgnn.aggregate import aggregate_sum, gather_sum, gather_sum_by
from model_core.models.contextgnn.rows import SharedRows
from model_core.models.contextgnn.states import NodeStates
from tests.models.graphs import NOW, batch_of, catalogue, retail_graph, small_model


def drawn_terms(dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    return [(SharedRows(torch.randn(rows, 3, generator=generator, dtype=dtype)),
             torch.randint(-1, rows, (11,), generator=generator)) for rows in (4, 1, 7)]


def slow_sum(terms):
    padded = [(torch.cat([s.rows, torch.zeros_like(s.rows[:1])]), index) for s, index in terms]
    return sum(rows[torch.where(index < 0, len(rows) - 1, index)] for rows, index in padded)


@pytest.mark.parametrize("num_terms", [1, 2, 3])
def test_gather_sum_is_a_sum_of_gathers(num_terms):
    terms, bias = drawn_terms()[:num_terms], torch.tensor([1.0, -2.0, 0.5])
    assert any((index < 0).any() for _, index in terms)
    torch.testing.assert_close(gather_sum(terms), slow_sum(terms))
    torch.testing.assert_close(gather_sum(terms, bias), slow_sum(terms) + bias)


@pytest.mark.parametrize("num_terms", [1, 3])
def test_gradients_of_gather_sum(num_terms):
    terms = drawn_terms(torch.float64)[:num_terms]
    index = [i for _, i in terms]
    rows = [shared.rows.requires_grad_() for shared, _ in terms]
    assert torch.autograd.gradcheck(
        lambda *r: gather_sum([(SharedRows(x), i) for x, i in zip(r, index, strict=True)]), rows)


def test_no_nodes_and_no_rows():
    none = torch.zeros(0, dtype=torch.int64)
    empty, two = SharedRows(torch.zeros(0, 3)), SharedRows(torch.ones(2, 3))
    assert gather_sum([(empty, none)]).shape == (0, 3)
    assert gather_sum([(two, none), (empty, none)]).shape == (0, 3)
    assert (gather_sum([(empty, torch.full((2,), -1))]) == 0).all()


@pytest.mark.parametrize("target", [[0, 0, 2, 2, 2], [3, 0, 2, 0, 3], []])
def test_gather_sum_by_target(target):
    """In order or not, with targets that nobody sends to, the last one among them."""
    terms, node = drawn_terms(), torch.tensor([10, 3, 3, 0, 7])[: len(target)]
    index = torch.tensor(target, dtype=torch.int64)
    torch.testing.assert_close(gather_sum_by(terms, node, index, 5),
                               aggregate_sum(slow_sum(terms)[node], index, 5))


@pytest.mark.parametrize("shared", [True, False])
def test_states_can_be_cut_picked_and_mapped(shared):
    terms = drawn_terms()
    states = NodeStates(tuple(terms)) if shared else NodeStates(own=slow_sum(terms))
    dense, weight = slow_sum(terms), torch.randn(5, 3)
    node = torch.tensor([3, -1, 10, 3])
    expected = torch.where((node < 0)[:, None], 0.0, dense[node])
    assert (states.size, states.leading(4).size) == (11, 4)
    torch.testing.assert_close(states.leading(4).dense, dense[:4])
    torch.testing.assert_close(states.picked(node).dense, expected)
    torch.testing.assert_close(gather_sum(states.picked(node).mapped(weight)), expected @ weight.t())


def test_inner_nodes_come_before_those_that_share_rows():
    inner, leaf = torch.randn(2, 3), SharedRows(torch.randn(3, 3))
    leaf_of = torch.tensor([-1, -1, 2, 0, 2])
    states = NodeStates.with_leaves(inner, leaf, leaf_of)
    dense = torch.cat([inner, leaf.rows[[2, 0, 2]]])
    torch.testing.assert_close(states.dense, dense)
    for size in (1, 2, 4):
        torch.testing.assert_close(states.leading(size).dense, dense[:size])
    assert states.leading(2).own is not None  # no gather for nodes that have rows of their own
    alone = NodeStates.with_leaves(inner[:0], leaf, leaf_of[2:])
    torch.testing.assert_close(alone.dense, dense[2:])
    assert len(alone.terms) == 1


@pytest.mark.parametrize("size", [10_000, 22, 21, 1])
def test_few_senders_are_the_same_senders(size):
    states = NodeStates(tuple(drawn_terms()))
    few = states.few(size)
    assert (few.own is not None) == (size >= 22)
    torch.testing.assert_close(few.dense, states.dense)


@pytest.mark.parametrize("lasting", [True, False])
def test_shared_rows_remember_only_what_lasts(lasting):
    rows, weight, other = torch.randn(4, 3), torch.randn(5, 3), torch.randn(5, 3)
    root, norm = torch.nn.Linear(3, 6), torch.nn.LayerNorm(6)
    shared = SharedRows(rows, lasting=lasting)
    for _ in range(2):
        torch.testing.assert_close(shared.mapped(weight).rows, rows @ weight.t())
        torch.testing.assert_close(shared.mapped(other).rows, rows @ other.t())
        torch.testing.assert_close(shared.updated(root, norm).rows, torch.relu(norm(root(rows))))
    assert (shared.mapped(weight) is shared.mapped(weight)) == lasting
    assert (shared.updated(root, norm) is shared.updated(root, norm)) == lasting


@pytest.mark.parametrize("num_layers", [2, 3, 4])
def test_shared_and_separate_states_train_alike(num_layers):
    """Scores and every gradient, with what nodes share and without."""
    graph = retail_graph()
    model = small_model(graph, num_layers=num_layers).train()
    model.encoder.eval()  # no dropout
    batch = batch_of(graph, [0, 3, 3, 7], [NOW, NOW // 2, NOW, NOW], num_layers)
    assert batch.parent
    assert batch.shared_age
    separate = dataclasses.replace(
        batch, parent={}, shared_age={}, num_nodes_per_hop={}, num_edges_per_hop={})
    gradients = []
    for given in (batch, separate):
        model.zero_grad()
        scores = model(given, catalogue(model, graph), torch.Generator().manual_seed(0))
        (scores * torch.linspace(-1, 1, scores.numel()).view_as(scores)).sum().backward()
        gradients.append({name: p.grad.clone() for name, p in model.named_parameters()
                          if p.grad is not None})
    assert gradients[0].keys() == gradients[1].keys()
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradient, gradients[1][name], rtol=1e-3, atol=1e-4, msg=name)


def test_relations_that_are_no_foreign_keys_are_summed_edge_by_edge():
    graph = retail_graph()
    model = small_model(graph, num_layers=2)
    batch = batch_of(graph, [0, 3], [NOW, NOW], 2)
    relation = next(r for r in batch.parent if r.dst == "views" and r.src == "items")
    src, dst = batch.edge[relation]
    # Every view shows a second item: the view now refers to two rows.
    other = src.roll(1)
    edge = {**batch.edge, relation: (torch.cat([src, other]), torch.cat([dst, dst]))}
    parent = {r: p for r, p in batch.parent.items() if r != relation}
    plain = dataclasses.replace(batch, edge=edge, parent=parent, num_nodes_per_hop={},
                                num_edges_per_hop={})
    bare = dataclasses.replace(plain, parent={})
    with torch.no_grad():
        vectors = catalogue(model, graph)
        torch.testing.assert_close(model(plain, vectors), model(bare, vectors), rtol=1e-4, atol=1e-5)
        assert not torch.allclose(model(plain, vectors), model(batch, vectors), atol=1e-4)


def test_few_rows_get_several_dropout_masks():
    graph = retail_graph()
    model = small_model(graph, dropout=0.5).train()
    seen = {}
    for name, encoder in model.encoder.items():
        encoder.register_forward_hook(
            lambda module, inputs, output, name=name: seen.__setitem__(name, len(inputs[0])))
    batch = batch_of(graph, [1] * 6, [NOW] * 6)
    model(batch, catalogue(model, graph), torch.Generator().manual_seed(0))
    rows, nodes = len(batch.number["items"]), len(batch.item)
    assert seen["table_items"] == rows * (nodes // rows) > rows


def test_aggregate_sum_of_nothing():
    assert (aggregate_sum(torch.zeros(0, 2), torch.zeros(0, dtype=torch.int64), 3) == 0).all()
