"""Evaluate a trained model beside the simple baselines: numbers, verdict, page."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from model_core.config import EvaluateConfig, GateConfig
from model_core.evaluation.balance import measure_balance
from model_core.evaluation.baselines import BASELINES
from model_core.evaluation.baselines.blend import BlendScorer
from model_core.evaluation.gains import measure_gains
from model_core.evaluation.gate import CHAMPION
from model_core.evaluation.ranking import Scorer
from model_core.evaluation.record import Report
from model_core.evaluation.record_writing import write_report
from model_core.evaluation.report.page import write_page
from model_core.evaluation.rival import open_champion, rank_beside
from model_core.evaluation.scoring import Evaluation, evaluate_scorers
from model_core.evaluation.slices import measure_slices
from model_core.evaluation.verdict import deciding_place, judge
from model_core.graph.temporal_graph import TemporalGraph
from model_core.negatives.queue import NegativeQueue
from model_core.split.seeds import Split
from model_core.storage.champion import ChampionRecord
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
    gate: GateConfig | None = None,
    champion: ChampionRecord | None = None,
    watch: DataWatch | None = None,
    context: Mapping[str, Any] | None = None,
    device: str = "auto",
    progress: Callable[[str], None] | None = None,
) -> Report:
    """Rank the full catalogue for every evaluation row with the model, all baselines and the champion.

    The champion is one more scorer: same users, same masks, the new window. One that cannot
    be carried over to this graph is left out, and the gate is told why.

    Args:
        checkpoint: The trained model.
        graph: Its graph; masks and baselines come from its interactions.
        split: Seed rows with targets.
        queue: Negative queue whose report is shown, or None.
        config: Cut-offs, masks, splits, bootstrap and baselines.
        out: Directory of the report record.
        html: File of the self-contained page.
        seed: Seed of the bootstrap.
        gate: Rules of promotion; unset: the default ones.
        champion: The champion as of the run's logical date; unset: there is none.
        watch: Data watch, whose findings are shown and whose failures are one of the rules; unset: that
            rule is left out.
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
    reigning, rival = open_champion(champion, tensors, config, device)
    evaluation, reigning = rank_beside(
        partial(evaluate_scorers, graph=graph, split=split, config=config, seed=seed, device=device,
                progress=progress), scorers, on_val, reigning, rival)
    gate = gate or GateConfig()
    verdict = judge(
        evaluation, graph, model, split.eval_k, config, seed, gate=gate, reigning=reigning,
        data_failures=[finding.message for finding in watch.failures] if watch else None)
    mask = deciding_place(config)[1]
    decisive = [ranked for ranked in evaluation.ranked if ranked.mask == mask]
    slices = [row for ranked in decisive
              for row in measure_slices(ranked, graph, split.eval_k, config, seed)]
    inputs = {"checkpoint": getattr(checkpoint, "record", None), "graph": graph.record,
              "split": split.record, "negative_queue": queue and queue.record,
              "champion": champion and champion.record, "data_watch": watch and watch.record}
    weights = getattr(checkpoint, "weights_digest", None)
    rivals = [*BASELINES, *([CHAMPION] if reigning.state == "compared" else [])]
    facts = _facts(graph, config, evaluation, seed) | {
        "context": dict(context or {}),
        "start": checkpoint.meta.get("start"),
        "digests": {name: record.digest for name, record in inputs.items() if record}
                   | ({"weights": weights} if weights else {}),
        "gate": gate.model_dump(mode="json"),
        "champion": {"version": reigning.version, "state": reigning.state, "problem": reigning.problem,
                     "logical_date": champion.logical_date if champion else None},
        "baselines": {name: dict(scorer.facts) for name, scorer in scorers.items()
                      if isinstance(scorer, BlendScorer)},
        "gains": [row for ranked in decisive
                  for row in measure_gains(ranked, model, rivals, split.eval_k, config, seed)],
        "balance": [row for ranked in decisive
                    for row in measure_balance(ranked, graph, split.eval_k, config, seed)],
    }
    report = write_report(out, evaluation, slices, verdict, facts, logical_time=split.logical_time)
    write_page(html, report, split, checkpoint, queue, watch)
    return report


def _facts(
    graph: TemporalGraph[np.ndarray], config: EvaluateConfig, evaluation: Evaluation, seed: int
) -> dict[str, Any]:
    return {
        "relrec": __version__,
        "config": config.model_dump(mode="json"),
        "bootstrap_seed": seed,
        "catalogue": {"num_entities": graph.num_entities, "num_items": graph.num_items,
                      "num_interactions": len(graph.interactions.time)},
        "truth": [{"split": ranked.split, "mask": ranked.mask, **ranked.counts}
                  for ranked in evaluation.ranked],
    }
