"""Evaluate a trained model beside the simple baselines: numbers, verdict, page."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from model_core.config import EvaluateConfig
from model_core.evaluation.balance import measure_balance
from model_core.evaluation.baselines import BASELINES
from model_core.evaluation.baselines.blend import BlendScorer
from model_core.evaluation.gains import measure_gains
from model_core.evaluation.ranking import Scorer
from model_core.evaluation.record import Report
from model_core.evaluation.record_writing import write_report
from model_core.evaluation.report.page import write_page
from model_core.evaluation.scoring import Evaluation, evaluate_scorers
from model_core.evaluation.slices import measure_slices
from model_core.evaluation.verdict import deciding_place, judge
from model_core.graph.temporal_graph import TemporalGraph
from model_core.negatives.queue import NegativeQueue
from model_core.split.seeds import Split
from model_core.training.device import resolve_device
from model_core.version import __version__
from model_core.watch.record import DataWatch


class Evaluable(Protocol):
    """What evaluation needs of a checkpoint; any trained thing that has it can be judged."""

    @property
    def model_config(self) -> Any: ...

    @property
    def meta(self) -> Mapping[str, Any]: ...

    @property
    def curves(self) -> Any: ...

    def scorer(self, graph: Any, device: Any, weights: Any) -> Scorer: ...


def evaluate(
    checkpoint: Evaluable,
    graph: TemporalGraph[np.ndarray],
    split: Split,
    queue: NegativeQueue | None,
    config: EvaluateConfig,
    out: Path,
    *,
    html: Path,
    seed: int,
    watch: DataWatch | None = None,
    context: Mapping[str, Any] | None = None,
    device: str = "auto",
    progress: Callable[[str], None] | None = None,
) -> Report:
    """Rank the full catalogue for every evaluation row with the model and all baselines.

    Args:
        checkpoint: The trained model.
        graph: Its graph; masks and baselines come from its interactions.
        split: Seed rows with targets.
        queue: Negative queue whose report is shown, or None.
        config: Cut-offs, masks, splits, bootstrap, baselines and the bar for promotion.
        out: Directory of the report record.
        html: File of the self-contained page.
        seed: Seed of the bootstrap.
        watch: Data watch whose findings are shown, or None.
        context: More facts for the page and the record, e.g. dataset and task (JSON values).
        device: Where the model runs; ``auto`` takes a GPU where there is one.
        progress: Called with a line of text now and then.

    Returns:
        The opened report.

    Raises:
        ConfigError: No split or mask is asked for.
        EvaluationError: Scores that are NaN or +inf.
    """
    model = checkpoint.model_config.name
    device = resolve_device(device).type
    tensors = graph.to_torch(device)
    scorers = {model: checkpoint.scorer(tensors, device, "final")}
    on_val = {("val", model): checkpoint.scorer(tensors, device, "selected")}
    scorers |= {name: make(graph, split, config) for name, make in BASELINES.items()}
    evaluation = evaluate_scorers(scorers, graph, split, config, seed, instead=on_val, device=device,
                                  progress=progress)
    verdict = judge(evaluation, model, split.eval_k, config, seed)
    mask = deciding_place(config)[1]
    decisive = [ranked for ranked in evaluation.ranked if ranked.mask == mask]
    slices = [row for ranked in decisive
              for row in measure_slices(ranked, graph, split.eval_k, config, seed)]
    facts = _facts(checkpoint, graph, split, queue, config, evaluation, context or {}, seed) | {
        "baselines": {name: dict(scorer.facts) for name, scorer in scorers.items()
                      if isinstance(scorer, BlendScorer)},
        "gains": [row for ranked in decisive
                  for row in measure_gains(ranked, model, [*BASELINES], split.eval_k, config, seed)],
        "balance": [row for ranked in decisive
                    for row in measure_balance(ranked, graph, split.eval_k, config, seed)],
    }
    report = write_report(out, evaluation, slices, verdict, facts,
                          logical_time=split.logical_time)
    write_page(html, report, split, checkpoint, queue, watch)
    return report


def _facts(
    checkpoint: Evaluable, graph: TemporalGraph[np.ndarray], split: Split,
    queue: NegativeQueue | None, config: EvaluateConfig, evaluation: Evaluation,
    context: Mapping[str, Any], seed: int,
) -> dict[str, Any]:
    inputs = {"checkpoint": getattr(checkpoint, "record", None), "graph": graph.record,
              "split": split.record, "negative_queue": queue.record if queue else None}
    return {
        "context": dict(context),
        "relrec": __version__,
        "start": checkpoint.meta.get("start"),
        "config": config.model_dump(mode="json"),
        "bootstrap_seed": seed,
        "catalogue": {"num_entities": graph.num_entities, "num_items": graph.num_items,
                      "num_interactions": len(graph.interactions.time)},
        "digests": {name: record.digest for name, record in inputs.items() if record},
        "truth": [{"split": ranked.split, "mask": ranked.mask, **ranked.counts}
                  for ranked in evaluation.ranked],
    }
