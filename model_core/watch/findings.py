"""Finding: what one rule says of one table or column."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from model_core.config import Level

_ORDER: dict[Level, int] = {"fail": 0, "warn": 1, "ok": 2}


@dataclass(frozen=True)
class Finding:
    """What one rule says of one table or column.

    Attributes:
        rule: Name of the rule (docs/how-to/watch-your-data.md lists them).
        table, column: What it is about; empty for the dataset or the table as a whole.
        level: ``ok``, ``warn`` or ``fail``.
        expected, found: The limit or the earlier value, and the present one, for people.
        message: One sentence.
        measure: The measured figure behind it, for charts; None where there is none.
    """

    rule: str
    table: str
    column: str
    level: Level
    expected: str
    found: str
    message: str
    measure: float | None = None

    @property
    def place(self) -> str:
        """``table.column``, ``table`` or ``dataset``."""
        return ".".join(part for part in (self.table, self.column) if part) or "dataset"


def worst_first(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Failures, then warnings, then the rest; the order within a level stays."""
    return tuple(sorted(findings, key=lambda finding: _ORDER[finding.level]))
