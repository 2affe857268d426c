"""The figure that training watches: MAP on the validation window."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from model_core.config import TrainConfig
from model_core.evaluation.metrics import METRICS
from model_core.evaluation.predictions import hit_matrix
from model_core.evaluation.ranking import Scorer, rank, rows_per_block
from model_core.split.seeds import SeedTable, Split
from model_core.training.device import resolve_device


def mean_metric(
    scorer: Scorer,
    seeds: SeedTable,
    num_items: int,
    *,
    metric: str = "map",
    k: int = 10,
    batch_size: int = 256,
    device: str | torch.device = "cpu",
) -> float:
    """Mean of one metric without a mask, over rows that have targets; NaN where none has."""
    batch_size = rows_per_block(batch_size, num_items)
    ranked = rank(scorer, seeds, k, batch_size=batch_size, device=device)
    values = METRICS[metric](hit_matrix(ranked, seeds, num_items), np.diff(seeds.item_ptr))
    return float(np.nanmean(values)) if np.isfinite(values).any() else float("nan")


def map_validator(
    split: Split, config: TrainConfig, *, batch_size: int = 512
) -> Callable[[Scorer], float]:
    """MAP at the task's k on validation rows, as a function the trainer can be given.

    With more than ``config.max_validation_rows`` rows, a fixed sample of them drawn with
    ``config.seed``: the same rows at every epoch and after every resume.
    """
    seeds = split.val
    if len(seeds) > config.max_validation_rows:
        rng = np.random.default_rng(config.seed)
        rows = rng.choice(len(seeds), size=config.max_validation_rows, replace=False)
        seeds = seeds.take(np.sort(rows))
    device = resolve_device(config.device).type

    def validate(scorer: Scorer) -> float:
        return mean_metric(scorer, seeds, split.num_items, k=split.eval_k,
                           batch_size=batch_size, device=device)

    return validate
