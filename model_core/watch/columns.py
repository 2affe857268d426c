"""Statistics of one column, gathered batch by batch."""

from __future__ import annotations

import zlib
from collections import Counter
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from model_core.tables.snapshot import ColumnKind
from model_core.watch.drift import distance, divergence, sketch
from model_core.watch.statistics import NUM_BUCKETS, ColumnStatistics

#: Categories that are kept by name.
NUM_NAMED = 50
_MAX_NAME = 80


class Gatherer(Protocol):
    """Takes the known values of a column in batches, and says what they were."""

    def add(self, values: pa.Array) -> None:
        """More values, without nulls."""
        ...

    def result(self, rows: int, missing: int) -> ColumnStatistics:
        """What all of them were."""
        ...


def gatherer(kind: ColumnKind, max_categories: int, ages_from: int | None) -> Gatherer:
    """A new gatherer for a column.

    Args:
        kind: Its kind.
        max_categories: Most distinct strings that count as categories.
        ages_from: End of the recent period, for datetimes; None keeps them as they are.
    """
    if kind in ("string", "boolean"):
        return _Words(kind, max_categories)
    if kind in ("number", "datetime"):
        return _Numbers(kind, ages_from)
    return _Keys(kind)


class _Keys:
    """Keys and event times: only missing ones count, and for foreign keys how many there are."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.seen: np.ndarray = np.zeros(0, dtype=bool)

    def add(self, values: pa.Array) -> None:
        if self.kind == "fkey" and len(values):
            rows = values.to_numpy(zero_copy_only=False)
            if (top := int(rows.max()) + 1) > len(self.seen):
                self.seen = np.concatenate([self.seen, np.zeros(max(top - len(self.seen), top // 2), bool)])
            self.seen[rows] = True

    def result(self, rows: int, missing: int) -> ColumnStatistics:
        distinct = int(self.seen.sum()) if self.kind == "fkey" else None
        return ColumnStatistics(self.kind, rows, missing, distinct)


class _Numbers:
    def __init__(self, kind: str, ages_from: int | None) -> None:
        self.kind, self.ages_from = kind, ages_from
        self.parts: list[np.ndarray] = []

    def add(self, values: pa.Array) -> None:
        if self.kind == "datetime":
            seconds = values.cast(pa.int64()).to_numpy(zero_copy_only=False) / 1e6
            values = seconds if self.ages_from is None else self.ages_from - seconds
        else:
            # Not safe: whole numbers beyond 2**53, such as hashes, may lose their last digits.
            values = values.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
        self.parts.append(np.asarray(values, dtype=np.float64))

    def result(self, rows: int, missing: int) -> ColumnStatistics:
        values = np.sort(np.concatenate([np.zeros(0), *self.parts]))
        distinct = int((np.diff(values) > 0).sum()) + 1 if len(values) else 0
        return ColumnStatistics(
            self.kind, rows, missing, distinct,
            "ages" if self.kind == "datetime" and self.ages_from is not None else "numbers",
            sketch=tuple(sketch(values).tolist()))


class _Words:
    """Strings are categories, until there are too many of them; then only lengths count."""

    def __init__(self, kind: str, max_categories: int) -> None:
        self.kind, self.max_categories = kind, max_categories
        self.counts: Counter[str] | None = Counter()
        self.lengths: Counter[int] = Counter()

    def add(self, values: pa.Array) -> None:
        if self.kind == "boolean":
            values = pc.if_else(values, "true", "false")
        self.lengths.update(_counted(pc.utf8_length(values)))
        if self.counts is not None:
            self.counts.update(_counted(values))
            if len(self.counts) > self.max_categories:
                self.counts = None

    def result(self, rows: int, missing: int) -> ColumnStatistics:
        lengths = np.repeat(np.fromiter(self.lengths, dtype=np.float64, count=len(self.lengths)),
                            np.fromiter(self.lengths.values(), dtype=np.int64, count=len(self.lengths)))
        sketched = tuple(sketch(lengths).tolist())
        if self.counts is None:
            return ColumnStatistics(self.kind, rows, missing, None, "lengths", sketched)
        ordered = sorted(self.counts.items(), key=lambda entry: (-entry[1], entry[0]))
        buckets = [0] * NUM_BUCKETS
        for value, number in ordered:
            buckets[zlib.crc32(value.encode()) % NUM_BUCKETS] += number
        return ColumnStatistics(
            self.kind, rows, missing, len(ordered), "categories", sketched,
            tuple((_name(value), number) for value, number in ordered[:NUM_NAMED]), tuple(buckets))


def _counted(values: pa.Array) -> dict:
    counts = pc.value_counts(values)
    return dict(zip(counts.field("values").to_pylist(), counts.field("counts").to_pylist(), strict=True))


def _name(value: str) -> str:
    """The value, or its start with a checksum that keeps it apart from others."""
    if len(value) <= _MAX_NAME:
        return value
    return f"{value[:_MAX_NAME - 9]}…{zlib.crc32(value.encode()):08x}"


def drift_between(first: ColumnStatistics, second: ColumnStatistics) -> tuple[float, int]:
    """Drift of two columns that are compared in the same way, and the number of cells compared.

    Categories are compared by name where both sides name all of theirs, else by hash bucket,
    which can only hide drift, never add any. Numbers have no cells; 0 stands for them.
    """
    if first.measure == "categories" and second.measure == "categories":
        if all((column.distinct or 0) <= len(column.categories) for column in (first, second)):
            p, q = dict(first.categories), dict(second.categories)
            cells = sorted(p.keys() | q.keys())
            pairs = [(p.get(cell, 0), q.get(cell, 0)) for cell in cells]
        else:
            pairs = [cell for cell in zip(first.buckets, second.buckets, strict=True) if any(cell)]
        return divergence([p for p, _ in pairs], [q for _, q in pairs]), len(pairs)
    return distance(first.sketch, second.sketch), 0
