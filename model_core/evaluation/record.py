"""Report: what evaluation leaves behind, for people, for later comparison and for publish.

Reading one needs neither torch nor pyarrow until its tables are asked for, because the
image that publishes has neither.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from model_core.records import Record, open_record

if TYPE_CHECKING:
    import pyarrow as pa

KIND, SCHEMA_VERSION = "report", 2

ChampionState = Literal["none", "compared", "incomparable"]


@dataclass(frozen=True)
class Check:
    """One rule of the gate and what came of it.

    Attributes:
        name: ``champion``, ``baseline``, ``coverage``, ``cold_users``, ``data``, ``allowed`` or
            ``bundle``.
        passed: Whether it lets the model through.
        required, found: The rule and the figures, for people.
    """

    name: str
    passed: bool
    required: str
    found: str


@dataclass(frozen=True)
class Verdict:
    """A decision with its grounds.

    Attributes:
        promote: Whether the model earns its place: every check passed.
        reason: A sentence or two for people.
        model, best_baseline: What was compared; the baseline with the highest mean on
            the deciding split, which is the hardest one to beat.
        metric, k, split, mask: The deciding figure.
        gain: Mean over users of model minus baseline; None where no user could be measured.
        gain_ci_low, gain_ci_high: Paired bootstrap interval of the gain.
        champion: Version of the champion as of the run's logical date, or None.
        champion_state: ``none``, ``compared`` (scored on this window) or ``incomparable``.
        champion_gain, champion_gain_ci_low, champion_gain_ci_high: The same of model minus champion;
            None unless compared.
        checks: The rules, in the order of the page.
    """

    promote: bool
    reason: str
    model: str
    best_baseline: str
    metric: str
    k: int
    split: str
    mask: str
    gain: float | None
    gain_ci_low: float | None
    gain_ci_high: float | None
    champion: str | None = None
    champion_state: ChampionState = "none"
    champion_gain: float | None = None
    champion_gain_ci_low: float | None = None
    champion_gain_ci_high: float | None = None
    checks: tuple[Check, ...] = ()

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Verdict:
        """The verdict that ``dataclasses.asdict`` turned into a mapping."""
        return cls(**{**value, "checks": tuple(Check(**check) for check in value["checks"])})

    @property
    def failed(self) -> tuple[Check, ...]:
        """The checks that stand in the way."""
        return tuple(check for check in self.checks if not check.passed)


@dataclass(frozen=True)
class Report:
    """Opened report record.

    Payload: ``metrics.json`` (the metric table), ``slices.json``, ``verdict.json``,
    ``facts.json``, ``per_user.parquet`` (split, mask, model, entity, time, num_relevant and
    one column per metric and k, null where undefined) and ``predictions.parquet`` (split,
    mask, model, entity, time, items).

    Attributes:
        record: The record it was opened from.
        logical_time: What moment the model is of, UTC seconds: ``as_of``, else the test seed time.
        metrics: Rows {split, mask, model, metric, k, mean, ci_low, ci_high, num_users}.
        slices: The same with slice and num_targets.
        verdict: Whether to promote, and why.
        facts: Counts per split and mask, digests of the inputs, and the caller's context.
    """

    record: Record
    logical_time: int
    metrics: Sequence[Mapping[str, Any]]
    slices: Sequence[Mapping[str, Any]]
    verdict: Verdict
    facts: Mapping[str, Any]

    @classmethod
    def open(cls, path: Path | str, verify: Literal["size", "digest"] = "size") -> Report:
        record = open_record(path, KIND, SCHEMA_VERSION, verify)

        def read(name: str) -> Any:
            return json.loads(record.file(name).read_bytes())

        return cls(record, record.meta["logical_time"], read("metrics.json"), read("slices.json"),
                   Verdict.from_json(read("verdict.json")), read("facts.json"))

    def per_user(self) -> pa.Table:
        """Every metric of every user."""
        return self._table("per_user.parquet")

    def predictions(self) -> pa.Table:
        """Every list."""
        return self._table("predictions.parquet")

    def _table(self, name: str) -> pa.Table:
        import pyarrow.parquet as pq

        return pq.read_table(self.record.file(name))

    def find(self, **where: Any) -> Mapping[str, Any]:
        """The first metric row with the given values, e.g. ``find(split="test", metric="map")``."""
        for row in self.metrics:
            if all(row[key] == value for key, value in where.items()):
                return row
        raise KeyError(where)

    def deciding_figures(self) -> list[Mapping[str, Any]]:
        """The rows of ``metrics`` that the verdict rests on: one figure of every model."""
        return [row for row in self.metrics if all(
            row[name] == getattr(self.verdict, name) for name in ("metric", "k", "split", "mask"))]

    def headline(self) -> dict[str, float]:
        """The deciding metric of every model and split, by a name fit for a metrics page."""
        verdict = self.verdict
        return {
            f"{row['split']}_{row['metric']}_at_{row['k']}_{row['model']}": row["mean"]
            for row in self.metrics
            if (row["mask"], row["metric"], row["k"]) == (verdict.mask, verdict.metric, verdict.k)
            and row["mean"] is not None
        }
