"""NegativeQueue: candidates to contrast positives with, drawn before training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from model_core.records import Record, open_record

KIND, SCHEMA_VERSION = "negative_queue", 1

#: Hardness tiers, easiest first.
TIERS = ("uniform", "popular", "hard")


@dataclass(frozen=True)
class NegativeQueue:
    """Opened queue record; arrays are memory-mapped.

    One bucket per distinct training seed time; a bucket knows only rows ≤ its time.

    Attributes:
        record: The record it was opened from.
        bucket_time: int64 [T], ascending seed times.
        candidate: int64 [T, Q], drawn item rows.
        tier: int8 [T, Q], index into TIERS.
        log_proposal: float32 [T, num_items], exact log-probability of each item under
            the bucket's proposal (the logQ of the correction).
        item_birth: int64 [num_items], the item's own time (UNTIMED if its table has none).
        item_first_seen: int64 [num_items], first interaction ≤ cutoff (int64 max if none).
        hard_neighbor: int64 [num_items, H], co-interaction neighbours ≤ cutoff, -1 padded.
        report: Popularity mix, coverage, false-negative rate and so on.
    """

    record: Record
    bucket_time: np.ndarray
    candidate: np.ndarray
    tier: np.ndarray
    log_proposal: np.ndarray
    item_birth: np.ndarray
    item_first_seen: np.ndarray
    hard_neighbor: np.ndarray
    report: Mapping[str, Any]

    ARRAYS = ("bucket_time", "candidate", "tier", "log_proposal", "item_birth",
              "item_first_seen", "hard_neighbor")

    @classmethod
    def open(cls, path: Path | str, verify: Literal["size", "digest"] = "size") -> NegativeQueue:
        record = open_record(path, KIND, SCHEMA_VERSION, verify)
        arrays = {name: np.load(record.file(f"{name}.npy"), mmap_mode="r", allow_pickle=False)
                  for name in cls.ARRAYS}
        return cls(record=record, report=record.meta["report"], **arrays)

    def bucket_of(self, time: np.ndarray) -> np.ndarray:
        """Newest bucket not later than each time (the first where none is), int64 [n]."""
        return np.maximum(np.searchsorted(self.bucket_time, time, side="right") - 1, 0)
