"""Rank any set of scorers side by side and measure them. Needs no checkpoint, no pipeline."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from model_core.config import EvaluateConfig
from model_core.errors import ConfigError
from model_core.evaluation.intervals import bootstrap_mean
from model_core.evaluation.masks import MASKS, Mask, keep_targets, masked_truth
from model_core.evaluation.metrics import metric_table
from model_core.evaluation.predictions import hit_matrix
from model_core.evaluation.ranking import Scorer, rank_masks, rows_per_block
from model_core.graph.temporal_graph import TemporalGraph
from model_core.split.seeds import SeedTable, Split

#: One row of the metric table: split, mask, model, metric, k, mean, ci_low, ci_high, num_users.
MetricRow = dict[str, str | int | float | None]

_PROGRESS_EVERY_S = 5.0


@dataclass(frozen=True)
class Ranked:
    """Lists of all models for one split under one mask.

    Attributes:
        split, mask: Their names.
        truth: Seed rows with the targets that count under this mask.
        items: Model to int64 [n, k], padded with -1.
        hits: Model to bool [n, k].
        counts: ``num_rows``, ``num_users`` (rows with a target left: the ones in the
            mean), ``num_targets``, ``num_targets_removed`` (masked and no longer counted)
            and ``num_targets_unreachable`` (masked and counted as missed).
    """

    split: str
    mask: str
    truth: SeedTable
    items: Mapping[str, np.ndarray]
    hits: Mapping[str, np.ndarray]
    counts: Mapping[str, int]

    @property
    def num_relevant(self) -> np.ndarray:
        """Targets of each row, int64 [n]."""
        return np.diff(self.truth.item_ptr)

    def values(self, model: str, ks: Sequence[int]) -> dict[tuple[str, int], np.ndarray]:
        """Every metric of one model per row: (metric, k) to float64 [n], NaN without targets."""
        return metric_table(self.hits[model], self.num_relevant, ks)


@dataclass(frozen=True)
class Evaluation:
    """What ``evaluate_scorers`` found.

    Attributes:
        rows: The metric table.
        ranked: The lists it was made from, one entry per split and mask.
        ks: Cut-offs, ascending, the task's own among them.
        users_per_s: (split, model) to ranking speed.
    """

    rows: Sequence[MetricRow]
    ranked: Sequence[Ranked]
    ks: tuple[int, ...]
    users_per_s: Mapping[tuple[str, str], float] = field(default_factory=dict)

    def at(self, split: str, mask: str) -> Ranked:
        return next(r for r in self.ranked if (r.split, r.mask) == (split, mask))


def evaluate_scorers(
    scorers: Mapping[str, Scorer],
    graph: TemporalGraph[np.ndarray],
    split: Split,
    config: EvaluateConfig,
    seed: int,
    *,
    instead: Mapping[tuple[str, str], Scorer] | None = None,
    device: str = "cpu",
    progress: Callable[[str], None] | None = None,
) -> Evaluation:
    """Rank the full catalogue with every scorer and measure the lists.

    Each scorer scores each seed once; all masks and cut-offs are served from that pass.

    Args:
        scorers: Model name to scorer.
        graph: For the masks: interactions and birth times of items.
        split: Seed rows with their targets.
        config: Splits, masks, cut-offs, block size and bootstrap.
        seed: Seed of the bootstrap; intervals of one (split, mask) do not depend on
            which others are evaluated.
        instead: Scorers that stand in for those of ``scorers``, by (split, model): the
            shipped weights may have learned from labels of the validation window.
        device: Where to rank.
        progress: Called with a line of text now and then.

    Returns:
        Metric rows for every split, mask, model, metric and k; lists and hits behind them.

    Raises:
        ConfigError: No split or no mask is asked for.
        EvaluationError: A scorer returned NaN, +inf or a wrong shape.
    """
    for key in ("splits", "masks"):
        if not getattr(config, key):
            raise ConfigError(f"evaluate.{key}", "at least one", "none", f"name some {key}")
    ks = tuple(sorted({*config.ks, split.eval_k}))
    masks: dict[str, Mask] = {name: MASKS[name](graph) for name in dict.fromkeys(config.masks)}
    rows: list[MetricRow] = []
    ranked: list[Ranked] = []
    speed: dict[tuple[str, str], float] = {}
    for split_name in dict.fromkeys(config.splits):
        seeds: SeedTable = getattr(split, split_name)
        lists: dict[str, dict[str, np.ndarray]] = {}
        for model, usual in scorers.items():
            scorer = (instead or {}).get((split_name, model), usual)
            started = time.monotonic()
            lists[model] = rank_masks(
                scorer, seeds, ks[-1], masks, device=device,
                batch_size=rows_per_block(config.batch_size, graph.num_items),
                progress=_throttled(progress, f"{split_name}, {model}"),
            )
            took = max(time.monotonic() - started, 1e-9)
            speed[split_name, model] = len(seeds) / took
            if progress:
                progress(f"{split_name}, {model}: {len(seeds):,} users ranked in {took:.1f} s")
        for mask_name, mask in masks.items():
            truth, counts = _truth_under(mask, seeds, graph.num_items)
            items = {model: lists[model][mask_name] for model in scorers}
            hits = {model: hit_matrix(items[model], truth, graph.num_items) for model in scorers}
            ranked.append(Ranked(split_name, mask_name, truth, items, hits, counts))
            rows += measure(ranked[-1], ks, config, interval_rng(seed, split_name, mask_name))
    return Evaluation(rows, ranked, ks, speed)


def interval_rng(seed: int, split: str, mask: str, purpose: int = 0) -> np.random.Generator:
    """The bootstrap's generator for one split and mask, whichever others are evaluated."""
    place = ("val", "test").index(split), list(MASKS).index(mask), purpose
    return np.random.default_rng([seed, *place])


def _truth_under(mask: Mask, seeds: SeedTable, num_items: int) -> tuple[SeedTable, dict[str, int]]:
    masked = masked_truth(seeds, mask, num_items)
    truth = keep_targets(seeds, ~masked) if mask.removes_truth else seeds
    return truth, {
        "num_rows": len(seeds),
        "num_users": int((np.diff(truth.item_ptr) > 0).sum()),
        "num_targets": len(truth.item),
        "num_targets_removed": int(masked.sum()) if mask.removes_truth else 0,
        "num_targets_unreachable": 0 if mask.removes_truth else int(masked.sum()),
    }


def measure(
    ranked: Ranked, ks: Sequence[int], config: EvaluateConfig, rng: np.random.Generator
) -> Iterator[MetricRow]:
    """Means and intervals of all models; all see the same bootstrap draws."""
    used = ranked.num_relevant > 0
    names: list[tuple[str, str, int]] = []
    columns: list[np.ndarray] = []
    for model in ranked.hits:
        for (metric, k), values in ranked.values(model, ks).items():
            names.append((model, metric, k))
            columns.append(values[used])
    interval = bootstrap_mean(
        np.stack(columns, axis=1), rng, groups=ranked.truth.entity[used],
        num_bootstrap=config.num_bootstrap, confidence=config.confidence,
    )
    for (model, metric, k), mean, low, high in zip(names, *interval, strict=True):
        yield {
            "split": ranked.split, "mask": ranked.mask, "model": model, "metric": metric, "k": k,
            "mean": json_number(mean), "ci_low": json_number(low), "ci_high": json_number(high),
            "num_users": int(used.sum()),
        }


def json_number(value: float) -> float | None:
    """JSON has no NaN: an undefined mean is null."""
    return float(value) if np.isfinite(value) else None


def _throttled(
    progress: Callable[[str], None] | None, what: str
) -> Callable[[int, int], None] | None:
    """Block-wise progress as a line of text every few seconds."""
    if progress is None:
        return None
    tell, last = progress, time.monotonic()

    def block_done(done: int, total: int) -> None:
        nonlocal last
        if done < total and time.monotonic() - last >= _PROGRESS_EVERY_S:
            last = time.monotonic()
            tell(f"{what}: {done:,} of {total:,} users")

    return block_done
