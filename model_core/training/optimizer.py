"""Adam in two parts: dense for the network, row by row for the item tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from model_core.config import TrainConfig
from model_core.models.contextgnn.item_vectors import ItemTable


class SplitAdam:
    """Adam, whose cost per step does not grow with the catalogue under the sampled loss.

    With the full softmax every row of an item table has a gradient and one fused Adam
    updates all weights. With the sampled one a step touches the rows of its classes only.
    Then the tables get sparse gradients and lazy Adam: a row's weights and moments
    change when the row is a class, and rest otherwise.

    Args:
        model: Its ``ItemTable`` modules are the item tables.
        config: Loss, learning rate, weight decay. Decay would touch every row of every
            step, so rows updated lazily are not decayed.

    Source: Kingma and Ba 2015; lazy moments as in ``torch.optim.SparseAdam``. Differences
    from dense Adam: a row that rests is not moved by its old momentum, and epsilon is
    added before the bias correction.
    """

    def __init__(self, model: nn.Module, config: TrainConfig) -> None:
        tables = [module for module in model.modules() if isinstance(module, ItemTable)]
        lazy = config.loss == "sampled"
        for table in tables:
            table.sparse = lazy
        rowwise = [table.weight for table in tables] if lazy else []
        kept = {id(weight) for weight in rowwise}
        self.parts: list[torch.optim.Optimizer] = [torch.optim.Adam(
            [p for p in model.parameters() if id(p) not in kept],
            lr=config.learning_rate, weight_decay=config.weight_decay, fused=True)]
        if rowwise:
            self.parts.append(torch.optim.SparseAdam(rowwise, lr=config.learning_rate))

    def zero_grad(self, set_to_none: bool = True) -> None:
        for part in self.parts:
            part.zero_grad(set_to_none)

    def step(self) -> None:
        for part in self.parts:
            part.step()

    def set_learning_rate(self, learning_rate: float) -> None:
        for part in self.parts:
            for group in part.param_groups:
                group["lr"] = learning_rate

    def state_of(self, parameter: nn.Parameter) -> dict[str, Tensor]:
        """Moments and step count of one weight; empty before its first update.

        Tensors are those in use, not copies.
        """
        for part in self.parts:
            if parameter in part.state:
                return {name: torch.as_tensor(value)
                        for name, value in part.state[parameter].items()}
        return {}

    def load(self, states: Mapping[nn.Parameter, Mapping[str, Tensor]]) -> None:
        """Put back what ``state_of`` gave, parameter by parameter."""
        for part in self.parts:
            order = [p for group in part.param_groups for p in group["params"]]
            state: dict[int, dict[str, Any]] = {
                at: dict(states[p]) for at, p in enumerate(order) if p in states}
            if isinstance(part, torch.optim.SparseAdam):  # it counts in Python numbers
                for values in state.values():
                    values["step"] = int(values["step"])
            part.load_state_dict(
                {"state": state, "param_groups": part.state_dict()["param_groups"]})
