"""What came of one date: the figures of a run, as the table and the page show them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from threading import Event
from typing import Any, Literal, Protocol

from pipelines.backfill.dates import LogicalDate

Status = Literal["done", "failed", "interrupted"]


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes:
        status: ``done``, ``failed`` or ``interrupted``.
        seconds: How long it was waited for.
        result: ``figures_of`` a run that is done.
        error: Why it failed.
        run: What tells the run of a cluster again (``run_id``, ``link``), else empty.
    """

    status: Status
    seconds: float
    result: Mapping[str, Any] | None = None
    error: str | None = None
    run: Mapping[str, str] | None = None


class DateRunner(Protocol):
    """Runs the pipeline for one date, somewhere."""

    def run(self, date: LogicalDate, earlier: Mapping[str, Any], stop: Event,
            note: Callable[[Mapping[str, str]], None]) -> Outcome:
        """Run one date and wait for its end. Called in a thread of its own.

        Args:
            date: The logical date.
            earlier: What is known of an earlier attempt, or empty.
            stop: Set when the user wants to end.
            note: Keeps what tells the run again, as soon as it is known.
        """


def figures_of(
    metrics: Sequence[Mapping[str, Any]], verdict: Mapping[str, Any], publication: Mapping[str, Any]
) -> dict[str, Any]:
    """The deciding figures of a run.

    Args:
        metrics, verdict, publication: As in the summary of a run.

    Returns:
        version, promoted, champion (that reigns afterwards), metric, k, split, mask, and per
        model, champion and baseline ``{name, mean, ci_low, ci_high}``; None for no champion.
    """
    rows = {row["model"]: row for row in metrics
            if all(row[key] == verdict[key] for key in ("metric", "k", "split", "mask"))}

    def figure(row_name: str, name: str | None = None) -> dict[str, Any] | None:
        if (row := rows.get(row_name)) is None:
            return None
        return {"name": name or row_name, **{key: row[key] for key in ("mean", "ci_low", "ci_high")}}

    return {
        **{key: publication[key] for key in ("version", "promoted", "champion", "reason")},
        **{key: verdict[key] for key in ("metric", "k", "split", "mask")},
        "num_users": rows[verdict["model"]]["num_users"] if verdict["model"] in rows else None,
        "model": figure(verdict["model"]),
        "compared_champion": figure("champion", verdict.get("champion")),
        "baseline": figure(verdict["best_baseline"]),
    }
