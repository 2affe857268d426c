"""The canary: shuffle everything after a moment, then show that nothing before it noticed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import yaml

from model_core.records import MANIFEST, write_record


def shuffle_after(
    source: Path, cutoff: int, out: Path, seed: int = 0, *, shuffle_times: bool = True,
    labels: tuple[str, ...] = ("val", "test"),
) -> Path:
    """Copy a snapshot record or a RelBench folder, with all that is later than ``cutoff`` shuffled.

    In every timed table each column but the primary key is permuted, on its own, among the
    rows with time > cutoff: foreign keys, numbers, strings, and times unless told not to.
    Rows up to the cutoff and tables without time stay as they are. The items of the stored
    labels that end after it are permuted too, and columns kept for the task's SQL alone.

    Args:
        source: Folder with ``manifest.json`` (snapshot) or ``manifest.yaml`` (dataset).
        cutoff: UTC seconds.
        out: New folder.
        seed: Of the permutations.
        shuffle_times: Whether rows after the cutoff also swap their times.
        labels: Splits whose stored labels end after the cutoff.
    """
    rng = np.random.default_rng(seed)
    if (source / MANIFEST).is_file():
        manifest = json.loads((source / MANIFEST).read_text())
        with write_record(out, manifest["kind"], manifest["schema_version"]) as (folder, meta):
            meta.update(manifest["meta"])
            tables = {entry["name"]: entry for entry in meta["tables"]}
            _copy(source, folder, tables, cutoff, rng, shuffle_times, labels)
            (folder / MANIFEST).unlink(missing_ok=True)
    else:
        tables = yaml.safe_load((source / "manifest.yaml").read_text())["tables"]
        _copy(source, out, tables, cutoff, rng, shuffle_times, labels)
    return out


def _copy(source, folder, tables, cutoff, rng, shuffle_times, labels):
    shutil.copytree(source, folder, dirs_exist_ok=True)
    for name, entry in sorted(tables.items()):
        if entry["time_col"] is not None:
            file = folder / "db" / f"{name}.parquet"
            fixed = {entry["pkey"]} | (set() if shuffle_times else {entry["time_col"]})
            table = pq.read_table(file)
            micros = table[entry["time_col"]].cast(pa.timestamp("us"), safe=False).cast(pa.int64())
            later = np.flatnonzero(pc.greater(micros, cutoff * 1_000_000).to_numpy())
            pq.write_table(_permute(table, later, fixed, rng), file)
            if (hidden := folder / "hidden" / file.name).is_file():
                pq.write_table(_permute(pq.read_table(hidden), later, set(), rng), hidden)
    for file in sorted(folder.glob("labels/*.parquet")) + sorted(folder.glob("tasks/*/*.parquet")):
        if file.stem in labels:
            table = pq.read_table(file)
            scalar = {field.name for field in table.schema if not pa.types.is_nested(field.type)}
            pq.write_table(_permute(table, np.arange(len(table)), scalar, rng), file)


def _permute(table: pa.Table, rows: np.ndarray, fixed: set, rng: np.random.Generator) -> pa.Table:
    for position, column in enumerate(table.column_names):
        if column not in fixed:
            order = np.arange(len(table))
            order[rows] = rng.permutation(rows)
            table = table.set_column(position, column, table[column].take(pa.array(order)))
    return table
