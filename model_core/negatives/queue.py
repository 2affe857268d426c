"""NegativeQueue: from what to draw the items that positives are contrasted with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from model_core.records import Record, open_record

KIND, SCHEMA_VERSION = "negative_queue", 2

#: Hardness tiers, easiest first.
TIERS = ("uniform", "popular", "hard")


@dataclass(frozen=True)
class NegativeQueue:
    """Opened queue record; arrays are memory-mapped.

    A bucket stands for a training seed time and knows only rows ≤ that time. What grows
    with the catalogue is one number per item, not one per item and bucket.

    Attributes:
        record: The record it was opened from.
        bucket_time: int64 [T], ascending seed times.
        num_born: int64 [T], items born by then; they come first in ``item_order``.
        uniform_fraction: float64 [T], weight of the uniform part of the proposal; 1 where
            nothing has been interacted with yet.
        popular_ptr: int64 [T + 1], a bucket's part of the next two arrays.
        popular_item: int32 [n], items of the popular part, ascending within a bucket.
        popular_cumulative: float64 [n], bucket number plus cumulative probability within
            the popular part.
        item_order: int32 [num_items], items by birth, then by row.
        item_birth: int64 [num_items], the item's own time (UNTIMED if its table has none).
        item_first_seen: int64 [num_items], first interaction ≤ cutoff (int64 max if none).
        hard_item: int64 [h], ascending, items that have co-interaction neighbours.
        hard_neighbor: int32 [h, H], their neighbours ≤ cutoff, -1 padded.
        candidate: int32 [T, Q], a sample of each bucket's proposal, to look at and to
            measure; training draws anew at every step.
        tier: int8 [T, Q], index into TIERS.
        report: Popularity mix, coverage, false-negative rate and so on.
    """

    record: Record
    bucket_time: np.ndarray
    num_born: np.ndarray
    uniform_fraction: np.ndarray
    popular_ptr: np.ndarray
    popular_item: np.ndarray
    popular_cumulative: np.ndarray
    item_order: np.ndarray
    item_birth: np.ndarray
    item_first_seen: np.ndarray
    hard_item: np.ndarray
    hard_neighbor: np.ndarray
    candidate: np.ndarray
    tier: np.ndarray
    report: Mapping[str, Any]

    ARRAYS = ("bucket_time", "num_born", "uniform_fraction", "popular_ptr", "popular_item",
              "popular_cumulative", "item_order", "item_birth", "item_first_seen", "hard_item",
              "hard_neighbor", "candidate", "tier")

    @classmethod
    def open(cls, path: Path | str, verify: Literal["size", "digest"] = "size") -> NegativeQueue:
        record = open_record(path, KIND, SCHEMA_VERSION, verify)
        arrays = {name: np.load(record.file(f"{name}.npy"), mmap_mode="r", allow_pickle=False)
                  for name in cls.ARRAYS}
        return cls(record=record, report=record.meta["report"], **arrays)

    def bucket_of(self, time: np.ndarray) -> np.ndarray:
        """Newest bucket not later than each time (the first where none is), int64 [n]."""
        return np.maximum(np.searchsorted(self.bucket_time, time, side="right") - 1, 0)
