"""Markdown tables of finished runs: MAP beside the baselines over seeds, gains, time and memory.

    relrec run retrain --dataset DIR --task NAME --set train.seed=0 --json out.json
    python -m benchmarks.datasets out.json …
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

Summary = Mapping[str, Any]


def tables(summaries: Sequence[Summary]) -> str:
    """Quality, gains and costs; runs of one dataset and task, with several seeds, share rows.

    Figures are MAP at the task's k without a mask, mean ± standard deviation over seeds.
    Baselines have no seed.
    """
    quality = ["| dataset, task | model | val MAP | test MAP | seeds |", "|---|---|---|---|---|"]
    gains = ["| dataset | seed | val MAP | test MAP | test interval | best baseline | paired gain "
             "| interval |",
             "|---|---|---|---|---|---|---|---|"]
    costs = ["| dataset | step | seconds | peak MB |", "|---|---|---|---|"]
    for (name, task), runs in by_task(summaries).items():
        quality += _quality(f"{name}, {task}", runs)
        gains += [_gain(name, run) for run in runs]
        for number, step in enumerate(runs[0]["steps"]):
            wall, peak = ([run["steps"][number][key] for run in runs] for key in ("wall_s", "peak_mb"))
            costs.append(f"| {name} | {step['name']} | {np.median(wall):.1f} | {max(peak):,.0f} |")
    return "\n".join([*quality, "", *gains, "", *costs])


def by_task(summaries: Sequence[Summary]) -> dict[tuple[str, str], list[Summary]]:
    """Runs of the same dataset, by its name, and task."""
    groups: dict[tuple[str, str], list[Summary]] = {}
    for summary in summaries:
        groups.setdefault((Path(summary["dataset"]).name, summary["task"]), []).append(summary)
    return groups


def map_of(run: Summary, mask: str = "none") -> dict[tuple[str, str], Mapping[str, Any]]:
    """(split, model) to its row of metrics: MAP at the task's k."""
    return {(row["split"], row["model"]): row for row in run["metrics"]
            if (row["mask"], row["metric"], row["k"]) == (mask, "map", run["verdict"]["k"])}


def _quality(place: str, runs: Sequence[Summary]) -> list[str]:
    known = [map_of(run) for run in runs]
    mean = {model: np.mean([values["test", model]["mean"] for values in known])
            for _, model in known[0]}
    lines = []
    for model in sorted(mean, key=lambda model: -mean[model]):
        bold = "**" if model == runs[0]["model"] else ""
        val, test = (mean_and_spread([values[split, model]["mean"] for values in known])
                     for split in ("val", "test"))
        seeds = ", ".join(str(run["seeds"]["train"]) for run in runs) if bold else ""
        lines.append(f"| {place} (k = {runs[0]['verdict']['k']}) | {bold}{model}{bold} | {val} "
                     f"| {test} | {seeds} |")
    return lines


def _gain(name: str, run: Summary) -> str:
    verdict, values = run["verdict"], map_of(run)
    val, test = values["val", run["model"]], values["test", run["model"]]
    return (f"| {name} | {run['seeds']['train']} | {val['mean']:.4f} | {test['mean']:.4f} "
            f"| {test['ci_low']:.4f} to {test['ci_high']:.4f} | {verdict['best_baseline']} "
            f"| {verdict['gain']:+.4f} | {verdict['gain_ci_low']:+.4f} to {verdict['gain_ci_high']:+.4f} |")


def mean_and_spread(values: Sequence[float] | np.ndarray) -> str:
    """Mean and, where it is not zero, the standard deviation."""
    spread = np.std(values, ddof=1) if len(values) > 1 else 0.0
    return f"{np.mean(values):.4f}" + (f" ± {spread:.4f}" if spread > 5e-5 else "")


if __name__ == "__main__":
    print(tables([json.loads(Path(path).read_text()) for path in sys.argv[1:]]))
