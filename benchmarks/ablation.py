"""What each mechanism of the model is worth: one row per change, seeds paired, on validation rows.

    python -m benchmarks.ablation --datasets DIR:TASK DIR:TASK --seeds 0 1 2 [--rows NAME …]
        [--cache DIR] [--out benchmarks/ablation.md] [--with-test] [--earlier]

Snapshot, split, graph and queue are built once per dataset under ``--cache``. Every finished
run adds one line to ``<cache>/runs.jsonl``; what is there already is not done again, so the
command can be stopped at any time and given more rows or seeds later. Runs go seed by
seed, so that what is there is comparable at any time. The table is written after every run.

Rows are chosen on validation. ``--with-test`` adds test figures of the same checkpoints; it is
meant for the final table, once. ``--earlier`` does everything one window earlier: the last
training window validates and the validation rows are tested on. That tells, without the test
rows, what a choice is worth beyond the window it was made on; the refit can be judged no other
way. Without either the refit is left out, for validation figures come before it.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from benchmarks.ablation_table import markdown
from components._images import code_digest
from model_core.config import RunConfig, parse_overrides
from model_core.errors import ArtifactError, ConfigError
from model_core.evaluation.validation import map_validator, mean_metric
from model_core.graph.build import build_graph
from model_core.graph.temporal_graph import TemporalGraph
from model_core.negatives.build import build_negative_queue
from model_core.negatives.queue import NegativeQueue
from model_core.records import json_bytes
from model_core.split.seeds import Split
from model_core.split.temporal import temporal_split
from model_core.tables.fingerprint import source_fingerprint
from model_core.tables.ingest import ingest
from model_core.tables.snapshot import Snapshot
from model_core.training.checkpoint import Checkpoint
from model_core.training.progress import SilentProgress
from model_core.training.trainer import train

DEFAULT = "default"

#: Row to what it says in the table and the settings that differ from the default.
ROWS: dict[str, tuple[str, tuple[str, ...]]] = {
    DEFAULT: ("the preset as it is", ()),
    # Claims of the ContextGNN paper: both scores together are better than either.
    "fusion: replace": ("the pair score takes the place of the tower's, as the authors do",
                        ("model.fusion=replace",)),
    "pair only": ("no tower: elsewhere one learned bias per item", ("model.use_tower=false",)),
    "tower only": ("no pair score", ("model.use_pair=false",)),
    "two_tower": ("GraphSAGE two-tower: no pair score, no pair prior", ("model.name=two_tower",)),
    # The same without the pair prior: what the graph does by itself.
    "graph alone": ("no pair prior", ("model.use_priors=false",)),
    "graph alone, replace": ("no pair prior, fusion as the authors do",
                             ("model.use_priors=false", "model.fusion=replace")),
    "graph alone, pair only": ("no pair prior, no tower",
                               ("model.use_priors=false", "model.use_tower=false")),
    # Depth; unset it is the schema's distance from user to item.
    "layers: 2": ("two hops", ("model.num_layers=2",)),
    "layers: 3": ("three hops", ("model.num_layers=3",)),
    "layers: 4": ("four hops", ("model.num_layers=4",)),
    # Item vectors of the tower.
    "item vectors: lookup": ("learned vector alone", ("model.item_vectors=lookup",)),
    "item vectors: feature": ("columns alone", ("model.item_vectors=feature",)),
    "item vectors: fusion": ("both", ("model.item_vectors=fusion",)),
    # Mechanisms that the paper does not have.
    "fusion: add": ("pair logits on top of the tower's, one softmax", ("model.fusion=add",)),
    "no far shift": ("the gate alone ranks the two groups", ("train.choose_far_shift=false",)),
    "pair score from the start": ("its weight starts at 1", ("model.pair_start=1",)),
    "no average": ("the weights of the epoch's end", ("train.average_decay=null",)),
    "large batches": ("512 rows however few there are", ("train.min_steps_per_epoch=1",)),
    "fewer popular candidates": ("none by popularity", ("model.num_popular=0",)),
    "no item-kNN": ("no candidates or features by item-kNN", ("model.num_similar=0",)),
    "no followers": ("no candidates or features by what users take after an item",
                     ("model.num_following=0",)),
    "no columns in priors": ("no features by what users alike take or the user's taste in columns",
                             ("model.prior_columns=false",)),
    "no values in priors": ("no features by the number columns of the user's events",
                            ("model.prior_values=false",)),
    "targets not apart": ("events of the labels' kind are not counted apart from others; only where there "
                          "are others", ("model.prior_targets=false",)),
    "one prior network": ("a single network in place of the mean of several", ("model.prior_networks=1",)),
    "no item bias": ("no learned logit per item", ("model.item_bias=false",)),
    "all rows alike": ("training rows do not fade with age", ("train.recency_half_life=null",)),
    "no refit": ("the weights from before it; only where a later window is measured too",
                 ("train.refit=false",)),
    "positives masked": ("a row's other positives are no negatives",
                         ("train.mask_known_positives=true",)),
}


class Run(NamedTuple):
    """One training: a row on a dataset with a seed."""

    dataset: Path
    task: str
    row: str
    seed: int
    settings: tuple[str, ...]
    earlier: bool = False

    @property
    def key(self) -> str:
        """What makes two runs the same: data and every setting that training can see.

        Rows that come to the same settings share a run; a changed default is another run.
        """
        config = self.config.model_dump(mode="json", exclude={"evaluate", "export"})
        return json.dumps([str(self.dataset), self.task, config, *["earlier"] * self.earlier],
                          sort_keys=True)

    @property
    def config(self) -> RunConfig:
        return parse_overrides([*self.settings, f"train.seed={self.seed}"])


def plan_runs(
    datasets: Sequence[tuple[Path, str]], rows: Sequence[str], seeds: Sequence[int],
    settings: Sequence[str], earlier: bool = False,
) -> list[Run]:
    """All runs, seed by seed; the default row first, because the others are compared with it.

    Raises:
        ConfigError: An unknown row, or a row whose settings are wrong.
    """
    for name in rows:
        if name not in ROWS:
            raise ConfigError(f"row {name!r}", f"one of {list(ROWS)}", repr(name), "name a known row")
    ordered = sorted(dict.fromkeys([DEFAULT, *rows]), key=list(ROWS).index)
    runs = [Run(dataset, task, row, seed, (*settings, *ROWS[row][1]), earlier)
            for seed in seeds for row in ordered for dataset, task in datasets]
    for run in runs:
        assert run.config
    return runs


class Prepared(NamedTuple):
    """What training reads."""

    graph: TemporalGraph[np.ndarray]
    split: Split
    queue: NegativeQueue


def prepare(run: Run, cache: Path) -> Prepared:
    """Build or open the records of a dataset; settings of earlier stages get records of their own."""
    dataset, task, config = str(run.dataset), run.task, run.config
    base = cache / f"{run.dataset.name}-{source_fingerprint(dataset, task)[:12]}"
    snapshot = _open_or(Snapshot, base / "snapshot", lambda out: ingest(dataset, task, out))
    base = base / _digest(config.split)
    split = _open_or(Split, base / "split", lambda out: temporal_split(snapshot, config.split, out))
    base = base / _digest(config.graph)
    graph = _open_or(TemporalGraph, base / "graph",
                     lambda out: build_graph(snapshot, split, config.graph, out))
    queue = _open_or(
        NegativeQueue, base / _digest(config.queue) / "queue",
        lambda out: build_negative_queue(split, graph, config.queue, 0, out))
    return Prepared(graph, one_window_earlier(split) if run.earlier else split, queue)


def one_window_earlier(split: Split) -> Split:
    """The last training window validates, the validation rows are the test rows."""
    last = int(split.train.time.max())
    kept, moved = (split.train.take(np.flatnonzero(rows))
                   for rows in (split.train.time < last, split.train.time == last))
    return replace(split, train=kept, val=moved, test=split.val, val_time=last,
                   test_time=split.val_time)


def _open_or(record: Any, path: Path, make: Any) -> Any:
    if path.exists():
        try:
            return record.open(path)
        except ArtifactError:
            pass  # another release of relrec wrote it
    path.parent.mkdir(parents=True, exist_ok=True)
    make(path)
    return record.open(path)


def _digest(section: Any) -> str:
    return hashlib.sha256(json_bytes(section.model_dump(mode="json"))).hexdigest()[:8]


def do(run: Run, cache: Path, with_test: bool) -> dict[str, Any]:
    """Train and measure; a row that the dataset does not allow is noted as such."""
    config = run.config
    key = run.key
    note: dict[str, Any] = {
        "key": key, "dataset": run.dataset.name, "task": run.task, "row": run.row,
        "seed": run.seed, "settings": list(run.settings), "code": code_digest()}
    prepared = prepare(run, cache)
    graph, split, queue = prepared
    note["locality"] = dict(split.locality.get("val", {}))
    name = hashlib.sha256(key.encode()).hexdigest()[:16] + "-" + code_digest()
    folder, state = cache / "checkpoints" / name, cache / "states" / name
    wall, cpu = time.perf_counter(), time.process_time()
    try:
        checkpoint = train(
            graph, split, queue, config.model, config.train, folder, state_dir=state,
            validate=map_validator(split, config.train), progress=SilentProgress())
    except ConfigError as error:
        return note | {"status": "not possible", "reason": str(error)}
    note |= {
        "status": "done", "checkpoint": str(folder), "val_map": checkpoint.meta["best_val_map"],
        "best_epoch": checkpoint.meta["best_epoch"], "epochs": checkpoint.meta["num_epochs"],
        "wall_s": round(time.perf_counter() - wall, 1), "cpu_s": round(time.process_time() - cpu, 1),
    }
    return note | _test_figure(note, prepared, config) if with_test else note


def _test_figure(note: Mapping[str, Any], prepared: Prepared, config: RunConfig) -> dict[str, Any]:
    """MAP of a kept checkpoint on test rows."""
    graph, split, _ = prepared
    checkpoint = Checkpoint.open(note["checkpoint"])
    return {"test_map": mean_metric(checkpoint.scorer(graph), split.test, split.num_items,
                                    k=split.eval_k, batch_size=config.evaluate.batch_size)}


def read_log(path: Path) -> dict[str, dict[str, Any]]:
    """Key to what is known of a run; a later line wins, a line cut off by a kill is left out."""
    found = {}
    for line in path.read_text().splitlines() if path.exists() else ():
        try:
            note = json.loads(line)
        except ValueError:
            continue
        found[note["key"]] = note
    return found


def append(path: Path, note: Mapping[str, Any]) -> None:
    """Add one line, on its own line even after a line that was cut off."""
    path.parent.mkdir(parents=True, exist_ok=True)
    torn = path.exists() and path.stat().st_size and not path.read_bytes().endswith(b"\n")
    with open(path, "a") as stream:
        stream.write(("\n" if torn else "") + json.dumps(note) + "\n")
        stream.flush()
        os.fsync(stream.fileno())


def ablate(runs: Sequence[Run], cache: Path, out: Path, with_test: bool) -> None:
    """Do what is missing, and write the table after every run."""
    log = cache / "runs.jsonl"
    known = read_log(log)
    for number, run in enumerate(runs, 1):
        note = known.get(run.key)
        if note is None:
            note = do(run, cache, with_test)
        elif with_test and note["status"] == "done" and "test_map" not in note:
            note = note | _test_figure(note, prepare(run, cache), run.config)
        if note is not known.get(run.key):
            append(log, note)
            known[run.key] = note
            value = f"val MAP {note['val_map']:.4f}, {note['cpu_s']:.0f} s of CPU" if (
                note["status"] == "done") else note["status"]
            print(f"{number}/{len(runs)} {run.dataset.name}, {run.row}, seed {run.seed}: {value}", flush=True)
        done = [known[each.key] | {"row": each.row} for each in runs if each.key in known]
        later = "next window" if run.earlier else "test"
        text = markdown(done, ROWS, DEFAULT, _provenance(done), later=later if with_test else None)
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(text)


def _provenance(notes: Iterable[Mapping[str, Any]]) -> str:
    """Machine, date, commit and how many versions of the code the runs are of."""
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True,
                            cwd=Path(__file__).parent, check=False).stdout.strip() or "unknown"
    codes = sorted({note["code"] for note in notes})
    return (f"Written {datetime.now(UTC):%Y-%m-%d}, commit {commit}, {os.cpu_count()} CPU cores "
            f"({platform.machine()}), torch {torch.__version__}, {torch.get_num_threads()} threads. "
            + (f"Digest of the code: {codes[0]}." if len(codes) == 1 else
               f"**The runs are of {len(codes)} versions of the code** ({', '.join(codes)})."))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--datasets", nargs="+", required=True, metavar="DIR:TASK")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--rows", nargs="+", default=list(ROWS), metavar="NAME",
                        help="; ".join(ROWS))
    parser.add_argument("--cache", type=Path, default=Path("runs/ablation"))
    parser.add_argument("--out", type=Path, default=Path("benchmarks/ablation.md"))
    parser.add_argument("--with-test", action="store_true", help="Test figures too: for the final table.")
    parser.add_argument("--earlier", action="store_true", help="All one window earlier, tested on val.")
    parser.add_argument("--threads", type=int, help="Of torch; by default as many as there are cores.")
    parser.add_argument("--set", nargs="*", default=[], metavar="SECTION.KEY=VALUE",
                        help="Settings of all rows.")
    args = parser.parse_args(arguments)
    if args.threads:
        torch.set_num_threads(args.threads)
    datasets = []
    for entry in args.datasets:
        folder, colon, task = entry.rpartition(":")
        if not colon:
            parser.error(f"--datasets {entry}: expected DIR:TASK")
        datasets.append((Path(folder).resolve(), task))
    try:
        later = args.with_test or args.earlier
        settings = [*args.set] if later else [*args.set, "train.refit=false"]
        runs = plan_runs(datasets, args.rows, args.seeds, settings, args.earlier)
        ablate(runs, args.cache, args.out, later)
    except ConfigError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
