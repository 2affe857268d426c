"""What is in a negative queue: its popularity mix, coverage and false negatives."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from model_core.negatives.drawing import Proposals
from model_core.negatives.queue import TIERS
from model_core.split.seeds import SeedTable

#: (row, positive) pairs on which hard neighbours are checked.
MAX_HARD_PAIRS = 20_000


@dataclass
class ReportBuilder:
    """Gathers the report bucket by bucket.

    Attributes:
        train: Training rows; their items are the positives.
        row_bucket: int64 [n], bucket of every training row.
        num_events: int64 [num_items], interactions of every item.
        buckets: One JSON object per bucket so far.
    """

    train: SeedTable
    row_bucket: np.ndarray
    num_events: np.ndarray
    buckets: list[dict[str, Any]] = field(default_factory=list)
    _share: np.ndarray = field(default_factory=lambda: np.zeros(10))
    _drawn: list[np.ndarray] = field(default_factory=list)
    _most_born: int = 0

    def __post_init__(self) -> None:
        self._decile = popularity_decile(self.num_events)

    def add(
        self, proposals: Proposals, bucket: int, candidate: np.ndarray, tier: np.ndarray
    ) -> None:
        """Take in one bucket's proposal and the sample of it, int [Q] each."""
        drawn, times = np.unique(candidate, return_counts=True)
        positive = self.train.take(np.flatnonzero(self.row_bucket == bucket)).item
        q = proposals.probability(bucket, torch.from_numpy(positive)).numpy()
        place = np.minimum(np.searchsorted(drawn, positive), len(drawn) - 1)
        hits = times[place] * (drawn[place] == positive)
        num_born = int(proposals.num_born[bucket])
        entropy = _entropy(proposals, bucket)
        num_rows = int((self.row_bucket == bucket).sum())
        self._share += np.bincount(self._decile[candidate], minlength=10)
        self._drawn.append(drawn)
        self._most_born = max(self._most_born, num_born)
        self.buckets.append({
            "time": int(proposals.bucket_time[bucket]),
            "num_train_rows": num_rows,
            "num_born": num_born,
            "num_unborn_excluded": len(proposals.item_order) - num_born,
            "num_with_popularity": int(
                proposals.popular_ptr[bucket + 1] - proposals.popular_ptr[bucket]),
            "entropy_nats": entropy,
            "effective_items": float(np.exp(entropy)),
            "coverage": len(drawn) / num_born,
            "uniform_share": float((tier == TIERS.index("uniform")).mean()),
            "false_negative_rate_expected": float(q.sum()) / max(num_rows, 1),
            "false_negative_rate_measured": float(hits.sum()) / len(candidate) / max(num_rows, 1),
        })

    def finish(
        self, hard_item: np.ndarray, hard_neighbor: np.ndarray, notes: dict[str, Any]
    ) -> dict[str, Any]:
        """The whole report as JSON values.

        Args:
            hard_item: int64 [h], items with hard neighbours.
            hard_neighbor: int32 [h, H].
            notes: What the build left out, for example seed times without a bucket.
        """
        assert self.buckets, "no bucket was added"
        num_rows = max(len(self.train), 1)
        uniform = float(np.mean([bucket["uniform_share"] for bucket in self.buckets]))
        false_negatives = {
            f"false_negative_rate_{kind}": sum(
                bucket[f"false_negative_rate_{kind}"] * bucket["num_train_rows"]
                for bucket in self.buckets) / num_rows
            for kind in ("expected", "measured")}
        return {
            "num_buckets": len(self.buckets),
            "num_train_rows": len(self.train),
            "popularity_decile_share": (self._share / self._share.sum()).tolist(),
            "coverage": len(np.unique(np.concatenate(self._drawn))) / self._most_born,
            "tier_share": {"uniform": uniform, "popular": 1 - uniform},
            **false_negatives,
            "hard_coverage": len(hard_item) / max(len(self.num_events), 1),
            "hard_false_negative_rate": _hard_false_negative_rate(
                self.train, hard_item, hard_neighbor, len(self.num_events)),
            "buckets": self.buckets,
            **notes,
        }


def popularity_decile(count: np.ndarray) -> np.ndarray:
    """Tenth of the catalogue that each item is in, 0 = most interactions; ties by item row."""
    rank = np.empty(len(count), dtype=np.int64)
    rank[np.argsort(-count, kind="stable")] = np.arange(len(count))
    return rank * 10 // max(len(count), 1)


def _entropy(proposals: Proposals, bucket: int) -> float:
    """Entropy of a bucket's proposal in nats; the items without events all weigh the same."""
    first, end = (int(bound) for bound in proposals.popular_ptr[bucket : bucket + 2])
    num_born = int(proposals.num_born[bucket])
    q = proposals.probability(bucket, proposals.popular_item[first:end].long()).numpy()
    each = float(proposals.uniform_fraction[bucket]) / num_born
    return float(-(q * np.log(q)).sum() - (num_born - len(q)) * each * np.log(each))


def _hard_false_negative_rate(
    train: SeedTable, hard_item: np.ndarray, hard_neighbor: np.ndarray, num_items: int
) -> float:
    """Share of a positive's hard neighbours that are positives of the same row."""
    if not len(hard_item):
        return 0.0
    row = np.repeat(np.arange(len(train)), np.diff(train.item_ptr))
    positives = row * num_items + train.item  # ascending: rows in order, items sorted
    step = max(-(-len(row) // MAX_HARD_PAIRS), 1)
    row, item = row[::step], train.item[::step]
    at = np.minimum(np.searchsorted(hard_item, item), len(hard_item) - 1)
    near = np.where((hard_item[at] == item)[:, None], hard_neighbor[at].astype(np.int64), -1)
    key = row[:, None] * num_items + near
    place = np.minimum(np.searchsorted(positives, key), len(positives) - 1)
    valid = near >= 0
    return float(((positives[place] == key) & valid).sum() / max(valid.sum(), 1))
