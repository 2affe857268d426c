"""Findings: what a check met and treated on the way, in place of an error."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass
class Findings:
    """Counts of treated values and sentences worth a person's attention.

    Attributes:
        counts: Place (``"invoices.customer_id"``) to fault to number of values.
        warnings: Plain sentences.
    """

    counts: dict[str, dict[str, int]] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def count(self, place: str, fault: str, number: int) -> None:
        """Add to a count; zero leaves no trace."""
        if number:
            here = self.counts.setdefault(place, {})
            here[fault] = here.get(fault, 0) + int(number)

    def counter(self, place: str) -> Callable[[str, int], None]:
        """``count`` for one place."""
        return lambda fault, number: self.count(place, fault, number)

    def warn(self, sentence: str) -> None:
        self.warnings.append(sentence)
