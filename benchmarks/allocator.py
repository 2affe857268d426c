"""What keeping freed memory is worth: training steps and ranking, with and without.

Each side is a process of its own, because glibc adapts its limits to what a process has done;
processes take turns, and medians are compared.

    python -m benchmarks.allocator [--dataset DIR --task NAME] [--threads 2] [--rounds 3]
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys

import numpy as np
import torch

from benchmarks.prepared import add_arguments, add_work_arguments, peak_mb, prepare
from benchmarks.ranking import Sides as Ranking
from benchmarks.ranking import add_ranking_arguments
from benchmarks.training import Sides as Training
from benchmarks.training import seconds_per_row
from model_core.allocator import keep_freed_memory

SIDES = ("as it is", "kept")


def measure(args: argparse.Namespace) -> dict[str, list[float]]:
    """CPU seconds and page faults per row of this process, work by work."""
    prepared, found = prepare(args), {}
    work = {"training": (Training(prepared, args).relrec, range(args.steps)),
            "ranking": (Ranking(prepared, args).relrec, range(1))}
    for name, (function, numbers) in work.items():
        rows = function(numbers)  # warm-up
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        _, cpu = seconds_per_row(function, numbers)
        faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
        found[name] = [cpu, faults / rows]
    return found | {"peak": [peak_mb(), 0.0]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_arguments(parser)
    add_work_arguments(parser)
    add_ranking_arguments(parser)
    parser.add_argument("--steps", type=int, default=4, help="Training steps per round.")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--side", choices=SIDES, help="Measure this side here and print it as JSON.")
    args = parser.parse_args()
    if args.side:
        torch.set_num_threads(args.threads)
        if args.side == "kept" and not keep_freed_memory():
            raise SystemExit("this C library has no mallopt: nothing to compare")
        print(json.dumps(measure(args)))
        return

    prepare(args)
    rounds: dict[str, list[dict[str, list[float]]]] = {side: [] for side in SIDES}
    for _ in range(args.rounds):
        for side in SIDES:
            command = [sys.executable, "-m", "benchmarks.allocator", *sys.argv[1:], "--side", side]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            rounds[side].append(json.loads(done.stdout.splitlines()[-1]))
    for work in ("training", "ranking"):
        cpu, faults = ({side: float(np.median([one[work][part] for one in rounds[side]]))
                        for side in SIDES} for part in (0, 1))
        for side in SIDES:
            print(f"{work:9s} freed memory {side:9s} {1 / cpu[side]:7,.0f} rows per CPU second "
                  f"{faults[side]:7,.1f} page faults per row")
        print(f"{work:9s} ratio: {cpu[SIDES[0]] / cpu[SIDES[1]]:.2f}")
    for side in SIDES:
        print(f"peak memory, {side}: {max(one['peak'][0] for one in rounds[side]):,.0f} MB")


if __name__ == "__main__":
    main()
