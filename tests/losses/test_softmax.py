import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model_core.graph.temporal_graph import UNTIMED
from model_core.losses.softmax import softmax_loss, unborn
from model_core.models.contextgnn.fusion import PairScores, two_level
from model_core.negatives.classes import sample_classes
from tests.negatives.proposals import make_proposals


def slow_loss(scores, positives, masked, log_q):
    """Definition, one positive at a time, in Python floats."""
    total = 0.0
    for row, own in enumerate(positives):
        weights = []
        for column, score in enumerate(scores[row].tolist()):
            if column in own:
                weights.append(math.exp(score))
            elif not masked[row][column]:
                weights.append(math.exp(score - log_q[column]))
        total += sum(math.log(sum(weights)) - scores[row, column].item() for column in own)
    return total


def pairs(positives):
    row = [r for r, own in enumerate(positives) for _ in own]
    column = [c for own in positives for c in own]
    return torch.tensor(row, dtype=torch.int64), torch.tensor(column, dtype=torch.int64)


@st.composite
def problems(draw):
    rows, columns = draw(st.integers(1, 4)), draw(st.integers(1, 6))
    positives = [sorted(draw(st.sets(st.integers(0, columns - 1), min_size=1))) for _ in range(rows)]
    masked = [[draw(st.booleans()) for _ in range(columns)] for _ in range(rows)]
    log_q = [draw(st.floats(-5, 0)) for _ in range(columns)]
    scores = torch.randn(rows, columns, generator=torch.Generator().manual_seed(
        draw(st.integers(0, 1000)))) * 3
    return scores, positives, masked, log_q


@settings(max_examples=60, deadline=None)
@given(problems())
def test_equals_the_definition(problem):
    scores, positives, masked, log_q = problem
    loss = softmax_loss(scores, *pairs(positives), masked=torch.tensor(masked),
                        log_q=torch.tensor(log_q))
    assert loss.item() == pytest.approx(slow_loss(scores, positives, masked, log_q), rel=1e-4, abs=1e-4)


def test_by_hand():
    # Row 0: logits 0, ln 3, positive is the second: -ln(3/4). Row 1: two equal positives: 2 ln 2.
    scores = torch.tensor([[0.0, math.log(3.0)], [1.0, 1.0]])
    loss = softmax_loss(scores, torch.tensor([0, 1, 1]), torch.tensor([1, 0, 1]))
    assert loss.item() == pytest.approx(-math.log(3 / 4) + 2 * math.log(2))


def test_known_positives_are_no_negatives_where_they_do_not_compete():
    scores = torch.zeros(1, 4, requires_grad=True)
    row, column = torch.tensor([0, 0]), torch.tensor([1, 2])
    assert softmax_loss(scores, row, column).item() == pytest.approx(2 * math.log(4))
    loss = softmax_loss(scores, row, column, positives_compete=False)
    assert loss.item() == pytest.approx(2 * math.log(3))
    alone = torch.tensor([[False, True, True, False]])
    lone = softmax_loss(scores, row, column, masked=~alone, positives_compete=False)
    lone.backward()
    assert lone.item() == pytest.approx(0.0)
    assert torch.equal(scores.grad, torch.zeros(1, 4))


@settings(max_examples=60, deadline=None)
@given(problems(), st.booleans(), st.data())
def test_row_weights_weigh_the_losses_of_the_rows(problem, compete, data):
    scores, positives, masked, log_q = problem
    weight = [data.draw(st.floats(0, 5)) for _ in positives]
    kwargs = {"log_q": torch.tensor(log_q), "positives_compete": compete}
    expected = sum(
        w * softmax_loss(scores[r : r + 1], *pairs([own]), masked=torch.tensor(masked[r : r + 1]),
                         **kwargs).item()
        for r, (w, own) in enumerate(zip(weight, positives, strict=True)))
    if compete:  # and once more from the definition
        assert expected == pytest.approx(sum(
            w * slow_loss(scores[r : r + 1], [own], masked[r : r + 1], log_q)
            for r, (w, own) in enumerate(zip(weight, positives, strict=True))), rel=1e-4, abs=1e-4)
    loss = softmax_loss(scores, *pairs(positives), masked=torch.tensor(masked),
                        row_weight=torch.tensor(weight), **kwargs)
    assert loss.item() == pytest.approx(expected, rel=1e-4, abs=1e-4)


@pytest.mark.parametrize("compete", [True, False])
def test_gradients_follow_the_row_weights(compete):
    scores = torch.randn(3, 5, generator=torch.Generator().manual_seed(0))
    row, column = torch.tensor([0, 0, 1, 2]), torch.tensor([1, 4, 0, 2])
    gradients = []
    for weight in (None, torch.ones(3), torch.tensor([2.0, 0.0, 0.5])):
        leaf = scores.clone().requires_grad_()
        softmax_loss(leaf, row, column, row_weight=weight, positives_compete=compete).backward()
        gradients.append(leaf.grad)
    assert torch.equal(gradients[0], gradients[1])
    torch.testing.assert_close(gradients[2], gradients[0] * torch.tensor([[2.0], [0.0], [0.5]]))


@settings(max_examples=60, deadline=None)
@given(problems())
def test_without_competing_positives_equals_the_definition(problem):
    scores, positives, masked, log_q = problem
    expected = 0.0
    for row, own in enumerate(positives):
        others = sum(math.exp(score - log_q[column]) for column, score in enumerate(scores[row].tolist())
                     if column not in own and not masked[row][column])
        expected += sum(math.log(others + math.exp(scores[row, c])) - scores[row, c].item() for c in own)
    loss = softmax_loss(scores, *pairs(positives), masked=torch.tensor(masked),
                        log_q=torch.tensor(log_q), positives_compete=False)
    assert loss.item() == pytest.approx(expected, rel=1e-4, abs=1e-4)


@st.composite
def networks(draw):
    """Fusion with K networks: tower, two kinds of pairs, positives, what is absent."""
    rows, columns, count = draw(st.integers(1, 3)), draw(st.integers(1, 6)), draw(st.integers(2, 4))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 1_000)))
    places = [(row, column) for row in range(rows) for column in range(columns)]
    pairs_of = [torch.tensor(draw(st.lists(st.sampled_from(places), unique=True)), dtype=torch.int64)
                .reshape(-1, 2) for _ in range(2)]
    spread = draw(st.sampled_from([0.5, 3.0, 12.0]))
    positives = [draw(st.lists(st.integers(0, columns - 1), min_size=1, unique=True)) for _ in range(rows)]
    absent = torch.tensor([[draw(st.booleans()) and column not in own for column in range(columns)]
                           for own in positives])

    def normal(*shape):
        return spread * torch.randn(*shape, generator=generator)

    return (normal(rows, columns), pairs_of, normal(len(pairs_of[0])), normal(len(pairs_of[1]), count),
            normal(columns), normal(rows, 1), positives, absent)


@settings(max_examples=150, deadline=None)
@given(networks(), st.booleans(), st.booleans())
def test_several_networks_have_the_mean_of_their_losses(problem, compete, weighted):
    """Value and gradients are those of each network alone, known positives masked or not."""
    tower, (local, prior), graph_score, scores, bias, gate, positives, absent = problem
    weight = torch.arange(1.0, 1.0 + len(tower)) if weighted else None
    leaves = [part.clone().requires_grad_() for part in (tower, graph_score, scores, bias, gate)]

    def loss(tower, graph_score, scores, bias, gate):
        kinds = (PairScores(*local.unbind(1), graph_score), PairScores(*prior.unbind(1), scores))
        fused = two_level(tower, kinds, bias, gate, absent=absent)
        return softmax_loss(fused.scores, *pairs(positives), masked=absent, positives_compete=compete,
                            row_weight=weight, apart=fused.apart)

    together = loss(*leaves)
    gradients = torch.autograd.grad(together, leaves, allow_unused=True)
    alone = sum(loss(leaves[0], leaves[1], one, leaves[3], leaves[4]) for one in leaves[2].unbind(1))
    alone = alone / scores.shape[1]
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-4)
    for found, expected in zip(gradients, torch.autograd.grad(alone, leaves, allow_unused=True), strict=True):
        if found is not None and expected is not None:
            assert found.isfinite().all()
            torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)


def test_one_loss_of_the_mean_would_be_another():
    """Networks that disagree about the negatives are not paid for it."""
    score = torch.tensor([[0.0, 0.0], [5.0, -5.0], [-5.0, 5.0]], requires_grad=True)
    kind = PairScores(torch.zeros(3, dtype=torch.int64), torch.arange(3), score)
    fused = two_level(torch.zeros(1, 4), (kind,), torch.zeros(4), torch.zeros(1, 1))
    positive = torch.tensor([0]), torch.tensor([0])
    apart = softmax_loss(fused.scores, *positive, apart=fused.apart)
    tied = softmax_loss(fused.scores, *positive)
    # One half for the group, then 1 / (1 + e^5 + e^-5) by both networks.
    assert apart.item() == pytest.approx(math.log(2) + math.log(1 + math.exp(5) + math.exp(-5)), rel=1e-5)
    assert tied.item() < apart.item() - 0.5


def test_gradient_check():
    scores = torch.randn(3, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    row, column = torch.tensor([0, 0, 1, 2]), torch.tensor([1, 4, 0, 2])
    masked = torch.zeros(3, 5, dtype=torch.bool)
    masked[0, 2] = masked[2, 2] = True  # the second is a positive and stays
    log_q = torch.tensor([0.0, -1.0, -2.0, 0.0, -0.5], dtype=torch.float64)

    # float() inside would hide small differences, so compare with the analytic gradient.
    leaf = scores.float().requires_grad_()
    softmax_loss(leaf, row, column, masked=masked, log_q=log_q.float()).backward()
    adjusted = scores - log_q
    adjusted[masked] = -torch.inf
    adjusted[row, column] = scores[row, column]
    expected = torch.softmax(adjusted, 1) * torch.tensor([[2.0], [1.0], [1.0]])
    expected[row, column] -= 1
    torch.testing.assert_close(leaf.grad, expected.float(), rtol=1e-5, atol=1e-6)
    assert leaf.grad[0, 2] == 0


def test_masked_items_get_no_gradient_but_masked_positives_do():
    scores = torch.zeros(1, 3, requires_grad=True)
    softmax_loss(scores, torch.tensor([0]), torch.tensor([0]),
                 masked=torch.tensor([[True, True, False]])).backward()
    assert scores.grad.tolist() == [[-0.5, 0.0, 0.5]]


def test_large_scores_stay_finite():
    scores = torch.tensor([[1e4, -1e4, 0.0]])
    assert softmax_loss(scores, torch.tensor([0]), torch.tensor([1])).item() == pytest.approx(2e4)


def test_sampled_on_all_classes_equals_full():
    generator = torch.Generator().manual_seed(0)
    num_items, num_rows = 12, 3
    scores = torch.randn(num_rows, num_items, generator=generator)
    row, positive = torch.tensor([0, 0, 1, 2]), torch.tensor([3, 7, 3, 11])
    classes = sample_classes(
        make_proposals([np.ones(num_items)]), positive=positive, local=torch.arange(num_items),
        bucket=torch.zeros(3, dtype=torch.int64), num_classes=2 * num_items, generator=generator)
    assert len(classes.item) == num_items
    full = softmax_loss(scores, row, positive)
    sampled = softmax_loss(scores[:, classes.item], row, classes.position_of(positive),
                           log_q=classes.log_q)
    torch.testing.assert_close(sampled, full)


def test_sampled_partition_is_unbiased_and_only_with_the_correction():
    """exp(loss) of a row with one positive is its partition over a constant: E must agree."""
    generator = torch.Generator().manual_seed(1)
    num_items, num_tries = 60, 1_000
    scores = torch.randn(1, num_items, generator=generator)
    row, positive = torch.tensor([0]), torch.tensor([5])
    proposals = make_proposals([torch.randn(num_items, generator=generator).exp().numpy()])
    full = softmax_loss(scores, row, positive).exp().item()
    corrected, plain = [], []
    for _ in range(num_tries):
        classes = sample_classes(
            proposals, positive=positive, local=torch.tensor([1, 2]),
            bucket=torch.zeros(1, dtype=torch.int64), num_classes=40, generator=generator)
        args = scores[:, classes.item], row, classes.position_of(positive)
        corrected.append(softmax_loss(*args, log_q=classes.log_q).exp().item())
        plain.append(softmax_loss(*args).exp().item())
    error = torch.tensor(corrected).std().item() / num_tries**0.5
    assert error < 0.02 * full
    assert abs(sum(corrected) / num_tries - full) < 4 * error
    assert sum(plain) / num_tries < full * 0.8


def test_unborn_is_strict_and_ignores_untimed_items():
    birth = torch.tensor([UNTIMED, 5, 6])
    assert unborn(birth, torch.tensor([5, 4])).tolist() == [[False, False, True], [False, True, True]]
