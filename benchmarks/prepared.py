"""Records of a dataset for benchmarks: the real one where it is given, else the demo shop."""

from __future__ import annotations

import argparse
import resource
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from model_core.allocator import keep_freed_memory
from model_core.config import GraphConfig, QueueConfig, SplitConfig
from model_core.graph.build import build_graph
from model_core.graph.temporal_graph import TemporalGraph
from model_core.negatives.build import build_negative_queue
from model_core.negatives.queue import NegativeQueue
from model_core.split.seeds import Split
from model_core.split.temporal import temporal_split
from model_core.tables.demo import DEMO_TASK, write_demo_dataset
from model_core.tables.ingest import ingest
from model_core.tables.snapshot import Snapshot

#: Size of the demo shop here: about as many event rows as a real small retailer has.
DEMO_SCALE = 8.0


@dataclass(frozen=True)
class Prepared:
    """What the steps before training write."""

    snapshot: Snapshot
    split: Split
    graph: TemporalGraph[np.ndarray]
    queue: NegativeQueue


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """``--dataset``, ``--task`` and ``--work``."""
    parser.add_argument("--dataset", help="A RelBench-v3 folder; the demo shop when unset.")
    parser.add_argument("--task", default=DEMO_TASK)
    parser.add_argument("--work", type=Path, default=Path("runs/bench"),
                        help="Where records are kept; what is there is used again.")


def add_work_arguments(parser: argparse.ArgumentParser, threads: int = 2) -> None:
    """``--fan-out``, ``--batch-size`` and ``--threads``."""
    parser.add_argument("--fan-out", type=int, nargs="+", default=[128, 64, 32])
    parser.add_argument("--batch-size", type=int, default=512)
    parser.add_argument("--threads", type=int, default=threads)


def work_like_a_step(threads: int) -> None:
    """Threads and allocator of this process as a pipeline step has them; it serves all sides."""
    torch.set_num_threads(threads)
    keep_freed_memory()


def peak_mb() -> float:
    """Most memory that this process has held, in MB.

    Not ``ru_maxrss`` where Linux knows better: a child process inherits its parent's.
    """
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return float(line.split()[1]) / 2**10
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def folder_of(args: argparse.Namespace) -> Path:
    """Where the records of a dataset and task are kept."""
    return args.work / (f"demo-{DEMO_SCALE:g}" if args.dataset is None else
                        f"{Path(args.dataset).name}-{args.task}")


def prepare(args: argparse.Namespace) -> Prepared:
    """Make the records of ``--dataset`` and ``--task``, or open them."""
    folder = folder_of(args)
    if not (folder / "queue" / "manifest.json").exists():
        folder.mkdir(parents=True, exist_ok=True)
        dataset = args.dataset or str(
            write_demo_dataset(folder / "shop", scale=DEMO_SCALE))
        snapshot = ingest(dataset, args.task, folder / "snapshot")
        split = temporal_split(snapshot, SplitConfig(), folder / "split")
        graph = build_graph(snapshot, split, GraphConfig(), folder / "graph")
        build_negative_queue(split, graph, QueueConfig(), 0, folder / "queue")
    return Prepared(Snapshot.open(folder / "snapshot"), Split.open(folder / "split"),
                    TemporalGraph.open(folder / "graph"), NegativeQueue.open(folder / "queue"))
