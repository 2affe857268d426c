"""A Markdown table of finished runs: MAP of the model beside the baselines, time and memory.

    relrec run retrain --dataset DIR --task NAME --json out.json
    python -m benchmarks.datasets out.json …
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any


def table(summaries: list[dict[str, Any]]) -> str:
    """One block of rows per run; figures are MAP at the task's k without a mask."""
    lines = ["| dataset, task | model | val MAP | test MAP | test interval |", "|---|---|---|---|---|"]
    costs = ["| dataset | step | seconds | peak MB |", "|---|---|---|---|"]
    for summary in summaries:
        name, k = Path(summary["dataset"]).name, summary["verdict"]["k"]
        value = {(row["split"], row["model"]): row for row in summary["metrics"]
                 if (row["mask"], row["metric"], row["k"]) == ("none", "map", k)}
        models = sorted({model for _, model in value}, key=lambda m: -value["test", m]["mean"])
        for model in models:
            test, bold = value["test", model], "**" if model == summary["model"] else ""
            lines.append(
                f"| {name}, {summary['task']} (k = {k}) | {bold}{model}{bold} "
                f"| {value['val', model]['mean']:.4f} | {test['mean']:.4f} "
                f"| {test['ci_low']:.4f} to {test['ci_high']:.4f} |")
        costs += [f"| {name} | {step['name']} | {step['wall_s']:.1f} | {step['peak_mb']:,.0f} |"
                  for step in summary["steps"]]
    return "\n".join([*lines, "", *costs])


if __name__ == "__main__":
    print(table([json.loads(Path(path).read_text()) for path in sys.argv[1:]]))
