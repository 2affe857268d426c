"""What the evaluate step runs."""

import sys
from pathlib import Path

from components._step import Input, Metadata, Output, run_step


def evaluate(
    checkpoint: Input,
    graph: Input,
    split: Input,
    negative_queue: Input,
    data_watch: Input,
    champion: Input,
    report: Output,
    metrics: Output,
    html: Output,
    config: str = "{}",
    gate_config: str = "{}",
    seed: int = 0,
) -> Metadata:
    """Rank the full catalogue for every evaluation user, beside baselines and champion, and judge.

    Args:
        checkpoint: Trained model (record: checkpoint).
        graph: Temporal graph (record: graph).
        split: Seed rows and labels (record: split).
        negative_queue: Its report is shown (record: negative_queue).
        data_watch: Its findings are shown, its failures stand in the way of promotion (record: data_watch).
        champion: Scored on the same users, to be beaten (record: champion).
        report: Metrics with intervals, per-user values, predictions, verdict (record: report).
        metrics: Headline metrics for the UI.
        html: The report as a self-contained page.
        config: JSON of EvaluateConfig.
        gate_config: JSON of GateConfig, the rules of promotion.
        seed: Seed of the bootstrap.
    """
    from model_core.config import EvaluateConfig, GateConfig, parse_section
    from model_core.evaluation.evaluate import evaluate as rank_and_judge
    from model_core.graph.temporal_graph import TemporalGraph
    from model_core.negatives.queue import NegativeQueue
    from model_core.split.seeds import Split
    from model_core.storage.champion import ChampionRecord
    from model_core.training.checkpoint import Checkpoint
    from model_core.watch.record import DataWatch

    seeds = Split.open(split, verify="digest")
    judged = rank_and_judge(
        Checkpoint.open(checkpoint, verify="digest"), TemporalGraph.open(graph, verify="digest"),
        seeds, NegativeQueue.open(negative_queue, verify="digest"),
        parse_section(EvaluateConfig, config), Path(report), html=Path(html), seed=seed,
        gate=parse_section(GateConfig, gate_config),
        champion=ChampionRecord.open(champion, verify="digest"),
        watch=DataWatch.open(data_watch, verify="digest"),
        context={"dataset": seeds.dataset, "task": seeds.task},
        progress=lambda line: print(line, flush=True),
    )
    print(judged.verdict.reason, flush=True)
    return {"report": {"digest": judged.record.digest}, "metrics": judged.headline()}


if __name__ == "__main__":
    sys.exit(run_step(evaluate))
