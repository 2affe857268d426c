"""Gains: the model minus each baseline, or the champion, on the same users."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from model_core.config import EvaluateConfig
from model_core.evaluation.intervals import Interval, paired_difference
from model_core.evaluation.metrics import map_at_k
from model_core.evaluation.scoring import MetricRow, Ranked, interval_rng, json_number

_PURPOSE = 100  # keeps these random draws apart from those of the slices


def paired_gains(
    ranked: Ranked, model: str, baselines: Sequence[str], k: int, config: EvaluateConfig, seed: int,
    among: np.ndarray | None = None,
) -> Interval:
    """Mean difference in MAP@k to each baseline, with its paired bootstrap interval.

    Two separate intervals may overlap although one model is better for nearly every
    user. The interval of the difference says what the two together cannot. All
    baselines are compared on the same draws of users, whichever others there are.

    Args:
        ranked: Lists of the model and the baselines for one split under one mask.
        model: What is judged.
        baselines: What it is compared with, at least one.
        k: Cut-off.
        config: Bootstrap settings.
        seed: Seed of the bootstrap.
        among: bool [n], the rows to compare on; all when unset.

    Returns:
        One figure per baseline; NaN without a user to measure.
    """
    used = ranked.num_relevant > 0
    if among is not None:
        used &= among
    values = {name: map_at_k(ranked.hits[name][:, :k], ranked.num_relevant)[used]
              for name in (model, *baselines)}
    return paired_difference(
        values[model], np.stack([values[name] for name in baselines], axis=1),
        interval_rng(seed, ranked.split, ranked.mask, _PURPOSE), groups=ranked.truth.entity[used],
        num_bootstrap=config.num_bootstrap, confidence=config.confidence,
    )


def measure_gains(
    ranked: Ranked, model: str, baselines: Sequence[str], k: int, config: EvaluateConfig, seed: int
) -> Iterator[MetricRow]:
    """``paired_gains`` as rows for a report.

    Yields:
        {split, mask, model, baseline, metric, k, mean, ci_low, ci_high, num_users};
        figures are None without a user to measure.
    """
    gains = paired_gains(ranked, model, baselines, k, config, seed)
    for name, mean, low, high in zip(baselines, *gains, strict=True):
        yield {
            "split": ranked.split, "mask": ranked.mask, "model": model, "baseline": name,
            "metric": "map", "k": k, "mean": json_number(mean), "ci_low": json_number(low),
            "ci_high": json_number(high), "num_users": int((ranked.num_relevant > 0).sum()),
        }
