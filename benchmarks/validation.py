"""Seconds per validation of a training run: batches and readouts kept against a pass per shift.

After every epoch training measures validation MAP, with two-level fusion once for every
far shift to choose from. relrec samples and counts candidates of the validation rows at
the first epoch only, and computes one forward pass per epoch. The other side makes a new
scorer for every shift, which samples, counts and computes anew. Values are compared.

    python -m benchmarks.validation [--dataset DIR --task NAME] [--threads 2] [--rounds 3]
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable

import numpy as np
import torch

from benchmarks.prepared import add_arguments, prepare, work_like_a_step
from model_core.config import ModelConfig, TrainConfig
from model_core.evaluation.validation import map_validator
from model_core.graph.schema import GraphSchema
from model_core.models.contextgnn.model import ContextGNN
from model_core.models.scorer import MAX_READOUT_BYTES, ModelScorer
from model_core.priors.build import make_priors
from model_core.priors.event_values import value_columns
from model_core.sampling.seed_batches import MAX_KEPT_BYTES
from model_core.training.far_shift import best_far_shift


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add_arguments(parser)
    parser.add_argument("--fan-out", type=int, nargs="+", default=[128, 64, 32])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    work_like_a_step(args.threads)
    prepared, config = prepare(args), ModelConfig()
    graph, split = prepared.graph.to_torch(), prepared.split
    torch.manual_seed(0)
    model = ContextGNN(GraphSchema.of(graph), config, len(args.fan_out)).eval()
    values = value_columns(prepared.graph)
    priors = make_priors(prepared.graph, split.window_s, config.num_similar, config.num_popular,
                         [split.val_time], values=values)
    validate = map_validator(split, TrainConfig(device="cpu"))

    def scorer(kept_bytes: int) -> ModelScorer:
        return ModelScorer(model, graph, args.fan_out, nodes_per_seed=1.0, priors=priors,
                           kept_bytes=kept_bytes)

    kept = scorer(MAX_KEPT_BYTES)

    def relrec() -> float:
        current = kept.renewed(max_readout_bytes=MAX_READOUT_BYTES)
        return best_far_shift(model, lambda: validate(current))

    both: dict[str, Callable[[], float]] = {
        "relrec": relrec,
        "a pass per shift": lambda: best_far_shift(model, lambda: validate(scorer(0))),
    }
    took: dict[str, list[float]] = {name: [] for name in both}
    for _ in range(args.rounds + 1):  # the first fills what is kept
        values = set()
        for name, function in both.items():
            began = time.perf_counter()
            values.add(round(function(), 6))
            took[name].append(time.perf_counter() - began)
        assert len(values) == 1, f"the sides differ: {values}"
    median = {name: float(np.median(seconds[1:])) for name, seconds in took.items()}
    for name, seconds in took.items():
        print(f"{name:18s} {median[name]:6.2f} s (first epoch {seconds[0]:.2f} s)")
    print(f"ratio: {median['a pass per shift'] / median['relrec']:.1f}")
    print(json.dumps({
        "dataset": args.dataset or "demo shop", "rows": len(split.val), "items": split.num_items,
        "fan_out": args.fan_out, "threads": args.threads,
        "seconds": {name: round(value, 3) for name, value in median.items()},
    }))


if __name__ == "__main__":
    main()
