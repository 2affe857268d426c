"""Build the negative queue from training rows only."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from model_core.config import QueueConfig
from model_core.errors import DataError
from model_core.graph.temporal_graph import TemporalGraph
from model_core.negatives.drawing import Proposals
from model_core.negatives.hard import co_interaction_neighbors
from model_core.negatives.proposals import decayed_popularity, popular_part
from model_core.negatives.queue import KIND, SCHEMA_VERSION, TIERS, NegativeQueue
from model_core.negatives.report import ReportBuilder
from model_core.records import write_record
from model_core.split.seeds import Split

#: Seed times that get a bucket of their own, at most (``_bucket_times``).
MAX_BUCKETS = 256
#: Entries of the popular parts of all buckets: 12 bytes each, on the training device.
MAX_POPULAR_ENTRIES = 80_000_000


def build_negative_queue(
    split: Split, graph: TemporalGraph[np.ndarray], config: QueueConfig, seed: int, out: Path
) -> NegativeQueue:
    """Write down the proposals of every training seed time, and a sample of each.

    A bucket at time t knows interactions ≤ t and items born ≤ t, nothing later. Only
    training rows are read from the split. Seed times at which no item is born have
    nothing to draw and get no bucket; of very many seed times, or of a very large
    catalogue's, every k-th gets one. Time and size grow with the events and, once, with
    the catalogue: not with their product.

    Args:
        split: Its training rows and train cutoff are used.
        graph: Interactions and item times.
        config: Queue settings.
        seed: Seed of the sample; the same inputs and seed give the same record.
        out: Where the record goes.

    Returns:
        The opened queue.

    Raises:
        DataError: No training rows, or no item born at any seed time.
    """
    birth = np.asarray(graph.node_time[graph.item_table])
    past = int(np.searchsorted(graph.interactions.time, split.train_cutoff, side="right"))
    events = np.asarray(graph.interactions.item[:past]), np.asarray(graph.interactions.time[:past])
    first_seen = np.full(graph.num_items, np.iinfo(np.int64).max)
    np.minimum.at(first_seen, *events)
    bucket_time, notes = _bucket_times(split, birth, np.maximum(first_seen, birth))
    hard_item, hard_neighbor = co_interaction_neighbors(
        graph.interactions, graph.num_entities, split.train_cutoff, config.num_hard)

    with write_record(out, KIND, SCHEMA_VERSION) as (folder, meta):
        arrays = {
            "bucket_time": bucket_time,
            "item_order": np.argsort(birth, kind="stable").astype(np.int32),
            "item_birth": birth,
            "num_born": np.searchsorted(np.sort(birth), bucket_time, side="right"),
            **_popular_parts(*events, first_seen, birth, bucket_time, config, folder),
        }
        proposals = Proposals.from_arrays(arrays)
        candidate, tier = _sample(proposals, config.size, seed)
        report = ReportBuilder(
            split.train, np.maximum(np.searchsorted(
                bucket_time, split.train.time, side="right") - 1, 0),
            np.bincount(events[0], minlength=graph.num_items),
        )
        for bucket in range(len(bucket_time)):
            report.add(proposals, bucket, candidate[bucket], tier[bucket])
        arrays |= {
            "item_first_seen": first_seen, "hard_item": hard_item, "hard_neighbor": hard_neighbor,
            "candidate": candidate, "tier": tier,
        }
        for name, array in arrays.items():
            if not (folder / f"{name}.npy").exists():  # the long ones are there already
                np.save(folder / f"{name}.npy", array, allow_pickle=False)
        meta.update(
            report=report.finish(hard_item, hard_neighbor, notes), config=config.model_dump(),
            seed=seed, num_items=graph.num_items, train_cutoff=split.train_cutoff,
        )
    return NegativeQueue.open(out)


def _popular_parts(
    item: np.ndarray, time: np.ndarray, first_seen: np.ndarray, birth: np.ndarray,
    bucket_time: np.ndarray, config: QueueConfig, folder: Path,
) -> dict[str, np.ndarray]:
    """The popular part of every bucket; the two long arrays are written as they are made."""
    known, code = np.unique(item, return_inverse=True)
    available = np.maximum(first_seen, birth)[known]
    ptr = np.concatenate([[0], np.cumsum([(available <= t).sum() for t in bucket_time])])
    items, cumulative = (
        np.lib.format.open_memmap(
            folder / f"{name}.npy", mode="w+", dtype=dtype, shape=(int(ptr[-1]),))
        for name, dtype in (("popular_item", np.int32), ("popular_cumulative", np.float64)))
    uniform_fraction = np.full(len(bucket_time), config.uniform_fraction)
    decayed = decayed_popularity(code, time, len(known), bucket_time, config.half_life_days)
    for bucket, popularity in enumerate(decayed):
        there = available <= bucket_time[bucket]
        place = slice(ptr[bucket], ptr[bucket + 1])
        items[place] = known[there]
        part = popular_part(popularity[there], config.popularity_exponent)
        if part is None:
            uniform_fraction[bucket] = 1.0
            part = np.zeros(ptr[bucket + 1] - ptr[bucket])
        cumulative[place] = bucket + np.minimum(np.cumsum(part), 1.0)
        if uniform_fraction[bucket] < 1:
            cumulative[ptr[bucket + 1] - 1] = bucket + 1.0  # whatever rounding says
    items.flush()
    cumulative.flush()
    return {"popular_ptr": ptr, "popular_item": items, "popular_cumulative": cumulative,
            "uniform_fraction": uniform_fraction}


def _sample(proposals: Proposals, size: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """``size`` draws of every bucket and their tiers, int32 and int8 [T, Q]."""
    candidate = np.empty((proposals.num_buckets, size), dtype=np.int32)
    tier = np.empty((proposals.num_buckets, size), dtype=np.int8)
    generator = torch.Generator().manual_seed(seed)
    for bucket in range(proposals.num_buckets):
        item, is_popular = proposals.draw(torch.full((size,), bucket), generator)
        candidate[bucket] = item.numpy()
        tier[bucket] = np.where(is_popular.numpy(), TIERS.index("popular"), TIERS.index("uniform"))
    return candidate, tier


def _bucket_times(
    split: Split, birth: np.ndarray, available: np.ndarray
) -> tuple[np.ndarray, dict[str, Any]]:
    """Seed times that get a bucket, ascending, and what was left out.

    Where not all of them fit, every k-th one counted back from the newest, and the oldest,
    so that no row needs a bucket later than itself.
    """
    if len(split.train) == 0:
        raise DataError("split, training rows", "at least one", "none",
                        "widen the task's time range or keep more training windows")
    times = np.unique(split.train.time)
    peopled = times[times >= birth.min(initial=np.iinfo(np.int64).max)]
    if len(peopled) == 0:
        raise DataError(f"item table {split.item_table!r}",
                        "an item born before the last seed time",
                        f"none up to second {times[-1]}", "check the item table's time column")
    entries = np.searchsorted(np.sort(available), peopled, side="right")
    kept = np.arange(len(peopled))
    step = 1
    while len(kept) > 2 and (
            len(kept) > MAX_BUCKETS or entries[kept].sum() > MAX_POPULAR_ENTRIES):
        step += 1
        kept = np.union1d([0], np.arange(len(peopled) - 1, -1, -step))
    return peopled[kept], {
        "num_seed_times": len(times),
        "num_seed_times_without_items": len(times) - len(peopled),
        "num_seed_times_without_own_bucket": len(peopled) - len(kept),
    }
