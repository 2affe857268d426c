"""Nearest items of a large catalogue: finding the edge of each row against sorting all that go together.

Both sides run in one process on the same counts, those of a made-up shop (``generated.py``), and must agree.
Counting itself, a sparse matrix product, is the same for both and is given apart.

    python -m benchmarks.item_pairs [--items 20000] [--events 2000000] [--neighbors 80]
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.generated import generate
from model_core.priors.co_counts import CoCounts
from model_core.priors.co_interaction import nearest
from model_core.priors.neighbors import NearestItems


def by_sorting(counts: CoCounts, num_neighbors: int) -> NearestItems:
    """The same as ``nearest``: all pairs of items that go together are put in order."""
    known, number, neighbors, cosines = counts.item, [], [], []
    for first, block in counts.blocks():
        row = np.repeat(np.arange(block.shape[0]), np.diff(block.indptr))
        column = block.indices.astype(np.int64)
        other = column != row + first
        row, column = row[other], column[other]
        root = np.sqrt(counts.num_users).astype(np.float32)
        cosine = block.data[other] / (root[row + first] * root[column])
        order = np.lexsort((column, -cosine, row))
        row, column, cosine = row[order], column[order], cosine[order]
        kept = np.arange(len(row)) - np.searchsorted(row, row) < num_neighbors
        number.append(np.bincount(row[kept], minlength=block.shape[0]))
        neighbors.append(known[column[kept]].astype(np.int32))
        cosines.append(cosine[kept])
    each = np.concatenate(number)
    return NearestItems(known[each > 0], np.concatenate([[0], np.cumsum(each[each > 0])]),
                        np.concatenate(neighbors), np.concatenate(cosines))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--items", type=int, default=20_000)
    parser.add_argument("--events", type=int, default=2_000_000)
    parser.add_argument("--neighbors", type=int, default=80)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        graph, split = generate(Path(folder), num_items=args.items, num_events=args.events,
                                num_users=max(args.events // 40, 1))
        interactions = graph.interactions

        def seconds(function):
            began = time.process_time()
            result = function()
            return time.process_time() - began, result

        read_s, counts = seconds(lambda: CoCounts.until(interactions, graph.num_entities, split.val_time))
        count_s, entries = seconds(lambda: sum(block.nnz for _, block in counts.blocks()))
        edge_s, found = seconds(lambda: nearest(lambda time: counts, 0, args.neighbors))
        sort_s, expected = seconds(lambda: by_sorting(counts, args.neighbors))
    for one, other in zip(found, expected, strict=True):
        assert np.array_equal(one, other), "the sides disagree"
    print("| part | CPU seconds |\n|---|---|")
    print(f"| events to pairs of user and item | {read_s:.1f} |")
    print(f"| counting {entries:,} pairs of items (in both below) | {count_s:.1f} |")
    print(f"| relrec: the edge of each row | {edge_s:.1f} |")
    print(f"| straightforward: all pairs sorted | {sort_s:.1f} |")
    print(json.dumps({"ratio": round(sort_s / edge_s, 1)}))


if __name__ == "__main__":
    main()
