"""DataStatistics: what a later run must know of a snapshot to tell whether the data changed.

A few hundred kilobytes of JSON at most, kept with every model version. Tables of events are
described by their recent period, one label window that ends at the newest event, so that
two snapshots of different days compare like with like; catalogues are described whole.
Computing them is ``measuring.py``'s part.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError

from model_core.errors import ArtifactError

SCHEMA_VERSION = 1
#: Quantiles of a sketch, besides the minimum.
NUM_STEPS = 128
#: Hash buckets by which columns with many categories are compared.
NUM_BUCKETS = 64
#: Moments lie before this one, UTC seconds: the year 2200.
_LATEST = 7_258_118_400

#: How a column's values are compared: not at all, by category, or as numbers (which for
#: datetimes are their ages in seconds, for text the numbers of characters).
Measure = Literal["none", "categories", "numbers", "ages", "lengths"]


@dataclass(frozen=True)
class ColumnStatistics:
    """One column over the rows that its table is described by.

    Attributes:
        kind: As in the snapshot's schema.
        rows, missing: Rows looked at, and those without a value.
        distinct: Different values; None where they were not counted, or are too many.
        measure: How the values are compared.
        sketch: Of numbers: see ``drift.sketch``; else empty.
        categories: Of categories: the most frequent values with their rows, the most first.
        buckets: Of categories: rows per hash bucket of the value, all values included.
        usual_drift: Drift between this period and the one before it, in the same snapshot.
        missing_before: Share of rows without a value in the period before; None without such rows.
    """

    kind: str
    rows: int
    missing: int
    distinct: int | None = None
    measure: Measure = "none"
    sketch: tuple[float, ...] = ()
    categories: tuple[tuple[str, int], ...] = ()
    buckets: tuple[int, ...] = ()
    usual_drift: float = 0.0
    missing_before: float | None = None

    @property
    def missing_share(self) -> float:
        """Share of rows without a value."""
        return self.missing / self.rows if self.rows else 0.0

    @property
    def known(self) -> int:
        """Rows with a value."""
        return self.rows - self.missing

    @property
    def problem(self) -> str | None:
        """Why these cannot be statistics of a column; None where they can."""
        if not 0 <= self.missing <= self.rows:
            return f"{self.missing} of {self.rows} rows are missing"
        if self.missing_before is not None and not 0 <= self.missing_before <= 1:
            return f"a share of {self.missing_before} was missing before"
        sketched = NUM_STEPS + 1 if self.known and self.measure != "none" else 0
        if len(self.sketch) != sketched:
            return f"{len(self.sketch)} quantiles, not {sketched}"
        counted = NUM_BUCKETS if self.measure == "categories" else 0
        if len(self.buckets) != counted:
            return f"{len(self.buckets)} hash buckets, not {counted}"
        if counted and bool(self.known) != bool(self.categories):
            return f"{len(self.categories)} categories of {self.known} values"
        return None

    @property
    def shares(self) -> dict[str, float]:
        """Share of each named category in the rows with a value."""
        return {value: number / self.known for value, number in self.categories}


@dataclass(frozen=True)
class TableStatistics:
    """One table up to the moment of the run.

    Attributes:
        pkey, time_col, fkeys: As in the snapshot's schema.
        rows: All rows.
        recent_rows: Rows of the recent period; equal to ``rows`` for a catalogue.
        rows_per_day: ``recent_rows`` over the period's days; None for a catalogue.
        newest: Time of the newest row, UTC seconds; None without time or rows.
        longest_gap_s: Longest time without a row lately; None where too few rows say so.
        columns: By name.
    """

    pkey: str | None
    time_col: str | None
    fkeys: Mapping[str, str]
    rows: int
    recent_rows: int
    rows_per_day: float | None
    newest: int | None
    longest_gap_s: int | None
    columns: Mapping[str, ColumnStatistics]


@dataclass(frozen=True)
class DataStatistics:
    """A snapshot with its split, in numbers.

    Attributes:
        schema_version: Of this layout.
        dataset, task: Names.
        as_of: Logical date, UTC seconds, or None.
        moment: Up to when rows count: ``as_of``, else the end of the test window.
        window_s: Length of the label window, and of the recent period.
        newest: Newest event of all tables, UTC seconds; the recent period ends here.
        num_users, num_items: Rows of entity and item table.
        num_test_users, num_test_targets: Label rows of the newest window, and their items.
        cold_user_share, cold_item_share: Share of them without any event up to the test time.
        tables: By name.
    """

    schema_version: int
    dataset: str
    task: str
    as_of: int | None
    moment: int
    window_s: int
    newest: int
    num_users: int
    num_items: int
    num_test_users: int
    num_test_targets: int
    cold_user_share: float
    cold_item_share: float
    tables: Mapping[str, TableStatistics]

    def check(self) -> None:
        """Refuse numbers that contradict each other: the rules count on them.

        Raises:
            ValueError: With what is wrong.
        """
        if not all(abs(moment) < _LATEST for moment in (self.moment, self.newest)):
            raise ValueError(f"moments {self.moment} and {self.newest}")
        for name, table in self.tables.items():
            for column, values in table.columns.items():
                if problem := values.problem:
                    raise ValueError(f"{name}.{column}: {problem}")

    def to_json(self) -> dict[str, Any]:
        """Plain values, as ``from_json`` reads them."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Any, where: str = "data.json") -> DataStatistics:
        """Read what ``to_json`` gave.

        Raises:
            ArtifactError: Another layout, or not statistics at all.
        """
        version = value.get("schema_version") if isinstance(value, Mapping) else None
        if version != SCHEMA_VERSION:
            raise ArtifactError(where, f"data statistics of schema version {SCHEMA_VERSION}",
                                f"version {version}", "promote a model of this release of relrec")
        try:
            statistics = _READER.validate_json(json.dumps(value, allow_nan=False))
            statistics.check()
            return statistics
        except ValueError as error:  # NaN, which no JSON file of ours holds, or values of other types
            found = str(error)
            if isinstance(error, ValidationError):
                first = error.errors()[0]
                found = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
            raise ArtifactError(where, "readable data statistics", found,
                                "promote a model of this release of relrec") from error


_READER = TypeAdapter(DataStatistics)
