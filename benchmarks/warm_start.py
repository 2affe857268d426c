"""What a warm start costs and keeps: one model a day, cold and warm, on the same windows.

    python -m benchmarks.warm_start --dataset DIR --task NAME --from 2011-11-26 --to 2011-12-09
        [--every-days 1] [--work runs/warm-start] [--out benchmarks/warm_start.md]
        [--set train.warm_epochs=2 …] [--threads 1] [--sides cold warm carried]

Every logical date is trained cold, and warm from the model of the date before, which began
the same way (the first one is cold). ``carried`` is that model of the date before, carried
over and not trained: what not retraining costs. All are measured by MAP at the task's k on the
test rows of the date, the whole catalogue, no mask. Seconds are processor seconds of training, with
its counting, validation and refit, and nothing else. The series always promotes, so that it
measures warm starts and not the gate.

Records lie under ``--work``. Every finished side of a date adds one line to
``<work>/runs.jsonl``; what is there already is not done again, so the command can be stopped
at any time. Table and plot are written after every line.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.ablation import append, read_log
from benchmarks.prepared import work_like_a_step
from benchmarks.warm_start_table import figures, markdown
from components._images import code_digest
from model_core.config import RunConfig, parse_overrides
from model_core.errors import ArtifactError, ConfigError
from model_core.evaluation.ranking import Scorer
from model_core.evaluation.validation import map_validator, mean_metric
from model_core.export.bundle import export_bundle
from model_core.graph.build import build_graph
from model_core.graph.temporal_graph import TemporalGraph
from model_core.logical_date import date_text, parse_as_of
from model_core.negatives.build import build_negative_queue
from model_core.negatives.queue import NegativeQueue
from model_core.split.seeds import Split
from model_core.split.temporal import temporal_split
from model_core.storage.champion import write_champion
from model_core.storage.registry import Registry
from model_core.tables.fingerprint import source_fingerprint
from model_core.tables.ingest import ingest
from model_core.training.checkpoint import Checkpoint
from model_core.training.progress import SilentProgress
from model_core.training.trainer import train
from model_core.training.transfer import champion_scorer

SIDES = ("cold", "warm", "carried")
#: Sections of the settings that a model's weights depend on.
SEEN = ("split", "graph", "queue", "model", "train")
DAY_S = 86_400


@dataclass(frozen=True)
class Series:
    """A dataset, the settings of all its models, and where their records are.

    Attributes:
        dataset, task: What is learned.
        settings: ``section.key=value``, beside the defaults.
        first: First date, UTC seconds: where the warm models descend from.
        every_days: From one date to the next.
        work: Folder.
    """

    dataset: str
    task: str
    settings: tuple[str, ...]
    first: int
    every_days: int
    work: Path

    @cached_property
    def config(self) -> RunConfig:
        return parse_overrides(self.settings)

    @cached_property
    def folder(self) -> Path:
        return self.work / f"{Path(self.dataset).name}-{source_fingerprint(self.dataset, self.task)[:12]}"

    def key(self, date: int, side: str) -> str:
        """What makes two runs the same; a warm one also depends on the line that it is of."""
        config = self.config.model_dump(mode="json", include=set(SEEN))
        if side == "cold":
            config["train"] = {name: value for name, value in config["train"].items()
                               if not name.startswith("warm_")}
        return json.dumps([str(self.folder.name), self.task, side, date,
                           None if side == "cold" else [self.first, self.every_days], config],
                          sort_keys=True)

    def trained(self, key: str) -> Path:
        """Where the checkpoint of a run is."""
        return self.folder / "trained" / hashlib.sha256(key.encode()).hexdigest()[:16]

    @cached_property
    def registry(self) -> Registry:
        name = hashlib.sha256(self.key(0, "warm").encode()).hexdigest()[:16]
        return Registry(self.folder / f"registry-{name}")


@dataclass(frozen=True)
class Dated:
    """What training reads at one logical date."""

    graph: TemporalGraph[np.ndarray]
    split: Split
    queue: NegativeQueue


def prepare(series: Series, date: int) -> Dated:
    """Build or open the records of a date."""
    base, config = series.folder / f"{datetime.fromtimestamp(date, UTC):%Y%m%dT%H%M%S}", series.config
    try:
        return Dated(TemporalGraph.open(base / "graph"), Split.open(base / "split"),
                     NegativeQueue.open(base / "queue"))
    except ArtifactError:
        snapshot = ingest(series.dataset, series.task, base / "snapshot", as_of=date)
    split = temporal_split(snapshot, config.split, base / "split")
    graph = build_graph(snapshot, split, config.graph, base / "graph")
    return Dated(graph, split, build_negative_queue(split, graph, config.queue, 0, base / "queue"))


def do(
    series: Series, date: int, side: str, cold: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Train one side of a date and measure it on the date's test rows.

    A warm line begins with the cold model of its first date, where that is finished.
    """
    data, note = prepare(series, date), {
        "key": series.key(date, side), "date": date, "side": side, "settings": list(series.settings),
        "code": code_digest()}
    champion = write_champion(series.registry, date, series.folder / "champion")
    if side == "carried":
        if champion.bundle_dir is None:
            return note | {"test_map": None}
        return note | _measured(champion_scorer(champion.bundle_dir, data.graph), data.split)
    if side == "warm" and champion.bundle_dir is None and cold is not None:
        _promote(series, date, data, Checkpoint.open(series.trained(cold["key"])))
        return dict(cold) | note | {"start": {"champion": None}}
    out = series.trained(note["key"])
    config = series.config.train.model_copy(
        update={"warm_start": "champion" if side == "warm" else "none"})
    wall, cpu = time.perf_counter(), time.process_time()
    trained = train(data.graph, data.split, data.queue, series.config.model, config, out,
                    champion=champion, validate=map_validator(data.split, config),
                    progress=SilentProgress())
    refit = trained.meta["refit"]
    note |= {
        "wall_s": round(time.perf_counter() - wall, 1), "cpu_s": round(time.process_time() - cpu, 1),
        "epochs": trained.meta["num_epochs"], "best_epoch": trained.meta["best_epoch"],
        "steps": trained.meta["num_steps"] + (refit["num_steps"] if refit else 0),
        "val_map": trained.meta["best_val_map"], "start": trained.meta["start"],
    }
    if side == "warm":
        _promote(series, date, data, trained)
    return note | _measured(trained.scorer(data.graph), data.split)


def _promote(series: Series, date: int, data: Dated, trained: Checkpoint) -> None:
    bundle = export_bundle(trained, data.graph, data.split, series.config.export, series.folder / "bundle")
    series.registry.publish(
        bundle.record.path, verdict={"promote": True, "reason": "a series promotes always"},
        logical_date=date_text(date), now=date,
        run_info={"dataset": Path(series.dataset).name, "task": series.task})


def _measured(scorer: Scorer, split: Split) -> dict[str, Any]:
    return {"test_map": mean_metric(scorer, split.test, split.num_items, k=split.eval_k),
            "test_users": int((np.diff(split.test.item_ptr) > 0).sum())}


def run_series(
    series: Series, dates: Sequence[int], sides: Sequence[str], out: Path
) -> list[Mapping[str, Any]]:
    """Do what is missing, date by date, and write table and plot after every side."""
    log = series.work / "runs.jsonl"
    known, done = read_log(log), []
    for date in dates:
        # The carried model is that of the date before, so it comes before today's is promoted.
        for side in sorted(sides, key=("carried", "cold", "warm").index):
            key = series.key(date, side)
            if key not in known:
                known[key] = do(series, date, side, known.get(series.key(date, "cold")))
                if known[key]["test_map"] is None:  # nothing to carry over, which may change yet
                    continue
                append(log, known[key])
                print(f"{datetime.fromtimestamp(date, UTC):%Y-%m-%d} {side}: "
                      + json.dumps({name: known[key].get(name) for name in (
                          "test_map", "val_map", "wall_s", "epochs", "best_epoch")}), flush=True)
            done.append(known[key])
            out.parent.mkdir(parents=True, exist_ok=True)
            out.write_text(markdown(done, series.settings, _provenance(), out.with_suffix(".svg").name))
            out.with_suffix(".svg").write_text(figures(done))
    return done


def _provenance() -> str:
    return (f"Written {datetime.now(UTC):%Y-%m-%d}, code {code_digest()}, {os.cpu_count()} CPU cores, "
            f"torch {torch.__version__}, {torch.get_num_threads()} thread(s).")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--task", required=True)
    parser.add_argument("--from", dest="first", required=True, metavar="DATE")
    parser.add_argument("--to", dest="last", required=True, metavar="DATE")
    parser.add_argument("--every-days", type=int, default=1)
    parser.add_argument("--work", type=Path, default=Path("runs/warm-start"))
    parser.add_argument("--out", type=Path, default=Path("benchmarks/warm_start.md"))
    parser.add_argument("--sides", nargs="+", choices=SIDES, default=list(SIDES))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--set", nargs="*", default=[], metavar="SECTION.KEY=VALUE")
    args = parser.parse_args(arguments)
    work_like_a_step(args.threads)
    try:
        first, last = (parse_as_of(text, required=True) for text in (args.first, args.last))
        assert first is not None
        assert last is not None
        series = Series(args.dataset, args.task, tuple(args.set), first, args.every_days, args.work)
        run_series(series, range(first, last + 1, args.every_days * DAY_S), args.sides, args.out)
    except ConfigError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
