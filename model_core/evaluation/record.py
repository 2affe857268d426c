"""Report: what evaluation leaves behind, for people, for later comparison and for publish."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from model_core.evaluation.scoring import Evaluation, MetricRow, Ranked
from model_core.evaluation.verdict import Verdict
from model_core.records import Record, json_bytes, open_record, write_record

KIND, SCHEMA_VERSION = "report", 1


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
                   Verdict(**read("verdict.json")), read("facts.json"))

    def per_user(self) -> pa.Table:
        """Every metric of every user."""
        return pq.read_table(self.record.file("per_user.parquet"))

    def predictions(self) -> pa.Table:
        """Every list."""
        return pq.read_table(self.record.file("predictions.parquet"))

    def find(self, **where: Any) -> Mapping[str, Any]:
        """The first metric row with the given values, e.g. ``find(split="test", metric="map")``."""
        for row in self.metrics:
            if all(row[key] == value for key, value in where.items()):
                return row
        raise KeyError(where)

    def headline(self) -> dict[str, float]:
        """The deciding metric of every model and split, by a name fit for a metrics page."""
        verdict = self.verdict
        return {
            f"{row['split']}_{row['metric']}_at_{row['k']}_{row['model']}": row["mean"]
            for row in self.metrics
            if (row["mask"], row["metric"], row["k"]) == (verdict.mask, verdict.metric, verdict.k)
            and row["mean"] is not None
        }


def write_report(
    out: Path,
    evaluation: Evaluation,
    slices: Sequence[MetricRow],
    verdict: Verdict,
    facts: Mapping[str, Any],
    *,
    logical_time: int,
) -> Report:
    """Write a report record and open it. Arguments as the attributes of Report."""
    with write_record(out, KIND, SCHEMA_VERSION) as (folder, meta):
        for name, value in (("metrics", list(evaluation.rows)), ("slices", list(slices)),
                            ("verdict", asdict(verdict)), ("facts", dict(facts))):
            (folder / f"{name}.json").write_bytes(json_bytes(value))
        _write_lists(folder, evaluation)
        meta.update(
            splits=sorted({ranked.split for ranked in evaluation.ranked}),
            masks=sorted({ranked.mask for ranked in evaluation.ranked}),
            models=sorted(evaluation.ranked[0].items), ks=list(evaluation.ks),
            promote=verdict.promote, logical_time=logical_time,
        )
    return Report.open(out)


def _write_lists(folder: Path, evaluation: Evaluation) -> None:
    """Per-user values and lists, one row group per (split, mask, model): memory stays small."""
    writers: dict[str, pq.ParquetWriter] = {}
    try:
        for ranked in evaluation.ranked:
            for model in ranked.items:
                for name, table in (("per_user", _per_user(ranked, model, evaluation.ks)),
                                    ("predictions", _predictions(ranked, model))):
                    if name not in writers:
                        writers[name] = pq.ParquetWriter(
                            folder / f"{name}.parquet", table.schema, compression="zstd")
                    writers[name].write_table(table)
    finally:
        for writer in writers.values():
            writer.close()


def _rows_of(ranked: Ranked, model: str) -> dict[str, pa.Array]:
    number = len(ranked.truth)
    return {
        **{name: pa.array([value]).take(pa.array(np.zeros(number, dtype=np.int64)))
           for name, value in (("split", ranked.split), ("mask", ranked.mask), ("model", model))},
        "entity": pa.array(ranked.truth.entity),
        "time": pa.array(ranked.truth.time),
    }


def _per_user(ranked: Ranked, model: str, ks: Sequence[int]) -> pa.Table:
    values = ranked.values(model, ks)
    return pa.table(
        _rows_of(ranked, model) | {"num_relevant": pa.array(ranked.num_relevant)}
        | {f"{metric}_at_{k}": pa.array(column, from_pandas=True)
           for (metric, k), column in values.items()}
    )


def _predictions(ranked: Ranked, model: str) -> pa.Table:
    items = ranked.items[model]
    listed = items >= 0  # the padding is always at the end
    offsets = np.concatenate([[0], np.cumsum(listed.sum(axis=1))]).astype(np.int64)
    lists = pa.LargeListArray.from_arrays(pa.array(offsets), pa.array(items[listed]))
    return pa.table(_rows_of(ranked, model) | {"items": lists})
