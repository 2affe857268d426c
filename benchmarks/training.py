"""Seed rows per second of training: relrec against the straightforward way.

Sides take turns at steps over the same rows, so that other work on the machine hits all
alike. Where there is much of it, read the rate per CPU second (all threads together):

- relrec: its own steps, as the trainer does them (one prepared ahead in a thread);
- straightforward: ``benchmarks/straightforward.py`` on relrec's vectorised sampler;
- straightforward, sampled in Python: the same, one seed and node at a time
  (``sampling/reference.py``). Its steps are few, and smaller where the batch is large.

Peak memory is measured afterwards, each side in a process of its own.

    python -m benchmarks.training [--dataset DIR --task NAME] [--threads 2] [--steps 6]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np
import torch

from benchmarks.prepared import (
    Prepared,
    add_arguments,
    add_work_arguments,
    peak_mb,
    prepare,
    work_like_a_step,
)
from benchmarks.straightforward import Straightforward
from model_core.config import ModelConfig, TrainConfig
from model_core.graph.schema import GraphSchema
from model_core.losses.softmax import softmax_loss
from model_core.models.contextgnn.model import ContextGNN
from model_core.sampling.reference import reference_sample
from model_core.training.batching import Step, StepMaker, prepared_ahead
from model_core.training.optimizer import SplitAdam
from model_core.training.step import StepRunner

#: The Python sampler takes seconds per hundred seeds; its time does not depend on the batch.
PYTHON_SEEDS = 32


def paper_config() -> ModelConfig:
    """The model of the paper: no pair priors, no item bias, pair scores in place of the tower's."""
    return ModelConfig(use_priors=False, item_bias=False, fusion="replace")


class Sides:
    """Both models on the same graph, with the same steps."""

    def __init__(self, prepared: Prepared, args: argparse.Namespace) -> None:
        graph, split = prepared.graph, prepared.split
        self.graph, self.tensors, device = graph, graph.to_torch(), torch.device("cpu")
        self.fan_out = tuple(args.fan_out)
        config = paper_config()
        train = TrainConfig(batch_size=args.batch_size, max_batch_nodes=10**9, device="cpu")
        schema, layers = GraphSchema.of(graph), len(self.fan_out)
        self.make = StepMaker(self.tensors, split.train, prepared.queue, config, train, self.fan_out,
                              1.0, device, window_s=split.window_s)
        torch.manual_seed(0)
        model = ContextGNN(schema, config, layers).train()
        birth = torch.from_numpy(np.array(prepared.queue.item_birth))
        self.run_step = StepRunner(model, SplitAdam(model, train), self.tensors, birth, train, device)
        self.other = Straightforward(schema, config, layers).train()
        self.adam = torch.optim.Adam(self.other.parameters(), lr=train.learning_rate)

    def relrec(self, numbers: range) -> int:
        rows = 0
        for step in prepared_ahead(self.make, numbers):
            self.run_step(step)
            rows += step.num_rows
        return rows

    def straightforward(self, numbers: range) -> int:
        return sum(self._other_step(self.make(number)) for number in numbers)

    def _other_step(self, step: Step) -> int:
        self.adam.zero_grad()
        columns = self.tensors.columns[self.tensors.item_table]
        vectors = self.other.items(columns, None)
        loss = torch.zeros(())
        for micro in step.micro_batches:
            scores = self.other(micro.batch, vectors)
            loss = loss + softmax_loss(scores, micro.positive_row, micro.positive)
        (loss / step.num_rows).backward()
        self.adam.step()
        return step.num_rows

    def python_sampling(self, number: int) -> tuple[float, float]:
        """Wall and CPU seconds per seed row of sampling one node at a time."""
        rows = np.random.default_rng(number).choice(len(self.make.train), PYTHON_SEEDS)
        seeds = self.make.train.take(np.sort(rows))

        def run(_: range) -> int:
            reference_sample(self.graph, seeds.entity.tolist(), seeds.time.tolist(), self.fan_out)
            return len(seeds)

        return seconds_per_row(run, range(1))


def seconds_per_row(function: Callable[[range], int], numbers: range) -> tuple[float, float]:
    """Wall and CPU seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    rows = function(numbers)
    return (time.perf_counter() - wall) / rows, (time.process_time() - cpu) / rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add_arguments(parser)
    add_work_arguments(parser)
    parser.add_argument("--steps", type=int, default=6, help="Steps per round of a side.")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peak-of", choices=("relrec", "straightforward"),
                        help="Run this side alone for a few steps and print its peak memory in MB.")
    args = parser.parse_args()
    work_like_a_step(args.threads)
    sides = Sides(prepare(args), args)
    both = {"relrec": sides.relrec, "straightforward": sides.straightforward}
    if args.peak_of:
        both[args.peak_of](range(2))
        print(json.dumps(peak_mb()))
        return

    rounds: dict[str, list[tuple[float, float]]] = {name: [] for name in both}
    python = []
    for function in both.values():  # warm-up
        function(range(1))
    for number in range(args.rounds):
        for name, function in both.items():
            count = args.steps if name == "relrec" else max(args.steps // 3, 1)
            rounds[name].append(seconds_per_row(function, range(count)))
        python.append(sides.python_sampling(number))
    took = {name: np.median(values, axis=0) for name, values in rounds.items()}
    took["straightforward, sampled in Python"] = took["straightforward"] + np.median(python, axis=0)
    for name, (wall, cpu) in took.items():
        slower = (wall, cpu) / took["relrec"]
        print(f"{name:36s} {1 / wall:8,.0f} seed rows/s ({slower[0]:5.1f} x) {1 / cpu:8,.0f} "
              f"per CPU second ({slower[1]:5.1f} x)", flush=True)
    peak = {name: _peak_of(name) for name in both}
    for name, memory in peak.items():
        print(f"{name:36s} {memory:8,.0f} MB at most")
    print(json.dumps({
        "dataset": args.dataset or "demo shop", "fan_out": args.fan_out,
        "batch_size": args.batch_size, "threads": args.threads, "peak_mb": peak,
        "rows_per_s": {name: round(1 / wall, 1) for name, (wall, _) in took.items()},
        "rows_per_cpu_s": {name: round(1 / cpu, 1) for name, (_, cpu) in took.items()},
    }))


def _peak_of(side: str) -> float:
    command = [sys.executable, "-m", "benchmarks.training", *sys.argv[1:], "--peak-of", side]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(json.loads(done.stdout.splitlines()[-1]))


if __name__ == "__main__":
    main()
