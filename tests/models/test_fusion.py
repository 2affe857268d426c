"""Fusion of tower and pair scores: alone with made-up scores, and inside the model."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model_core.models.contextgnn.fusion import PairScores, replace_or_add, two_level
from tests.models.graphs import NOW, batch_of, catalogue, retail_graph, small_model

USERS, TIMES = [0, 3, 3, 7, 11], [NOW, NOW // 2, NOW, NOW, 10]


@st.composite
def problems(draw):
    """Tower scores [B, C] and two kinds of pairs, which may be empty or name everything."""
    rows, columns = draw(st.integers(1, 3)), draw(st.integers(1, 4))
    places = [(row, column) for row in range(rows) for column in range(columns)]
    generator = torch.Generator().manual_seed(draw(st.integers(0, 1_000)))
    kinds = []
    for _ in range(2):
        chosen = draw(st.lists(st.sampled_from(places), unique=True))
        place = torch.tensor(chosen, dtype=torch.int64).reshape(-1, 2)
        kinds.append(PairScores(place[:, 0], place[:, 1], torch.randn(len(place), generator=generator)))
    return torch.randn(rows, columns, generator=generator), tuple(kinds), generator


def named(kind):
    return {(r, c): s for r, c, s in zip(*(part.tolist() for part in (kind.seed, kind.item, kind.score)),
                                         strict=True)}


@settings(max_examples=60, deadline=None)
@given(problems(), st.booleans())
def test_replaced_or_added(problem, replace):
    tower, kinds, _ = problem
    expected = tower.clone()
    for (row, column), score in named(kinds[0]).items():
        expected[row, column] = score + (0 if replace else expected[row, column])
    for (row, column), score in named(kinds[1]).items():
        expected[row, column] += score
    torch.testing.assert_close(replace_or_add(tower, kinds, replace), expected)


@settings(max_examples=100, deadline=None)
@given(problems(), st.sampled_from([0.0, 1.0, 30.0]))
def test_two_levels_by_definition(problem, shift):
    """A group's share times the softmax within it; a row without near items has one group."""
    tower, kinds, generator = problem
    bias = torch.randn(tower.shape[1], generator=generator)
    gate = torch.randn(len(tower), 1, generator=generator)
    parts = [part.requires_grad_() for part in (tower, bias, gate, *(kind.score for kind in kinds))]
    found = two_level(tower, kinds, bias, gate, shift).scores
    locals_, priors = map(named, kinds)
    for row in range(len(tower)):
        near, far = {}, {}
        for column in range(tower.shape[1]):
            place = row, column
            if place in locals_ or place in priors:
                near[column] = math.exp(
                    locals_.get(place, 0.0) + priors.get(place, 0.0) + bias[column].item())
            else:
                far[column] = math.exp(tower[place].item())
        share = torch.sigmoid(gate[row, 0]).item() if near else 0.0
        lost = math.exp(-shift) if near else 1.0
        for group, part in ((near, share), (far, (1 - share) * lost)):
            for column, weight in group.items():
                assert found[row, column].item() == pytest.approx(
                    math.log(part * weight / sum(group.values())), rel=1e-4, abs=1e-4)
    found.sum().backward()
    assert all(part.grad is None or part.grad.isfinite().all() for part in parts)


@settings(max_examples=60, deadline=None)
@given(problems(), st.integers(2, 3), st.booleans())
def test_what_several_networks_say_and_its_mean(problem, num_networks, some_absent):
    tower, (local, prior), generator = problem
    gate, bias = (torch.randn(shape, generator=generator) for shape in ((len(tower), 1), tower.shape[1:]))
    score = torch.randn(len(prior.item), num_networks, generator=generator)
    absent = torch.rand(tower.shape, generator=generator) < 0.3 if some_absent else None

    def fused(scores):
        kinds = local, PairScores(prior.seed, prior.item, scores)
        return two_level(tower, kinds, bias, gate, absent=absent)

    together, alone = fused(score), [fused(one) for one in score.unbind(1)]
    torch.testing.assert_close(together.scores, torch.stack([one.scores for one in alone]).mean(0))
    assert all(one.apart is None for one in alone)
    apart = together.apart
    places = torch.cat([kind.seed * tower.shape[1] + kind.item for kind in (local, prior)])
    assert torch.equal(apart.place, places)
    assert torch.equal(apart.seed, places // tower.shape[1])
    assert torch.equal(apart.times, (places[:, None] == places).sum(1))
    for number, one in enumerate(alone):
        whole = together.scores.flatten().clone()
        whole[apart.place] = whole[apart.place] + apart.delta[:, number]
        torch.testing.assert_close(whole.reshape(tower.shape), one.scores, rtol=1e-4, atol=1e-5)


def test_a_group_without_items_gives_no_gradient_to_its_scores():
    tower = torch.zeros(2, 2, requires_grad=True)
    pair = torch.zeros(2, requires_grad=True)
    kind = PairScores(torch.tensor([0, 0]), torch.tensor([0, 1]), pair)  # row 0: all near; row 1: none
    gate = torch.zeros(2, 1, requires_grad=True)
    loss = two_level(tower, (kind,), torch.zeros(2), gate).scores[:, 0].sum()
    loss.backward()
    assert tower.grad.tolist() == [[0.0, 0.0], [0.5, -0.5]]
    assert pair.grad.tolist() == [0.5, -0.5]
    assert gate.grad.tolist() == [[0.5], [0.0]]


@pytest.mark.parametrize("fusion", ["add", "replace"])
def test_pair_scores_reach_their_places_and_no_others(fusion):
    graph = retail_graph()
    model = small_model(graph, fusion=fusion)
    batch = batch_of(graph, USERS, TIMES)
    with torch.no_grad():
        vectors, readout = catalogue(model, graph), model.read_out(batch)
        scores, tower = model(batch, vectors), model.tower_scores(readout, vectors)
    local, prior = readout.pairs
    in_local, in_prior = (near(tower, kind) for kind in readout.pairs)
    # (seed, item) pairs are unique, and there are places of all four kinds.
    assert len(local.item) == in_local.sum()
    assert len(prior.item) == in_prior.sum()
    for one, other in ((in_local, in_prior), (in_prior, ~in_local), (in_local, ~in_prior),
                       (~in_local, ~in_prior)):
        assert (one & other).any()
    expected = tower.clone()
    expected[local.seed, local.item] = local.score
    if fusion == "add":
        expected[local.seed, local.item] += tower[local.seed, local.item]
    expected[prior.seed, prior.item] += prior.score
    torch.testing.assert_close(scores, expected)
    untouched = ~in_local & ~in_prior
    assert torch.equal(scores[untouched], tower[untouched])
    assert not torch.isclose(scores[~untouched], tower[~untouched]).any()


def near(scores, *kinds):
    """bool [B, C]: where any of the kinds of pairs names an item."""
    mask = torch.zeros_like(scores, dtype=torch.bool)
    for kind in kinds:
        mask[kind.seed, kind.item] = True
    return mask


def test_two_levels_are_one_distribution_that_the_gate_divides():
    graph = retail_graph()
    model = small_model(graph)
    model.far_shift.zero_()
    batch = batch_of(graph, [*USERS, 5], [*TIMES, -1])
    with torch.no_grad():
        vectors, readout = catalogue(model, graph), model.read_out(batch)
        probability = model(batch, vectors).exp()
    is_near = near(probability, *readout.pairs)
    torch.testing.assert_close(probability.sum(1), torch.ones(6))
    some = is_near.any(1)
    assert some.sum() >= 3
    share = torch.where(is_near, probability, 0).sum(1)
    torch.testing.assert_close(share, torch.where(some, torch.sigmoid(readout.gate[:, 0]), 0.0))
    assert not some[5]  # no past: nothing is near, and the tower has it all
    tower = readout.query[5] @ vectors[:, : readout.query.shape[1]].t()
    torch.testing.assert_close(probability[5], torch.softmax(tower, 0))


def test_the_shift_lowers_far_items_of_users_with_near_ones_outside_training():
    graph = retail_graph()
    model = small_model(graph, dropout=0.0, prior_networks=1)
    batch, vectors = batch_of(graph, [*USERS, 5], [*TIMES, -1]), catalogue(model, graph).detach()
    with torch.no_grad():
        scores = {}
        for shift in (0.0, 3.0, 30.0):
            model.far_shift.fill_(shift)
            scores[shift] = model(batch, vectors)
            model.train()
            torch.testing.assert_close(
                model(batch, vectors, torch.Generator()), scores[0.0])  # there is no dropout
            model.eval()
        is_near = near(scores[0.0], *model.read_out(batch).pairs)
    far = ~is_near & is_near.any(1, keepdim=True)
    for shift in (3.0, 30.0):
        lowered = torch.where(far, scores[0.0] - shift, scores[0.0])
        torch.testing.assert_close(scores[shift], lowered)
    some = is_near.any(1) & far.any(1)
    assert some.sum() >= 3
    assert (scores[30.0].masked_fill(far, torch.inf).amin(1) > scores[30.0].masked_fill(
        ~far, -torch.inf).amax(1))[some].all()
    assert "far_shift" in model.state_dict()


@pytest.mark.parametrize(("name", "config"), [
    ("contextgnn", {"fusion": "add"}), ("contextgnn", {"fusion": "replace"}),
    ("contextgnn", {"fusion": "add", "use_priors": False}),
    ("contextgnn", {"fusion": "add", "use_tower": False}),
    ("contextgnn", {"fusion": "replace", "item_bias": False}),
    ("contextgnn", {"fusion": "replace", "use_pair": False}), ("two_tower", {}),
])
def test_class_scores_are_columns_of_the_catalogue(name, config):
    graph = retail_graph()
    model = small_model(graph, name, **config)
    batch = batch_of(graph, USERS, TIMES)
    columns = graph.to_torch().columns["items"]
    with torch.no_grad():
        whole = model(batch, catalogue(model, graph))
        for classes in ([14, 2, 9, 0, 5], list(range(15))[::-1], [3]):
            classes = torch.tensor(classes)
            vectors, readout = model.item_vectors(columns, rows=classes), model.read_out(batch)
            some = model.class_scores(readout, vectors, classes)
            torch.testing.assert_close(some, whole[:, classes])
            log_q = -torch.arange(1.0, len(classes) + 1)
            torch.testing.assert_close(
                model.class_scores(readout, vectors, classes, log_q), some - log_q)


@pytest.mark.parametrize("config", [{}, {"use_priors": False}, {"use_pair": False}, {"use_tower": False},
                                    {"item_bias": False}])
def test_class_scores_of_two_levels(config):
    """All items: the columns. Some: the same within a group, whose share the gate gives."""
    graph = retail_graph()
    model = small_model(graph, **config)
    model.far_shift.zero_()
    batch = batch_of(graph, USERS, TIMES)
    columns = graph.to_torch().columns["items"]
    with torch.no_grad():
        whole, readout = model(batch, catalogue(model, graph)), model.read_out(batch)
        is_near = near(whole, *readout.pairs)
        for classes in (torch.arange(14, -1, -1), torch.tensor([14, 2, 9, 0, 5, 7])):
            vectors = model.item_vectors(columns, rows=classes)
            some = model.class_scores(readout, vectors, classes)
            if len(classes) == 15:
                torch.testing.assert_close(some, whole[:, classes])
            weighted = model.class_scores(
                readout, vectors, classes, torch.full((len(classes),), -0.5))
            torch.testing.assert_close(weighted, some)  # the same for all cancels within a group
            both = 0
            for row in range(5):
                groups = [is_near[row, classes], ~is_near[row, classes]]
                both += all(group.any() for group in groups)
                share = torch.sigmoid(readout.gate[row, 0])
                for group, part in zip(groups, (share, 1 - share), strict=True):
                    if group.any():
                        difference = some[row, group] - whole[row, classes[group]]
                        torch.testing.assert_close(difference, difference[:1].expand_as(difference))
                        if groups[0].any():
                            torch.testing.assert_close(some[row, group].exp().sum(), part)
            assert both >= 2


def test_a_column_that_stands_for_many_counts_so_often_in_its_group():
    """exp(-log_q) copies of an item, one of which is looked at."""
    graph = retail_graph()
    model = small_model(graph)
    model.far_shift.zero_()
    batch, columns = batch_of(graph, USERS, TIMES), graph.to_torch().columns["items"]
    classes = torch.arange(15)
    log_q = -torch.log(torch.tensor([1.0, 3.0, 2.0]).repeat(5))
    with torch.no_grad():
        readout, vectors = model.read_out(batch), model.item_vectors(columns, rows=classes)
        plain = model.class_scores(readout, vectors, classes)
        weighted = model.class_scores(readout, vectors, classes, log_q)
    is_near = near(plain, *readout.pairs)
    for row in range(5):
        for group in (is_near[row], ~is_near[row]):
            total = plain[row, group].exp().sum()
            copies = (plain[row, group].exp() * (-log_q[group]).exp())
            torch.testing.assert_close(weighted[row, group].exp(), total * copies / copies.sum())


def test_items_that_do_not_exist_get_no_gradient_and_no_share():
    tower = torch.zeros(1, 6, requires_grad=True)
    score = torch.zeros(3, requires_grad=True)
    pairs = (PairScores(torch.zeros(3, dtype=torch.int64), torch.tensor([0, 1, 2]), score),)
    absent = torch.tensor([[False, False, True, False, False, True]])
    found = two_level(tower, pairs, torch.zeros(6), torch.zeros(1, 1), absent=absent).scores
    assert found[~absent].exp().sum().item() == pytest.approx(1.0, abs=1e-6)
    (found[0, 0] + found[0, 3]).backward()
    assert tower.grad[0, [2, 5]].tolist() == [0.0, 0.0]
    assert score.grad[2].item() == 0.0


def test_bfloat16_scores_still_sum_to_one():
    torch.manual_seed(0)
    tower = torch.randn(3, 500).to(torch.bfloat16)
    pairs = (PairScores(torch.tensor([0, 1]), torch.tensor([3, 4]), torch.randn(2)),)
    found = two_level(tower, pairs, torch.zeros(500), torch.randn(3, 1).to(torch.bfloat16)).scores
    torch.testing.assert_close(found.exp().sum(dim=1), torch.ones(3), atol=1e-5, rtol=0)
