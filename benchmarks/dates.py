"""Test MAP of several logical dates: one window can favour a method by chance, several seldom do.

    relrec backfill retrain --dataset DIR --task NAME --from DATE --to DATE --every STEP --no-promote \\
        --root OUT --set train.seed=0
    python -m benchmarks.dates OUT/*/summary.json …
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.datasets import Summary, by_task, map_of, mean_and_spread


def tables(summaries: Sequence[Summary], masks: Sequence[str] = ("none", "seen")) -> str:
    """For each dataset, task and mask: a row per logical date, a column per model, test MAP.

    Runs of one date with several seeds share a row, mean ± standard deviation over seeds; the
    best figure of a row is bold. Baselines have no seed. The last row is the mean over dates,
    each date counting once however many users it has; its ± is over seeds.
    """
    return "\n\n".join(_table(f"{name}, {task}", runs, mask)
                       for (name, task), runs in by_task(summaries).items() for mask in masks)


def _table(place: str, runs: Sequence[Summary], mask: str) -> str:
    dates = sorted({run["logical_date"] for run in runs})
    seeds = sorted({run["seeds"]["train"] for run in runs})
    known = {(run["logical_date"], run["seeds"]["train"]): map_of(run, mask) for run in runs}
    missing = [(date, seed) for date in dates for seed in seeds if (date, seed) not in known]
    if missing:
        raise ValueError(f"{place}: dates do not have the same seeds; no run of {missing}. Run them, "
                         f"or leave the seed out of the files given")
    models = [model for split, model in known[dates[0], seeds[0]] if split == "test"]
    # A cube [dates, seeds, models] of test MAP.
    cube = np.array([[[known[date, seed]["test", model]["mean"] for model in models] for seed in seeds]
                     for date in dates])
    order = np.argsort(-cube.mean((0, 1)), kind="stable")
    head = f"| {place}, mask {mask} (k = {runs[0]['verdict']['k']}), logical date | users | " + " | ".join(
        models[column] for column in order) + " |"
    lines = [head, "|---" * (len(models) + 2) + "|"]
    for row, date in enumerate(dates):
        users = known[date, seeds[0]]["test", models[0]]["num_users"]
        lines.append(f"| {date[:10]} | {users} | {_cells(cube[row][:, order])} |")
    if len(dates) > 1:
        lines.append(f"| mean |  | {_cells(cube.mean(0)[:, order])} |")
    return "\n".join(lines)


def _cells(values: np.ndarray) -> str:
    """Of [seeds, models], the largest mean in bold."""
    best = int(values.mean(0).argmax())
    cells = [mean_and_spread(over) for over in values.T]
    cells[best] = f"**{cells[best]}**"
    return " | ".join(cells)


if __name__ == "__main__":
    print(tables([json.loads(Path(path).read_text()) for path in sys.argv[1:]]))
