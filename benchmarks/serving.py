"""Users per second: onnxruntime with the numpy sampler against torch, both in one run.

Both sides sample, look up features, score the whole catalogue and keep the ten best.

    python -m benchmarks.serving --summary runs/demo/summary.json
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from model_core.export.parity import parity_seeds
from model_core.graph.temporal_graph import TemporalGraph
from model_core.serving.recommend import Recommender
from model_core.split.seeds import Split
from model_core.training.checkpoint import Checkpoint


def users_per_second(
    serve: Callable[[np.ndarray, np.ndarray], object], entity: np.ndarray, at: np.ndarray,
    batch_size: int, repeats: int,
) -> float:
    """Best of several passes over all users, after one warm-up batch."""
    serve(entity[:batch_size], at[:batch_size])
    best = float("inf")
    for _ in range(repeats):
        start = time.perf_counter()
        for i in range(0, len(entity), batch_size):
            serve(entity[i : i + batch_size], at[i : i + batch_size])
        best = min(best, time.perf_counter() - start)
    return len(entity) / best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--summary", type=Path, required=True, help="summary.json of a finished run")
    parser.add_argument("--users", type=int, default=256)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()

    torch.set_num_threads(arguments.threads)
    artifacts = json.loads(arguments.summary.read_text())["artifacts"]
    graph = TemporalGraph.open(artifacts["graph"])
    scorer = Checkpoint.open(artifacts["checkpoint"]).scorer(graph)
    entity, at = parity_seeds(Split.open(artifacts["split"]), arguments.users)

    def with_torch(who: np.ndarray, when: np.ndarray) -> object:
        return scorer(torch.from_numpy(who), torch.from_numpy(when)).topk(10)

    print(f"{len(entity)} users, {arguments.threads} threads")
    print(f"{'batch':>6} {'torch users/s':>14} {'onnxruntime users/s':>20} {'ratio':>6}")
    for batch_size in (1, 16, 64):
        recommender = Recommender.open(artifacts["bundle"], artifacts["graph"],
                                       num_threads=arguments.threads, batch_size=batch_size)

        def with_onnx(who: np.ndarray, when: np.ndarray, served: Recommender = recommender) -> object:
            return served.recommend(who, when, 10)

        torch_rate, onnx_rate = (
            users_per_second(serve, entity, at, batch_size, arguments.repeats)
            for serve in (with_torch, with_onnx))
        print(f"{batch_size:>6} {torch_rate:>14.1f} {onnx_rate:>20.1f} {onnx_rate / torch_rate:>6.2f}")


if __name__ == "__main__":
    main()
