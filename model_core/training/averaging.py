"""Exponential moving average of the weights: what is validated, kept and shipped."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from model_core.training.optimizer import SplitAdam


class WeightAverage:
    """Averages weights over the last steps and lends them to the model for validation.

    Single steps on small data move the ranking by more than an epoch improves it, so the
    best of many noisy epochs is mostly luck. The average of the last 1 / (1 - decay)
    steps moves little. Rows that an optimiser updates lazily are not averaged: the cost
    would grow with the catalogue.

    Args:
        model: Whose weights.
        optimizer: Tells which are updated at every step.
        decay: Weight of the past at every step; None switches averaging off. The first
            steps use (1 + n) / (10 + n), so that initial weights are soon forgotten.

    Source: Polyak and Juditsky 1992, in the exponential form of Tarvainen and Valpola
    2017 (arXiv 1703.01780).
    """

    def __init__(self, model: nn.Module, optimizer: SplitAdam, decay: float | None) -> None:
        self.decay = decay
        dense = {id(p) for group in optimizer.parts[0].param_groups for p in group["params"]}
        self._weights = {} if decay is None else {
            name: p for name, p in model.named_parameters() if id(p) in dense}
        self._average = {name: p.detach().clone() for name, p in self._weights.items()}

    def update(self, step: int) -> None:
        """Take in the weights after optimiser step ``step`` (1 is the first)."""
        if self.decay is None:
            return
        decay = min(self.decay, (1 + step) / (10 + step))
        with torch.no_grad():
            torch._foreach_lerp_(
                list(self._average.values()), list(self._weights.values()), 1 - decay)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Inside, the model has the averaged weights."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def _swap(self) -> None:
        for name, weight in self._weights.items():
            weight.data, self._average[name] = self._average[name], weight.data

    def tensors(self) -> dict[str, Tensor]:
        """The averages by name of weight; those in use, not copies."""
        return dict(self._average)

    def load(self, averages: Mapping[str, Tensor]) -> None:
        """Put back what ``tensors`` gave."""
        for name, average in self._average.items():
            average.copy_(averages[name])
