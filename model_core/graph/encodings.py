"""GraphEncodings: what the columns of a graph mean, apart from its rows.

Two graphs of one dataset at different dates standardise their numbers differently, count
datetimes from different cutoffs and number their categories in another order. Weights
learned on one of them fit the other once these differences are known: they are what a
bundle keeps of its graph (``encodings.json``).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from model_core.graph.columns import SECONDS_PER_YEAR
from model_core.graph.schema import TableFeatures
from model_core.graph.temporal_graph import MISSING, TemporalGraph

#: A column of which the one standardisation is so many times wider than the other is not the same.
MAX_STRETCH = 1e4


@dataclass(frozen=True)
class NumberEncoding:
    """``(transform(value - origin) - mean) / std``, clipped.

    Attributes:
        transform: ``"none"`` or ``"log1p"``.
        mean, std: Of the transformed values.
        origin: Of a datetime, in years since 1970; 0 for a number.
    """

    transform: str
    mean: float
    std: float
    origin: float = 0.0

    def in_terms_of(self, other: NumberEncoding) -> tuple[float, float] | None:
        """(a, c) so that this encoding of any value is a · (the other's) + c, but for clipping.

        None where there are no such numbers: another transform, or one that does not
        commute with another origin.

        Example:
            >>> NumberEncoding("none", 1.0, 2.0).in_terms_of(NumberEncoding("none", 3.0, 4.0))
            (2.0, 1.0)
        """
        if self.transform != other.transform:
            return None
        if self.transform != "none" and self.origin != other.origin:
            return None
        if not (self._usable and other._usable):
            return (1.0, 0.0) if self == other else None
        stretch = other.std / self.std
        shift = (other.origin - self.origin + other.mean - self.mean) / self.std
        if not (1 / MAX_STRETCH <= stretch <= MAX_STRETCH and abs(shift) <= MAX_STRETCH):
            return None
        return stretch, shift

    @property
    def _usable(self) -> bool:
        return all(map(math.isfinite, (self.mean, self.std, self.origin))) and self.std > 0


@dataclass(frozen=True)
class TableEncodings:
    """Columns of one table, in the order of its tensors.

    Attributes:
        numbers: Number column to its encoding; None for a flag, and in a graph that was
            not built from tables, where a number is taken as it is.
        categories: Category column to its values, in the order of their codes 1, 2, …
        texts: Text columns.
        text_dim: Width of each.
    """

    numbers: Mapping[str, NumberEncoding | None]
    categories: Mapping[str, tuple[Any, ...]]
    texts: tuple[str, ...]
    text_dim: int

    def fits(self, features: TableFeatures) -> bool:
        """Whether these are the columns of a table of that shape."""
        return (len(self.numbers), tuple(len(values) + 1 for values in self.categories.values()),
                len(self.texts) * self.text_dim) == (
                    features.num_number, features.category_sizes, features.num_text)

    def flag_of(self, number: str) -> str | None:
        """The column that flags the missing values of a number column, if there is one."""
        return number + MISSING if number + MISSING in self.numbers else None


@dataclass(frozen=True)
class GraphEncodings:
    """Columns of all tables.

    Attributes:
        tables: Table name to its encodings.
    """

    tables: Mapping[str, TableEncodings]

    @classmethod
    def of(cls, graph: TemporalGraph) -> GraphEncodings:
        """Of a graph with numpy arrays or tensors."""
        statistics: Mapping[str, Any] = {}
        vocabularies: Mapping[str, Any] = {}
        if graph.record is not None and "statistics" in graph.record.meta:
            statistics = graph.record.meta["statistics"]
            vocabularies = json.loads(graph.record.file("vocabularies.json").read_bytes())
        tables = {}
        for name, columns in graph.columns.items():
            fitted = {entry["column"]: entry for entry in statistics.get(name, ())}
            values = vocabularies.get(name, {})
            tables[name] = TableEncodings(
                {column: _number(fitted.get(column)) for column in columns.number_names},
                {column: tuple(values[column]) if column in values else tuple(range(1, size))
                 for column, size in zip(columns.category_names, columns.category_sizes, strict=True)},
                tuple(columns.text_names),
                columns.text.shape[1] // max(len(columns.text_names), 1),
            )
        return cls(tables)

    def to_json(self) -> dict[str, Any]:
        # Lists, because JSON objects have no order here (keys are sorted) and columns have one.
        return {
            name: {
                "numbers": [[column, None if number is None else asdict(number)]
                            for column, number in table.numbers.items()],
                "categories": [[column, list(values)] for column, values in table.categories.items()],
                "texts": list(table.texts), "text_dim": table.text_dim,
            }
            for name, table in self.tables.items()
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> GraphEncodings:
        return cls({
            name: TableEncodings(
                {column: None if number is None else NumberEncoding(**number)
                 for column, number in table["numbers"]},
                {column: tuple(values) for column, values in table["categories"]},
                tuple(table["texts"]), table["text_dim"],
            )
            for name, table in value.items()
        })


def _number(statistic: Mapping[str, Any] | None) -> NumberEncoding | None:
    if statistic is None or "mean" not in statistic:
        return None
    std = max(statistic["std"], float(np.finfo(np.float64).tiny))
    origin = statistic.get("origin", 0) / SECONDS_PER_YEAR
    return NumberEncoding(statistic["transform"], statistic["mean"], std, origin)
