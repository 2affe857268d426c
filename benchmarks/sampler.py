"""Seeds per second of the vectorised sampler against its slow Python reference.

Both sides run in one process on the same seeds. Without ``--graph`` a synthetic graph
of a retailer's shape is used (customers <- invoices <- lines -> products), so that no
dataset is needed.

    python benchmarks/sampler.py [--graph DIR] [--batch-size 512] [--threads 2]
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch

from model_core.graph.adjacency import time_sorted_adjacency
from model_core.graph.temporal_graph import (
    UNTIMED,
    Interactions,
    Relation,
    TableColumns,
    TemporalGraph,
)
from model_core.sampling.batches import make_batch
from model_core.sampling.neighbors import sample
from model_core.sampling.reference import reference_sample
from model_core.serving.batches import make_batch as make_batch_numpy
from model_core.serving.sampler import sample as sample_numpy

DAY = 86_400


def retail_graph(seed: int = 0) -> TemporalGraph[np.ndarray]:
    """4,300 customers, 25,000 invoices, 390,000 lines and 4,000 products, skewed as shops are."""
    rng = np.random.default_rng(seed)
    num = {"customers": 4_300, "invoices": 25_000, "lines": 390_000, "products": 4_000}

    def skewed(size: int, upto: int, exponent: float) -> np.ndarray:
        weight = np.arange(1, upto + 1) ** -exponent
        return rng.permutation(upto)[rng.choice(upto, size, p=weight / weight.sum())]

    invoice_time = np.sort(rng.integers(0, 700 * DAY, num["invoices"]))
    invoice = np.sort(skewed(num["lines"], num["invoices"], 0.4))
    times = {"invoices": invoice_time, "lines": invoice_time[invoice]}
    fkeys = [
        ("invoices", "customer_id", "customers", skewed(num["invoices"], num["customers"], 0.6)),
        ("lines", "invoice_id", "invoices", invoice),
        ("lines", "product_id", "products", skewed(num["lines"], num["products"], 0.7)),
    ]
    node_time = {t: times.get(t, np.full(n, UNTIMED)).astype(np.int64) for t, n in num.items()}
    adjacency = {}
    for table, column, target, values in fkeys:
        rows = np.arange(num[table])
        adjacency[Relation(table, f"{table}.{column}", target)] = time_sorted_adjacency(
            rows, values, node_time[table], num[target])
        adjacency[Relation(target, f"rev_{table}.{column}", table)] = time_sorted_adjacency(
            values, rows, node_time[target], num[table])
    columns = {
        t: TableColumns(rng.standard_normal((n, 8)).astype(np.float32),
                        np.zeros((n, 1), np.int64), np.zeros((n, 0), np.float32), (1,), (), (), ())
        for t, n in num.items()
    }
    none = np.zeros(0, np.int64)
    return TemporalGraph(num, node_time, adjacency, columns, Interactions(none, none, none),
                         "customers", "products", 3, 700 * DAY, 700 * DAY)


def seconds(function, repeats: int) -> float:
    """Median wall time of a call, after one warm-up."""
    took = []
    for _ in range(repeats + 1):
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        start = time.perf_counter()
        function()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        took.append(time.perf_counter() - start)
    return float(np.median(took[1:]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--graph", type=Path, help="A graph record instead of the synthetic graph.")
    parser.add_argument("--batch-size", type=int, default=512)
    parser.add_argument("--fan-out", type=int, nargs="+", default=[128, 64, 32])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)

    graph = retail_graph() if args.graph is None else TemporalGraph.open(args.graph)
    tensors = graph.to_torch(args.device)
    rng = np.random.default_rng(1)
    seeds = rng.integers(0, graph.num_entities, args.batch_size)
    seed_time = np.full(args.batch_size, graph.last_time - 30 * DAY, dtype=np.int64)
    seeds_t, time_t = (torch.from_numpy(x).to(args.device) for x in (seeds, seed_time))
    generator = torch.Generator().manual_seed(0)

    subgraph = sample(tensors, seeds_t, time_t, args.fan_out)
    few = min(args.batch_size, 64)  # the reference is slow; its time per seed does not depend on B
    sides = {
        "reference, last": (few, lambda: reference_sample(
            graph, seeds[:few], seed_time[:few], args.fan_out), 1),
        "vectorised, last": (args.batch_size, lambda: sample(
            tensors, seeds_t, time_t, args.fan_out), args.repeats),
        "vectorised, uniform": (args.batch_size, lambda: sample(
            tensors, seeds_t, time_t, args.fan_out, strategy="uniform", generator=generator),
            args.repeats),
        "numpy, last": (args.batch_size, lambda: sample_numpy(
            graph, seeds, seed_time, args.fan_out), args.repeats),
        "make_batch": (args.batch_size, lambda: make_batch(tensors, subgraph), args.repeats),
        "numpy, last + make_batch": (args.batch_size, lambda: make_batch_numpy(
            graph, sample_numpy(graph, seeds, seed_time, args.fan_out)), args.repeats),
    }
    rows = {}
    for name, (num_seeds, function, repeats) in sides.items():
        took = seconds(function, repeats)
        rows[name] = {"wall_s": round(took, 5), "seeds_per_s": round(num_seeds / took, 1)}
        print(f"{name:24s} {took * 1e3 * args.batch_size / num_seeds:10.1f} ms per batch"
              f" {num_seeds / took:12,.0f} seeds/s", flush=True)
    ratio = rows["vectorised, last"]["seeds_per_s"] / rows["reference, last"]["seeds_per_s"]
    print(json.dumps({
        "batch_size": args.batch_size, "fan_out": args.fan_out, "threads": args.threads,
        "device": args.device,
        "num_nodes": sum(len(node) for node in subgraph.node.values()),
        "num_edges": sum(len(src) for src, _ in subgraph.edge.values()),
        "sides": rows, "ratio": round(ratio, 1),
    }))


if __name__ == "__main__":
    main()
