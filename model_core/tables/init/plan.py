"""The parts of a proposal: what is proposed, why, and how sure it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Confidence = Literal["given", "high", "medium", "low"]


@dataclass(frozen=True)
class Choice:
    """One decision about the dataset.

    Attributes:
        subject: What is decided, such as ``"primary key of orders"``.
        value: What is proposed.
        reason: Why, with counts.
        confidence: How sure; ``"given"`` for what a person fixed.
        flags: The command-line flags that fix exactly this.
    """

    subject: str
    value: str
    reason: str
    confidence: Confidence
    flags: tuple[str, ...] = ()


@dataclass(frozen=True)
class Key:
    """Primary key of a table.

    Attributes:
        table, column: Where.
        made_from: For a table that no file holds: the (table, column) pairs whose distinct
            values it is made of. Otherwise empty.
        num_missing: Rows without a key; they are left out.
        num_repeated: Rows that repeat an earlier row's key; they are left out.
    """

    table: str
    column: str
    made_from: tuple[tuple[str, str], ...] = ()
    num_missing: int = 0
    num_repeated: int = 0


@dataclass(frozen=True)
class ForeignKey:
    """A column that points into another table.

    Attributes:
        table, column: Where.
        target: Table that it points into.
        num_known: Rows whose key is not missing.
        num_dangling: Rows whose key is nowhere in the target.
    """

    table: str
    column: str
    target: str
    num_known: int
    num_dangling: int


@dataclass(frozen=True)
class TimeColumn:
    """The time of a table's rows.

    Attributes:
        table, column: Where.
        value: SQL expression of the time as TIMESTAMP in UTC.
        first, last: Range, UTC seconds.
        num_missing: Rows without a time; they are left out.
    """

    table: str
    column: str
    value: str
    first: int
    last: int
    num_missing: int
