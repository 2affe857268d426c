"""Full softmax, queue and uniform negatives: validation MAP after equal training time.

All sides are the same model on the same rows; they differ in what a positive is
contrasted with: the whole catalogue, C classes drawn from the queue's proposals (with the
logQ correction), or C classes drawn uniformly. A short run of each side tells how long
its step takes; then each trains for as many steps as fit into the given seconds, so that
schedules end where the time does. Preparing steps counts, validation does not. Figures
are on validation rows.

    python -m benchmarks.negatives DIR … [--seconds 60] [--num-classes 512] [--seeds 0 1 2]

where DIR holds the records ``graph`` and ``split`` of a run, or is ``made-up:ITEMS:EVENTS``, a
generated shop (``generated.py``) of the size at which a catalogue has to be sampled.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.generated import generate
from benchmarks.prepared import work_like_a_step
from model_core.config import RunConfig, parse_overrides
from model_core.evaluation.validation import map_validator
from model_core.graph.temporal_graph import TemporalGraph
from model_core.negatives.build import build_negative_queue
from model_core.split.seeds import Split
from model_core.training.progress import SilentProgress, StepEvent
from model_core.training.run import Scorer
from model_core.training.trainer import train

#: Side to its settings.
SIDES = {
    "full softmax": ["train.loss=full"],
    "queue": ["train.loss=sampled"],
    "uniform": ["train.loss=sampled", "queue.uniform_fraction=1.0"],
}
MADE_UP = "made-up:"
CLOCKS: dict[str, Callable[[], float]] = {"wall": time.perf_counter, "cpu": time.process_time}


class TimeUp(Exception):
    """The training time is over."""


class Stopwatch(SilentProgress):
    """Seconds spent on training steps; ends the run when they are over.

    Attributes:
        spent_s: Between the end of the first step and that of the newest, without validation.
        num_steps: Steps that ``spent_s`` covers.
        steps_per_epoch: As the trainer says.
        curve: ``(seconds, validation MAP)`` so far.
    """

    def __init__(self, limit_s: float, num_epochs: int, clock: Callable[[], float]) -> None:
        self.limit_s, self.num_epochs, self.clock = limit_s, num_epochs, clock
        self.spent_s, self.num_steps, self.steps_per_epoch = 0.0, 0, 0
        self.curve: list[tuple[float, float]] = []
        self._last: float | None = None

    def step(self, event: StepEvent) -> None:
        now = self.clock()
        self.steps_per_epoch = event.total_steps // self.num_epochs
        if self._last is not None:
            self.spent_s += now - self._last
            self.num_steps += 1
        self._last = now
        if self.spent_s > self.limit_s:
            raise TimeUp

    def around(self, validate: Callable[[Scorer], float]) -> Callable[[Scorer], float]:
        """The same validation, noted here and not timed."""

        def noted(scorer: Scorer) -> float:
            value = validate(scorer)
            self.curve.append((self.spent_s, value))
            self._last = self.clock()
            return value

        return noted


def run_side(
    graph: TemporalGraph[np.ndarray], split: Split, config: RunConfig, limit_s: float,
    clock: Callable[[], float], folder: Path,
) -> Stopwatch:
    """Train until the time is over or all epochs are done."""
    watch = Stopwatch(limit_s, config.train.epochs, clock)
    queue = build_negative_queue(split, graph, config.queue, config.train.seed, folder / "queue")
    with contextlib.suppress(TimeUp):
        train(graph, split, queue, config.model, config.train, folder / "checkpoint",
              validate=watch.around(map_validator(split, config.train)), progress=watch)
    return watch


def open_dataset(name: str, folder: Path) -> tuple[TemporalGraph[np.ndarray], Split]:
    """Records of a run, or a generated shop whose split goes into ``folder``."""
    if not name.startswith(MADE_UP):
        return TemporalGraph.open(Path(name) / "graph"), Split.open(Path(name) / "split")
    num_items, num_events = map(int, name.removeprefix(MADE_UP).split(":"))
    return generate(folder, num_items=num_items, num_events=num_events,
                    num_users=max(num_events // 10, 1_000), num_val_rows=1_000)


def compare(
    name: str, graph: TemporalGraph[np.ndarray], split: Split, seconds: float, num_validations: int,
    num_classes: int, seed: int, settings: list[str], clock: Callable[[], float],
) -> list[dict[str, Any]]:
    """All sides on one dataset with one seed."""
    rows = []
    for side, own in SIDES.items():
        base = [*settings, *own, f"train.num_classes={num_classes}", f"train.seed={seed}",
                "train.patience=1000", "train.refit=false"]
        with tempfile.TemporaryDirectory() as folder:
            first = run_side(graph, split, parse_overrides([*base, "train.epochs=1"]), seconds / 8,
                             clock, Path(folder) / "first")
            step_s = first.spent_s / max(first.num_steps, 1)
            num_steps = max(int(seconds / max(step_s, 1e-3)), num_validations)
            per_epoch = min(-(-num_steps // num_validations), first.steps_per_epoch)
            config = parse_overrides([*base, f"train.epochs={max(num_steps // per_epoch, 1)}",
                                      f"train.max_steps_per_epoch={per_epoch}"])
            watch = run_side(graph, split, config, 1.25 * seconds, clock, Path(folder) / "whole")
        values = [value for _, value in watch.curve]
        rows.append({
            "dataset": name, "num_items": graph.num_items, "seed": seed, "side": side,
            "num_classes": None if config.train.loss == "full" else num_classes,
            "num_steps": watch.num_steps, "step_ms": watch.spent_s / max(watch.num_steps, 1) * 1e3,
            "seconds": watch.spent_s, "last_map": values[-1], "best_map": max(values),
            "curve": watch.curve,
        })
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    """Means over seeds; the last figure and the best along the way."""
    lines = ["| dataset | items | side | C | ms per step | steps | seconds | val MAP at the end | best |",
             "|---|---|---|---|---|---|---|---|---|"]
    for dataset, side in dict.fromkeys((row["dataset"], row["side"]) for row in rows):
        own = [row for row in rows if (row["dataset"], row["side"]) == (dataset, side)]
        mean = {key: np.mean([row[key] for row in own])
                for key in ("step_ms", "num_steps", "seconds", "last_map", "best_map")}
        spread = f" ± {np.std([row['last_map'] for row in own], ddof=1):.4f}" if len(own) > 1 else ""
        lines.append(
            f"| {dataset} | {own[0]['num_items']:,} | {side} | {own[0]['num_classes'] or 'all'} "
            f"| {mean['step_ms']:.0f} | {mean['num_steps']:.0f} | {mean['seconds']:.0f} "
            f"| {mean['last_map']:.4f}{spread} | {mean['best_map']:.4f} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("datasets", nargs="+", metavar="DIR")
    parser.add_argument("--seconds", type=float, default=60.0, help="Training time of each side.")
    parser.add_argument("--clock", choices=CLOCKS, default="wall",
                        help="cpu: processor time of all threads, for a machine shared with others.")
    parser.add_argument("--validations", type=int, default=4)
    parser.add_argument("--num-classes", type=int,
                        help="C; by default half the catalogue, at least 32. Below the number of a batch's "
                             "positives nothing is drawn, and queue and uniform are the same.")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--set", nargs="*", default=[], metavar="SECTION.KEY=VALUE",
                        help="Settings of all sides.")
    parser.add_argument("--json", type=Path, help="Where to write all figures.")
    args = parser.parse_args()
    work_like_a_step(args.threads)
    rows = []
    for dataset in args.datasets:
        with tempfile.TemporaryDirectory() as folder:
            graph, split = open_dataset(dataset, Path(folder))
            name = dataset if dataset.startswith(MADE_UP) else Path(dataset).name
            for seed in args.seeds:
                rows += compare(name, graph, split, args.seconds, args.validations,
                                args.num_classes or max(graph.num_items // 2, 32), seed, args.set,
                                CLOCKS[args.clock])
    print(table(rows))
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
