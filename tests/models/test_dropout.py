import pytest
import torch

from model_core.models.contextgnn.dropout import dropped_bytes, keep_mask, relu_dropout


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("rate", [0.1, 0.2, 0.5, 0.9])
def test_rate_and_expectation(rate):
    x = torch.full((400, 501), 3.0)
    out = relu_dropout(x, rate, True, generator())
    exact = dropped_bytes(rate) / 256
    assert abs(exact - rate) <= 1 / 512
    dropped = (out == 0).double().mean().item()
    # 200,400 draws: five standard deviations
    assert abs(dropped - exact) < 5 * (exact * (1 - exact) / x.numel()) ** 0.5
    assert out.max().item() == pytest.approx(3.0 / (1 - exact))
    assert out.double().mean().item() == pytest.approx(3.0, rel=0.03)


def test_every_byte_of_a_word_is_random():
    kept = keep_mask(torch.Size((20_000, 8)), 0.5, torch.zeros(1), generator()).mean(dim=0)
    assert ((kept - 0.5).abs() < 0.02).all()


def test_elements_are_independent_of_their_neighbours():
    mask = keep_mask(torch.Size((50_000, 8)), 0.5, torch.zeros(1), generator())
    correlation = torch.corrcoef(mask.T).fill_diagonal_(0)
    assert correlation.abs().max() < 0.025


def test_same_generator_same_mask():
    x = torch.randn(50, 7, generator=generator(3))
    assert torch.equal(relu_dropout(x, 0.3, True, generator(1)), relu_dropout(x, 0.3, True, generator(1)))
    assert not torch.equal(
        relu_dropout(x, 0.3, True, generator(1)), relu_dropout(x, 0.3, True, generator(2)))


def test_gradient_flows_where_kept_and_positive():
    x = torch.randn(64, 33, generator=generator(), requires_grad=True)
    mask = keep_mask(x.shape, 0.25, x, generator(7))
    weight = torch.randn(64, 33, generator=generator(9))
    (relu_dropout(x, 0.25, True, generator(7)) * weight).sum().backward()
    expected = weight * mask * (x > 0) / 0.75
    torch.testing.assert_close(x.grad, expected.detach())


def test_off_in_evaluation_and_at_rate_zero():
    x = torch.randn(5, 5, generator=generator())
    assert torch.equal(relu_dropout(x, 0.5, False, None), torch.relu(x))
    assert torch.equal(relu_dropout(x, 0.0, True, None), torch.relu(x))


def test_training_without_a_generator_is_refused():
    with pytest.raises(ValueError, match="Generator"):
        relu_dropout(torch.ones(2), 0.5, True, None)


def test_no_elements():
    assert relu_dropout(torch.zeros(0, 4), 0.5, True, generator()).shape == (0, 4)
