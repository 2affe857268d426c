"""Cost and quality of sampled-softmax training as the catalogue, the classes and the events grow.

Every point generates a shop, builds its queue and trains the same number of steps through
``train``, validation and resume state included, in a process of its own, so that its peak
memory is its own. Three series: classes C, catalogue size and events; the other two stay
fixed; and one point at which all three are large. What is expected: time per step grows
with C alone; memory with the catalogue (an item row is three vectors: itself and two
moments) and with the events. Time is given twice: by the clock, and as processor time
of all threads, which other work on a shared machine disturbs less.

    python -m benchmarks.scale --out results [--series classes items events] [--largest 10000000]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.charts import grid
from benchmarks.generated import generate
from benchmarks.prepared import work_like_a_step
from model_core.config import RunConfig, parse_overrides
from model_core.evaluation.validation import map_validator
from model_core.negatives.build import build_negative_queue
from model_core.training.loop import peak_mb
from model_core.training.progress import SilentProgress, StepEvent
from model_core.training.trainer import train

#: Steps left out of the timing: memory is touched and threads start in the first ones.
NUM_WARM_UP = 5
SERIES = {
    "classes": [4_096, 16_384, 65_536, 262_144, 1_000_000],
    "items": [10_000, 100_000, 1_000_000, 10_000_000],
    "events": [1_000_000, 3_000_000, 10_000_000, 20_000_000],
    "together": [1],
}


@dataclass(frozen=True)
class Point:
    """One measurement: what is varied, and the three sizes."""

    series: str
    num_items: int = 1_000_000
    num_events: int = 1_000_000
    num_classes: int = 16_384


def points_of(series: str, largest: int) -> list[Point]:
    """One series; ``together`` is the single point at which all is large."""
    if series == "together":
        return [Point(series, 10_000_000, 10_000_000, 1_000_000)] if largest >= 10**7 else []
    return [Point(series, **{f"num_{series}": value})
            for value in SERIES[series] if value <= largest]


class Clock(SilentProgress):
    """Notes when each step was done, by the clock and in processor time."""

    def __init__(self) -> None:
        self.at: list[float] = []
        self.spent: list[float] = []

    def step(self, event: StepEvent) -> None:
        self.at.append(time.perf_counter())
        self.spent.append(time.process_time())


def run_config(point: Point, args: argparse.Namespace) -> RunConfig:
    """Settings of one point: a small network, because the item side is what is measured."""
    return parse_overrides([
        "train.loss=sampled", f"train.num_classes={point.num_classes}", "train.epochs=1", "train.refit=false",
        f"train.batch_size={args.batch_size}", f"train.max_steps_per_epoch={args.steps}",
        f"train.learning_rate={args.learning_rate}", f"train.device={args.device}",
        f"model.channels={args.channels}", f"model.embedding_dim={args.embedding_dim}",
        "model.encoder_blocks=1", f"model.num_neighbors={args.num_neighbors}", *args.set,
    ])


def measure(point: Point, args: argparse.Namespace) -> dict[str, Any]:
    """One point, in this process."""
    work_like_a_step(args.threads)
    with tempfile.TemporaryDirectory(dir=args.work) as name:
        folder, began = Path(name), time.perf_counter()
        graph, split = generate(
            folder, num_items=point.num_items, num_events=point.num_events,
            num_users=max(point.num_events // 10, 1_000), num_rows=args.steps * args.batch_size,
            num_val_rows=args.val_rows)
        generated, before = time.perf_counter(), time.process_time()
        config = run_config(point, args)
        queue = build_negative_queue(split, graph, config.queue, 0, folder / "queue")
        queue_s = time.process_time() - before
        data_mb, built = peak_mb(), time.perf_counter()
        clock = Clock()
        checkpoint = train(
            graph, split, queue, config.model, config.train, folder / "checkpoint",
            state_dir=folder / "state", progress=clock,
            validate=map_validator(split, config.train))
        done = time.perf_counter()
        step_s, cpu_s = (np.diff(times)[NUM_WARM_UP:] for times in (clock.at, clock.spent))
        return asdict(point) | {
            "step_ms": float(np.median(step_s)) * 1e3, "cpu_ms": float(np.mean(cpu_s)) * 1e3,
            "num_steps": len(clock.at),
            "peak_mb": peak_mb(), "data_mb": data_mb,
            "table_mb": 3 * 4 * point.num_items * args.embedding_dim / 2**20,
            "loss": checkpoint.curves[-1]["loss"], "val_map": checkpoint.curves[-1]["val_map"],
            "num_val_rows": len(split.val), "num_train_rows": len(split.train),
            "num_sold_items": len(np.unique(graph.interactions.item)),
            "generate_s": generated - began, "queue_s": queue_s,
            "queue_mb": sum(e["bytes"] for e in queue.record.files.values()) / 2**20,
            "train_s": clock.at[-1] - built, "end_s": done - clock.at[-1],
        }


def table(rows: list[dict[str, Any]]) -> str:
    """All points as Markdown, a block per series."""
    lines = ["| varied | items | events | C | ms per step | CPU ms | peak GB | of it item table | val MAP@10 "
             "| queue built, CPU s | queue, MB |", "|---|---|---|---|---|---|---|---|---|---|---|"]
    for row in rows:
        lines.append(
            f"| {row['series']} | {row['num_items']:,} | {row['num_events']:,} "
            f"| {row['num_classes']:,} | {row['step_ms']:,.0f} | {row['cpu_ms']:,.0f} "
            f"| {row['peak_mb'] / 1024:.2f} | {row['table_mb'] / 1024:.2f} | {row['val_map']:.4f} "
            f"| {row['queue_s']:.1f} | {row['queue_mb']:,.0f} |")
    return "\n".join(lines)


def growth(rows: list[dict[str, Any]]) -> str:
    """How much each series grew from its first to its last point."""
    lines = []
    for series in SERIES:
        points = [row for row in rows if row["series"] == series]
        if len(points) > 1:
            first, last = points[0], points[-1]
            name = f"num_{series}"
            ratios = ", ".join(
                f"{what} × {last[key] / first[key]:.2f}"
                for what, key in (
                    ("time per step", "step_ms"), ("CPU time per step", "cpu_ms"),
                    ("peak memory", "peak_mb"), ("CPU time of the queue", "queue_s")))
            lines.append(f"{series} × {last[name] / first[name]:g}: {ratios}")
    return "\n".join(lines)


def plot(rows: list[dict[str, Any]]) -> str:
    """A row of panels per series: time, memory, quality."""
    panels = []
    for series in SERIES:
        points = [row for row in rows if row["series"] == series]
        if len(points) > 1:
            panels.append([
                (title, series, [(row[f"num_{series}"], row[key] * scale) for row in points])
                for title, key, scale in (
                    ("CPU ms per step", "cpu_ms", 1.0), ("peak memory, GB", "peak_mb", 1 / 1024),
                    ("validation MAP@10", "val_map", 1.0))
            ])
    return grid(panels)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("build/scale"))
    parser.add_argument("--series", nargs="+", choices=SERIES, default=list(SERIES))
    parser.add_argument("--largest", type=int, default=10**8, help="Leave out larger values.")
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--val-rows", type=int, default=500)
    parser.add_argument("--channels", type=int, default=32)
    parser.add_argument("--embedding-dim", type=int, default=64)
    parser.add_argument("--num-neighbors", type=int, default=16)
    parser.add_argument("--learning-rate", type=float, default=0.01)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"])
    parser.add_argument("--set", nargs="*", default=[], metavar="SECTION.KEY=VALUE",
                        help="Further settings of the model and of training.")
    parser.add_argument("--work", type=Path, help="Where temporary files go; needs 20 GB at the most.")
    parser.add_argument("--point", type=json.loads, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.point is not None:
        print(json.dumps(measure(Point(**args.point), args)))
        return

    args.out.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    for series in args.series:
        for point in points_of(series, args.largest):
            sizes = {key: value for key, value in asdict(point).items() if key != "series"}
            same = [row for row in rows if sizes.items() <= row.items()]
            if same:  # the series cross: one measurement serves both
                rows.append(same[0] | {"series": series})
                continue
            found = subprocess.run(
                [sys.executable, "-m", "benchmarks.scale", *sys.argv[1:],
                 "--point", json.dumps(asdict(point))],
                stdout=subprocess.PIPE, text=True, check=False,
                env=os.environ | {"OMP_NUM_THREADS": str(args.threads)})
            if found.returncode:
                print(f"{point}: failed with exit status {found.returncode}", file=sys.stderr)
                continue
            rows.append(json.loads(found.stdout.splitlines()[-1]))
            print(table(rows[-1:]).splitlines()[-1], flush=True)
    machine = {"processor": platform.processor() or platform.machine(), "cores": os.cpu_count(),
               "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
               "torch": str(torch.__version__), "python": platform.python_version()}
    settings = {name: value for name, value in vars(args).items()
                if name not in ("out", "work", "point")}
    (args.out / "scale.json").write_text(
        json.dumps({"machine": machine, "settings": settings, "points": rows}, indent=1))
    (args.out / "scale.md").write_text(table(rows) + "\n")
    if any(sum(row["series"] == series for row in rows) > 1 for series in SERIES):  # a point is no line
        (args.out / "scale.svg").write_text(plot(rows))
    print("\n" + table(rows) + "\n\n" + growth(rows))


if __name__ == "__main__":
    main()
