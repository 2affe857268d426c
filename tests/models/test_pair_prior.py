"""The pair prior alone: standardisation, its value by hand, dropout."""

from __future__ import annotations

import pytest
import torch

from model_core.models.contextgnn import pair_prior
from model_core.models.contextgnn.pair_prior import PairPrior


def prior(num_features=3, hidden=4, dropout=0.0, num_networks=1):
    torch.manual_seed(0)
    return PairPrior(num_features, hidden, dropout, num_networks).eval()


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
    model = prior(num_networks=2)
    model.standardise(torch.randn(50, 3) * 5 + 2)
    other = prior(num_networks=2)
    other.load_state_dict(model.state_dict())
    feature = torch.randn(6, 3)
    assert torch.equal(other(feature, None), model(feature, None))
    assert {name for name, _ in model.named_parameters()} == {
        f"networks.{number}.{layer}.{part}" for number in (0, 1)
        for layer in ("enter", "middle", "leave") for part in ("weight", "bias")}


def test_two_hidden_layers_by_hand():
    model = prior(num_features=2, hidden=1)
    with torch.no_grad():
        model.mean.copy_(torch.tensor([1.0, 2.0]))
        model.scale.copy_(torch.tensor([2.0, 4.0]))
        network = model.networks[0]
        for layer, weight, bias in ((network.enter, [[1.0, -1.0]], 0.5), (network.middle, [[3.0]], -1.0),
                                    (network.leave, [[-2.0]], 0.25)):
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


def test_networks_differ_and_outside_training_their_mean_counts():
    model, feature = prior(num_networks=3), torch.randn(5, 3)
    model.standardise(torch.randn(50, 3) * 5 + 2)
    x = (feature - model.mean) / model.scale
    each = torch.stack([network(x, None) for network in model.networks], dim=1)
    assert len({tuple(column.tolist()) for column in each.unbind(1)}) == 3
    assert torch.equal(model.train()(feature, None), each)
    torch.testing.assert_close(model.eval()(feature, None), each.mean(dim=1))
    assert model(feature[:0], None).shape == (0,)
    assert model.train()(feature[:0], None).shape == (0, 3)


def test_late_inputs_start_without_weight_in_all_networks():
    torch.manual_seed(0)
    model = PairPrior(3, 4, 0.0, 2, late=[1]).eval()
    feature = torch.randn(5, 3)
    other = feature + torch.tensor([0.0, 9.0, 0.0])
    assert torch.equal(model(feature, None), model(other, None))
    assert all(network.enter.weight[:, [0, 2]].all() for network in model.networks)


@pytest.mark.parametrize("num_pairs", [0, 1, 2, 3, 7])
def test_slabs_are_scored_like_the_whole(num_pairs, monkeypatch):
    model, feature = prior(num_networks=2), torch.randn(num_pairs, 3)
    whole = model(feature, None)  # with gradients there are no slabs
    monkeypatch.setattr(pair_prior, "_SLAB", 2)
    with torch.no_grad():
        torch.testing.assert_close(model(feature, None), whole)
