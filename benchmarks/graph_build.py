"""Seconds to turn tables into a graph: relrec against the straightforward way.

The straightforward side reads the tables with pandas, encodes columns one by one over
all rows (text: scikit-learn's hashing over every row), and finds edges by a merge of
each foreign key with its target table, both directions, sorted by time; its graph stays
in memory as PyG's HeteroData. relrec's side also checks the digests of its inputs, fits
statistics on the past alone, finds the interactions, and writes a checksummed record.
(relbench's own builder needs pytorch-frame, which relrec does not; it is not run here.)

Each run is a process of its own, so that peak memory counts, and imports on first use.

    python -m benchmarks.graph_build [--dataset DIR --task NAME]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.prepared import add_arguments, folder_of, peak_mb, prepare


def build_relrec(folder: Path) -> None:
    from model_core.config import GraphConfig
    from model_core.graph.build import build_graph
    from model_core.split.seeds import Split
    from model_core.tables.snapshot import Snapshot

    snapshot = Snapshot.open(folder / "snapshot", verify="digest")
    split = Split.open(folder / "split", verify="digest")
    with tempfile.TemporaryDirectory(dir=folder) as out:
        build_graph(snapshot, split, GraphConfig(), Path(out) / "graph")


def build_straightforward(folder: Path) -> None:
    import numpy as np
    import pandas as pd
    import torch
    from sklearn.feature_extraction.text import HashingVectorizer
    from torch_geometric.data import HeteroData

    from model_core.tables.snapshot import Snapshot

    snapshot, data = Snapshot.open(folder / "snapshot"), HeteroData()
    frames = {name: pd.read_parquet(snapshot.record.file(f"db/{name}.parquet"))
              for name in snapshot.tables}
    hasher = HashingVectorizer(n_features=64)
    for name, table in snapshot.tables.items():
        frame, parts = frames[name], []
        frame["_row"] = np.arange(len(frame))
        frame["_time"] = frame[table.time_col] if table.time_col else pd.Timestamp(0)
        for column, kind in table.columns.items():
            if kind == "number":
                values = frame[column].astype("float64")
                values = ((values - values.mean()) / (values.std() or 1.0)).fillna(0.0)
                parts.append(values.to_numpy(np.float32)[:, None])
            elif kind == "boolean" or (kind == "string" and frame[column].nunique() <= 1_000):
                parts.append(frame[column].astype("category").cat.codes.to_numpy(np.float32)[:, None])
            elif kind == "string":
                parts.append(hasher.transform(frame[column].fillna("")).toarray().astype(np.float32))
        x = np.concatenate(parts, axis=1) if parts else np.zeros((len(frame), 0), np.float32)
        data[name].x, data[name].time = torch.from_numpy(x), torch.from_numpy(
            frame["_time"].astype("int64").to_numpy().copy())
    for name, table in snapshot.tables.items():
        for column, target in table.fkeys.items():
            there = frames[target][["_row", "_time"]].rename(
                columns={"_row": "_target", "_time": "_target_time"})
            here = frames[name][["_row", "_time", column]].dropna(subset=[column])
            edges = here.merge(there, left_on=column, right_on="_target")
            pairs = {(name, column, target): ("_row", "_target", "_time"),
                     (target, f"rev_{column}", name): ("_target", "_row", "_target_time")}
            for edge_type, (source, destination, when) in pairs.items():
                ordered = edges.sort_values([destination, when])
                data[edge_type].edge_index = torch.from_numpy(
                    ordered[[source, destination]].to_numpy(np.int64).T.copy())


SIDES = {"relrec": build_relrec, "straightforward": build_straightforward}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add_arguments(parser)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--side", choices=list(SIDES), help="Build once and print the costs.")
    args = parser.parse_args()
    if args.side:
        wall, cpu = time.perf_counter(), time.process_time()
        SIDES[args.side](folder_of(args))
        print(json.dumps([time.perf_counter() - wall, time.process_time() - cpu, peak_mb()]))
        return

    prepare(args)
    costs: dict[str, list[list[float]]] = {name: [] for name in SIDES}
    for _ in range(args.rounds):
        for name in SIDES:
            done = subprocess.run(
                [sys.executable, "-m", "benchmarks.graph_build", *sys.argv[1:], "--side", name],
                capture_output=True, text=True, check=True)
            costs[name].append(json.loads(done.stdout.splitlines()[-1]))
    middle = {name: sorted(values)[len(values) // 2] for name, values in costs.items()}
    for name, (wall, cpu, peak) in middle.items():
        print(f"{name:16s} {wall:7.2f} s {cpu:7.2f} CPU s {peak:8,.0f} MB")
    ratio = [slow / fast for slow, fast in
             zip(middle["straightforward"], middle["relrec"], strict=True)]
    print(f"ratio: {ratio[0]:.1f} ({ratio[1]:.1f} by CPU seconds)")
    print(json.dumps({"dataset": args.dataset or "demo shop", "wall_s_cpu_s_peak_mb": middle}))


if __name__ == "__main__":
    main()
