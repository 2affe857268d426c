"""How a report record is written: its tables and metadata."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from model_core.evaluation.record import KIND, SCHEMA_VERSION, Report, Verdict
from model_core.evaluation.scoring import Evaluation, MetricRow, Ranked
from model_core.records import json_bytes, write_record


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
