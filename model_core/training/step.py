"""One optimiser step: losses of the micro-batches, gradients, update."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from model_core.config import TrainConfig
from model_core.errors import TrainingError
from model_core.graph.temporal_graph import UNTIMED, TemporalGraph
from model_core.losses.softmax import softmax_loss, unborn
from model_core.models.contextgnn.model import ContextGNN
from model_core.training.batching import MicroBatch, Step
from model_core.training.optimizer import SplitAdam
from model_core.training.randomness import generator_for


class StepRunner:
    """Computes steps for one model.

    The loss of a step is the sum over its positives divided by its rows. Micro-batches
    add up to exactly that: each is divided by the rows of the whole step, and item
    vectors are computed once per step, their gradient being collected over the
    micro-batches.

    Args:
        model: In training mode.
        optimizer: Over the model's parameters.
        graph: Graph as tensors.
        item_birth: int64 [num_items], time of the items (NegativeQueue).
        config: Loss, seed, bf16.
        device: Where the model is.
    """

    def __init__(
        self,
        model: ContextGNN,
        optimizer: SplitAdam | torch.optim.Optimizer,
        graph: TemporalGraph[Tensor],
        item_birth: Tensor,
        config: TrainConfig,
        device: torch.device,
    ) -> None:
        self.model, self.optimizer, self.config, self.device = model, optimizer, config, device
        self.columns = graph.columns[graph.item_table]
        timed = len(item_birth) > 0 and int(item_birth.max()) > UNTIMED
        self.item_birth = item_birth if timed else None
        self.autocast = config.bf16 and device.type == "cuda"

    def __call__(self, step: Step) -> float:
        """Do one step; returns its loss.

        Raises:
            TrainingError: The loss is not finite. The weights are as before the step.
        """
        self.optimizer.zero_grad(set_to_none=True)
        generator = generator_for(self.config.seed, "dropout", step.number, self.device)
        rows = None if step.classes is None else step.classes.item
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.autocast):
            vectors = self.model.item_vectors(self.columns, rows)
        collected = vectors.detach().requires_grad_()
        total = torch.zeros((), device=self.device)
        for micro in step.micro_batches:
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.autocast):
                loss = self._loss(micro, step, collected, generator) / step.num_rows
            loss.backward()
            total += loss.detach()
        value = float(total)
        if not math.isfinite(value):
            raise TrainingError(
                f"training step {step.number + 1}", "a finite loss", str(value),
                "lower train.learning_rate, or look for extreme values in the numeric columns",
            )
        if collected.grad is not None:
            vectors.backward(collected.grad)
        self.optimizer.step()
        return value

    def _loss(
        self, micro: MicroBatch, step: Step, vectors: Tensor, generator: torch.Generator
    ) -> Tensor:
        """Sum over the positives of a micro-batch."""
        classes, birth = step.classes, self.item_birth
        mask_known = self.config.mask_known_positives
        if mask_known is None:
            mask_known = classes is not None
        column = micro.positive if classes is None else classes.position_of(micro.positive)
        absent = None
        if birth is not None:
            absent = unborn(birth if classes is None else birth[classes.item], micro.time)
            absent[micro.positive_row, column] = False  # what was met exists, whatever its time says
        readout = self.model.read_out(micro.batch, generator)
        if classes is None:
            scores, apart = self.model.fused_catalogue(readout, vectors, absent)
        else:
            scores, apart = self.model.fused_classes(
                readout, vectors, classes.item, classes.log_q, absent)
        return softmax_loss(
            scores, micro.positive_row, column, masked=absent,
            positives_compete=not mask_known, row_weight=micro.row_weight, apart=apart,
        )
