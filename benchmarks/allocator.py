"""What keeping freed memory is worth: training steps and ranking, with and without, in turns.

Both settings are switched in one process before every round, as glibc allows; arrays that are
alive then stay where they are.

    python -m benchmarks.allocator [--dataset DIR --task NAME] [--threads 2] [--rounds 4]
"""

from __future__ import annotations

import argparse
import json

import numpy as np
import torch

from benchmarks.prepared import add_arguments, prepare
from benchmarks.ranking import Sides as Ranking
from benchmarks.training import Sides as Training
from benchmarks.training import seconds_per_row
from model_core.allocator import DEFAULT_BYTES, keep_freed_memory


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_arguments(parser)
    parser.add_argument("--fan-out", type=int, nargs="+", default=[128, 64, 32])
    parser.add_argument("--batch-size", type=int, default=512)
    parser.add_argument("--users", type=int, default=2_000)
    parser.add_argument("-k", type=int, default=10)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=4, help="Training steps per round.")
    parser.add_argument("--rounds", type=int, default=4)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    prepared = prepare(args)
    work = {"training": (Training(prepared, args).relrec, range(args.steps)),
            "ranking": (Ranking(prepared, args).relrec, range(1))}
    found = {}
    for name, (function, numbers) in work.items():
        function(range(1))  # warm-up
        took: dict[str, list[tuple[float, float]]] = {"returned": [], "kept": []}
        for _ in range(args.rounds):
            for side, rounds in took.items():
                taken = (keep_freed_memory() if side == "kept"
                         else keep_freed_memory(DEFAULT_BYTES, DEFAULT_BYTES))
                if not taken:
                    raise SystemExit("this C library has no mallopt: nothing to compare")
                rounds.append(seconds_per_row(function, numbers))
        median = {side: np.median(rounds, axis=0) for side, rounds in took.items()}
        for side, (wall, cpu) in median.items():
            print(f"{name:9s} freed memory {side:9s} {1 / wall:8,.0f} rows/s {1 / cpu:8,.0f} per CPU second")
        ratio = median["returned"] / median["kept"]
        print(f"{name:9s} ratio: {ratio[0]:.2f} ({ratio[1]:.2f} by CPU seconds)")
        found[name] = {side: [round(1 / value, 1) for value in pair] for side, pair in median.items()}
    print(json.dumps({"dataset": args.dataset or "demo shop", "threads": args.threads,
                      "rows_per_s_and_cpu_s": found}))


if __name__ == "__main__":
    main()
