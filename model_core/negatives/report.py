"""What is in a negative queue: its popularity mix, coverage and false negatives."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from model_core.negatives.proposals import Proposal
from model_core.split.seeds import SeedTable

#: (row, positive) pairs on which hard neighbours are checked.
MAX_HARD_PAIRS = 20_000


@dataclass
class ReportBuilder:
    """Gathers the report bucket by bucket, so that no [T, num_items] array is held.

    Attributes:
        train: Training rows; their items are the positives.
        row_bucket: int64 [n], bucket of every training row.
        decile: int64 [num_items], 0 = the most popular tenth of the catalogue.
        buckets: One JSON object per bucket so far.
    """

    train: SeedTable
    row_bucket: np.ndarray
    decile: np.ndarray
    buckets: list[dict[str, Any]] = field(default_factory=list)
    _share: np.ndarray = field(default_factory=lambda: np.zeros(10))
    _drawn: np.ndarray | None = None
    _born: np.ndarray | None = None
    _false_expected: float = 0.0
    _false_measured: float = 0.0

    def add(
        self, time: int, proposal: Proposal, candidate: np.ndarray, is_popular: np.ndarray
    ) -> None:
        """Take in one bucket's proposal and its candidates."""
        bucket = len(self.buckets)
        num_items = len(proposal.born)
        drawn = np.bincount(candidate, minlength=num_items)
        rows = np.flatnonzero(self.row_bucket == bucket)
        positive = self.train.take(rows).item
        expected = float(proposal.probability[positive].sum())
        measured = float(drawn[positive].sum() / len(candidate))
        self._false_expected += expected
        self._false_measured += measured
        self._share += np.bincount(self.decile[candidate], minlength=10)
        self._drawn = drawn > 0 if self._drawn is None else self._drawn | (drawn > 0)
        self._born = proposal.born if self._born is None else self._born | proposal.born
        p = proposal.probability[proposal.probability > 0]
        entropy = float(-(p * np.log(p)).sum())
        self.buckets.append({
            "time": time,
            "num_train_rows": len(rows),
            "num_born": int(proposal.born.sum()),
            "num_unborn_excluded": int(num_items - proposal.born.sum()),
            "num_with_popularity": int((proposal.popular > 0).sum()),
            "entropy_nats": entropy,
            "effective_items": float(np.exp(entropy)),
            "coverage": float((drawn > 0).sum() / proposal.born.sum()),
            "uniform_share": float(1 - is_popular.mean()),
            "false_negative_rate_expected": expected / max(len(rows), 1),
            "false_negative_rate_measured": measured / max(len(rows), 1),
        })

    def finish(self, hard_neighbor: np.ndarray, notes: dict[str, Any]) -> dict[str, Any]:
        """The whole report as JSON values.

        Args:
            hard_neighbor: int64 [num_items, H].
            notes: What the build left out, for example dropped buckets.
        """
        assert self._drawn is not None, "no bucket was added"
        assert self._born is not None
        num_rows = max(len(self.train), 1)
        uniform = float(np.mean([bucket["uniform_share"] for bucket in self.buckets]))
        return {
            "num_buckets": len(self.buckets),
            "num_train_rows": len(self.train),
            "popularity_decile_share": (self._share / self._share.sum()).tolist(),
            "coverage": float(self._drawn.sum() / self._born.sum()),
            "tier_share": {"uniform": uniform, "popular": 1 - uniform},
            "false_negative_rate_expected": self._false_expected / num_rows,
            "false_negative_rate_measured": self._false_measured / num_rows,
            "hard_coverage": float((hard_neighbor >= 0).any(axis=1).mean()),
            "hard_false_negative_rate": _hard_false_negative_rate(self.train, hard_neighbor),
            "buckets": self.buckets,
            **notes,
        }


def popularity_decile(count: np.ndarray) -> np.ndarray:
    """Tenth of the catalogue that each item is in, 0 = most interactions; ties by item row."""
    rank = np.empty(len(count), dtype=np.int64)
    rank[np.argsort(-count, kind="stable")] = np.arange(len(count))
    return rank * 10 // max(len(count), 1)


def _hard_false_negative_rate(train: SeedTable, hard_neighbor: np.ndarray) -> float:
    """Share of a positive's hard neighbours that are positives of the same row."""
    num_items = len(hard_neighbor)
    row = np.repeat(np.arange(len(train)), np.diff(train.item_ptr))
    positives = row * num_items + train.item  # ascending: rows in order, items sorted
    step = max(-(-len(row) // MAX_HARD_PAIRS), 1)
    near = hard_neighbor[train.item[::step]]
    key = row[::step, None] * num_items + near
    place = np.minimum(np.searchsorted(positives, key), len(positives) - 1)
    valid = near >= 0
    return float(((positives[place] == key) & valid).sum() / max(valid.sum(), 1))
