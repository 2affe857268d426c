"""Build the negative queue from training rows only."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from model_core.config import QueueConfig
from model_core.errors import DataError
from model_core.graph.temporal_graph import TemporalGraph
from model_core.negatives.hard import co_interaction_neighbors
from model_core.negatives.proposals import decayed_popularity, log_probability, make_proposal
from model_core.negatives.queue import KIND, SCHEMA_VERSION, TIERS, NegativeQueue
from model_core.negatives.report import ReportBuilder, popularity_decile
from model_core.records import write_record
from model_core.split.seeds import Split

#: Newest seed times that get a bucket; older rows use the oldest bucket (``bucket_of``).
MAX_BUCKETS = 64
#: Largest log-probability table. It is kept whole on the training device.
MAX_TABLE_BYTES = 4 * 10**9


def build_negative_queue(
    split: Split, graph: TemporalGraph[np.ndarray], config: QueueConfig, seed: int, out: Path
) -> NegativeQueue:
    """Draw negative candidates for every training seed time, with exact probabilities.

    A bucket at time t knows interactions ≤ t and items born ≤ t, nothing later. Only
    training rows are read from the split. Of more than 64 seed times, or more than a
    4 GB table holds, the newest are kept. Seed times at which no item is born have
    nothing to draw and get no bucket.

    Args:
        split: Its training rows and train cutoff are used.
        graph: Interactions and item times.
        config: Queue settings.
        seed: Seed of the draws; the same inputs and seed give the same record.
        out: Where the record goes.

    Returns:
        The opened queue.

    Raises:
        DataError: No training rows, no item born at any seed time, or a catalogue of
            which not even one bucket fits.
    """
    birth = np.asarray(graph.node_time[graph.item_table])
    bucket_time, notes = _bucket_times(split, birth)
    num_items, num_buckets = graph.num_items, len(bucket_time)
    rng = np.random.default_rng(seed)

    past = int(np.searchsorted(graph.interactions.time, split.train_cutoff, side="right"))
    item = np.asarray(graph.interactions.item[:past])
    first_seen = np.full(num_items, np.iinfo(np.int64).max)
    np.minimum.at(first_seen, item, np.asarray(graph.interactions.time[:past]))
    hard_neighbor = co_interaction_neighbors(
        graph.interactions, graph.num_entities, num_items, split.train_cutoff, config.num_hard)
    report = ReportBuilder(
        split.train,
        np.maximum(np.searchsorted(bucket_time, split.train.time, side="right") - 1, 0),
        popularity_decile(np.bincount(item, minlength=num_items)),
    )

    with write_record(out, KIND, SCHEMA_VERSION) as (folder, meta):
        candidate = np.empty((num_buckets, config.size), dtype=np.int64)
        tier = np.empty((num_buckets, config.size), dtype=np.int8)
        log_proposal = np.lib.format.open_memmap(
            folder / "log_proposal.npy", mode="w+", dtype=np.float32,
            shape=(num_buckets, num_items))
        popularity = decayed_popularity(
            graph.interactions, num_items, bucket_time, config.half_life_days)
        buckets = zip(bucket_time.tolist(), popularity, strict=True)
        for bucket, (time, decayed) in enumerate(buckets):
            proposal = make_proposal(
                decayed, birth <= time, config.popularity_exponent, config.uniform_fraction)
            log_proposal[bucket] = log_probability(proposal.probability)
            candidate[bucket], is_popular = proposal.draw(config.size, rng)
            tier[bucket] = np.where(is_popular, TIERS.index("popular"), TIERS.index("uniform"))
            report.add(time, proposal, candidate[bucket], is_popular)
        log_proposal.flush()
        del log_proposal
        for name, array in {
            "bucket_time": bucket_time, "candidate": candidate, "tier": tier, "item_birth": birth,
            "item_first_seen": first_seen, "hard_neighbor": hard_neighbor,
        }.items():
            np.save(folder / f"{name}.npy", array, allow_pickle=False)
        meta.update(
            report=report.finish(hard_neighbor, notes), config=config.model_dump(), seed=seed,
            num_items=num_items, train_cutoff=split.train_cutoff,
        )
    return NegativeQueue.open(out)


def _bucket_times(split: Split, birth: np.ndarray) -> tuple[np.ndarray, dict[str, Any]]:
    """Seed times that get a bucket, ascending, and what was left out."""
    if len(split.train) == 0:
        raise DataError("split, training rows", "at least one", "none",
                        "widen the task's time range or keep more training windows")
    times = np.unique(split.train.time)
    peopled = times[times >= birth.min(initial=np.iinfo(np.int64).max)]
    if len(peopled) == 0:
        raise DataError(f"item table {split.item_table!r}",
                        "an item born before the last seed time",
                        f"none up to second {times[-1]}", "check the item table's time column")
    row_bytes = 4 * len(birth)
    most = min(MAX_BUCKETS, MAX_TABLE_BYTES // row_bytes)
    if most == 0:
        raise DataError(f"item table {split.item_table!r}",
                        f"at most {MAX_TABLE_BYTES // 4:,} items for a log-probability table",
                        f"{len(birth):,} items",
                        "leave items without interactions out of the item table")
    return peopled[-most:], {
        "num_seed_times": len(times),
        "num_seed_times_without_items": len(times) - len(peopled),
        "num_seed_times_before_first_bucket": max(len(peopled) - most, 0),
    }
