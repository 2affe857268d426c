import math

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from model_core.graph.temporal_graph import UNTIMED
from model_core.losses.softmax import softmax_loss, unborn
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


@settings(max_examples=60, deadline=None)
@given(problems(), st.booleans())
def test_log_probabilities_need_no_partition(problem, compete):
    """The same number as from any scores that they were made of, and from themselves."""
    scores, positives, _, _ = problem
    log_p = torch.log_softmax(scores, dim=1)
    # Where known positives have all the probability, what is left of 1 is rounding.
    assume(compete or all(log_p[row, own].exp().sum() < 0.99 for row, own in enumerate(positives)))
    loss = softmax_loss(log_p, *pairs(positives), positives_compete=compete, normalised=True)
    for made_of in (scores, log_p):
        expected = softmax_loss(made_of, *pairs(positives), positives_compete=compete)
        torch.testing.assert_close(loss, expected, rtol=1e-3, atol=1e-4)


def test_rounding_leaves_certain_positives_a_finite_loss():
    log_p = torch.log(torch.tensor([[0.7, 0.3 + 1e-6, 1e-38]])).requires_grad_()
    loss = softmax_loss(log_p, torch.tensor([0, 0]), torch.tensor([0, 1]),
                        positives_compete=False, normalised=True)
    loss.backward()
    assert loss.item() == pytest.approx(0.0, abs=1e-5)
    assert log_p.grad.isfinite().all()


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
