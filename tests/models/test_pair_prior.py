"""The pair prior alone: standardisation, its value by hand, dropout."""

from __future__ import annotations

import pytest
import torch

from model_core.models.contextgnn.pair_prior import PairPrior


def prior(num_features=3, hidden=4, dropout=0.0):
    torch.manual_seed(0)
    return PairPrior(num_features, hidden, dropout).eval()


def test_standardised_features_have_mean_zero_and_spread_one():
    model, feature = prior(), torch.tensor([[1.0, 7.0, -2.0], [3.0, 7.0, 0.0], [8.0, 7.0, 2.0]])
    model.standardise(feature)
    assert model.mean.tolist() == [4.0, 7.0, 0.0]
    scaled = (feature - model.mean) / model.scale
    assert scaled.mean(dim=0).tolist() == pytest.approx([0, 0, 0], abs=1e-6)
    # A column that never changes keeps its scale: dividing by nothing would blow up later values.
    assert scaled.std(dim=0, correction=0).tolist() == pytest.approx([1, 0, 1], abs=1e-6)
    assert model.scale[1] == 1.0


def test_nothing_to_standardise_with_changes_nothing():
    model = prior()
    model.standardise(torch.zeros(0, 3))
    assert model.mean.tolist() == [0.0] * 3
    assert model.scale.tolist() == [1.0] * 3


def test_mean_and_scale_are_stored_with_the_weights_and_not_trained():
    model = prior()
    model.standardise(torch.randn(50, 3) * 5 + 2)
    other = prior()
    other.load_state_dict(model.state_dict())
    feature = torch.randn(6, 3)
    assert torch.equal(other(feature, None), model(feature, None))
    assert {name for name, _ in model.named_parameters()} == {
        f"{layer}.{part}" for layer in ("enter", "middle", "leave") for part in ("weight", "bias")}


def test_two_hidden_layers_by_hand():
    model = prior(num_features=2, hidden=1)
    with torch.no_grad():
        model.mean.copy_(torch.tensor([1.0, 2.0]))
        model.scale.copy_(torch.tensor([2.0, 4.0]))
        for layer, weight, bias in ((model.enter, [[1.0, -1.0]], 0.5), (model.middle, [[3.0]], -1.0),
                                    (model.leave, [[-2.0]], 0.25)):
            layer.weight.copy_(torch.tensor(weight))
            layer.bias.fill_(bias)
        # (5 - 1) / 2 - (2 - 2) / 4 + 0.5 = 2.5; 3 * 2.5 - 1 = 6.5; -2 * 6.5 + 0.25
        out = model(torch.tensor([[5.0, 2.0], [-9.0, 2.0]]), None)
    assert out.tolist() == [-12.75, 0.25]  # the second dies in the first ReLU, and -1 in the next
    assert model(torch.zeros(0, 2), None).shape == (0,)


def test_dropout_in_training_only():
    model, feature = prior(hidden=64, dropout=0.5), torch.randn(5, 3)
    assert torch.equal(model(feature, None), model(feature, None))
    model.train()
    draws = [model(feature, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])
