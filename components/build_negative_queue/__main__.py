"""What the build_negative_queue step runs."""

import sys
from pathlib import Path

from components._step import Input, Metadata, Output, run_step


def build_negative_queue(
    split: Input, graph: Input, negative_queue: Output, config: str = "{}", seed: int = 0
) -> Metadata:
    """Draw negative candidates with exact log-probabilities, births and hardness tiers.

    Args:
        split: Training seed rows (record: split).
        graph: Temporal graph (record: graph).
        negative_queue: Candidates and their report (record: negative_queue).
        config: JSON of QueueConfig.
        seed: Seed of the draws.
    """
    from model_core.config import QueueConfig, parse_section
    from model_core.graph.temporal_graph import TemporalGraph
    from model_core.negatives.build import build_negative_queue as build
    from model_core.split.seeds import Split

    opened = build(
        Split.open(split, verify="digest"), TemporalGraph.open(graph, verify="digest"),
        parse_section(QueueConfig, config), seed, Path(negative_queue),
    )
    print(f"{opened.candidate.shape[0]} time buckets of {opened.candidate.shape[1]:,} candidates")
    return {"negative_queue": {"digest": opened.record.digest}}


if __name__ == "__main__":
    sys.exit(run_step(build_negative_queue))
