"""Pair prior: a logit from what counting says about a user and an item."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from model_core.models.contextgnn.aggregate import is_exporting
from model_core.models.contextgnn.dropout import relu_dropout

#: Pairs that are scored at a time: what a network makes of them stays in a processor's cache.
_SLAB = 4_096


class PairPrior(nn.Module):
    """Small networks over standardised pair features; their mean output is added to the score.

    Counts, ages and item-kNN scores of a pair, popularity of the item and activity of
    the user decide most of a repeat purchase. A graph network would have to learn to
    count before it could learn anything else.

    The networks differ in their first weights only. Each is trained by a loss of its own
    (``losses.softmax``), so that what one learns by heart the others do not
    (deep ensembles, Lakshminarayanan et al. 2017, arXiv 1612.01474; there probabilities are
    averaged, here logits, which a server can do before it compares items).

    Args:
        num_features: Width of the input.
        hidden: Width of the two hidden layers.
        dropout: Dropout rate in them.
        num_networks: K, how many.
        late: Inputs that start without weight: those that say something on some data only, and
            from random weights would be learned by heart before it shows that they say nothing.

    Deviation from arXiv 2411.19513, which has no such inputs.
    """

    mean: Tensor
    scale: Tensor

    def __init__(
        self, num_features: int, hidden: int, dropout: float, num_networks: int = 1,
        late: Sequence[int] = (),
    ) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(num_features))
        self.register_buffer("scale", torch.ones(num_features))
        self.networks = nn.ModuleList(
            _Network(num_features, hidden, dropout) for _ in range(num_networks))
        with torch.no_grad():
            for network in self.networks:
                network.enter.weight[:, list(late)] = 0

    def standardise(self, feature: Tensor) -> None:
        """Set mean and scale from a sample of training features, float [M, num_features]."""
        if len(feature):
            self.mean.copy_(feature.mean(dim=0))
            spread = feature.std(dim=0, correction=0)
            self.scale.copy_(torch.where(spread > 1e-3, spread, 1.0))

    def forward(self, feature: Tensor, generator: torch.Generator | None) -> Tensor:
        """float [M, num_features] to float [M, K] in training, to their mean [M] otherwise."""
        if self.training:
            return self._each(feature, generator)
        if is_exporting() or torch.is_grad_enabled() or feature.device.type != "cpu":
            return self._each(feature, generator).mean(dim=1)
        return torch.cat([self._each(slab, generator).mean(dim=1) for slab in feature.split(_SLAB)])

    def _each(self, feature: Tensor, generator: torch.Generator | None) -> Tensor:
        x = (feature - self.mean) / self.scale
        return torch.stack([network(x, generator) for network in self.networks], dim=1)


class _Network(nn.Module):
    """Two hidden layers, float [M, num_features] to float [M]."""

    def __init__(self, num_features: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.dropout = dropout
        self.enter = nn.Linear(num_features, hidden)
        self.middle = nn.Linear(hidden, hidden)
        self.leave = nn.Linear(hidden, 1)

    def forward(self, x: Tensor, generator: torch.Generator | None) -> Tensor:
        x = relu_dropout(self.enter(x), self.dropout, self.training, generator)
        x = relu_dropout(self.middle(x), self.dropout, self.training, generator)
        return self.leave(x).squeeze(1)
