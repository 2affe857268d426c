"""Ingest: a checked dataset, frozen as a Snapshot."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from model_core.records import json_bytes, write_record
from model_core.tables.profile import build_profile, render_profile
from model_core.tables.snapshot import KIND, SCHEMA_VERSION, Snapshot
from model_core.tables.validate import Checked, check


def ingest(dataset: str, task: str, out: Path, *, as_of: int | None = None) -> Snapshot:
    """Check a dataset and write it as a snapshot; nothing is written if a check fails.

    Beside what ``Snapshot`` describes, the record may hold ``hidden/<table>.parquet`` (the
    columns that the task removes, for its SQL alone; no table shows them) and
    ``former_rows/<table>.parquet`` (column ``row``: where a row stood before ``as_of``
    renumbered its table).

    Args:
        dataset: Folder with manifest.yaml, or a Hub spec ``org/repo[/subdir]``.
        task: Name of a recommendation task.
        out: Directory of the record.
        as_of: Logical date, UTC seconds. Rows after it are cut, the newest whole window
            (as_of - Δ, as_of] becomes test and the one before it validation; labels are
            made anew from the task's SQL. Unset: the manifest's timestamps and stored
            labels hold.

    Raises:
        DataError: The dataset or task cannot be used.

    Example:
        >>> import tempfile
        >>> from model_core.tables.demo import DEMO_TASK, write_demo_dataset
        >>> folder = Path(tempfile.mkdtemp())
        >>> shop = write_demo_dataset(folder / "shop", scale=0.05)
        >>> ingest(str(shop), DEMO_TASK, folder / "snapshot").task.item_table
        'products'
    """
    checked = check(dataset, task, as_of)
    assert checked.task is not None
    profile = build_profile(checked)
    with write_record(out, KIND, SCHEMA_VERSION) as (folder, meta):
        for name, table in checked.tables.items():
            _write(table.rows, folder / "db" / f"{name}.parquet")
            if table.hidden:
                _write(pa.table(dict(table.hidden)), folder / "hidden" / f"{name}.parquet")
        for name, rows in checked.former_rows.items():
            _write(pa.table({"row": rows}), folder / "former_rows" / f"{name}.parquet")
        for split, rows in (checked.labels or {}).items():
            _write(rows, folder / "labels" / f"{split}.parquet")
        (folder / "profile.json").write_bytes(json_bytes(profile))
        (folder / "profile.html").write_text(render_profile(profile), encoding="utf-8")
        meta.update(_meta(checked))
    return Snapshot.open(out)


def _meta(checked: Checked) -> dict:
    assert checked.task is not None
    task = asdict(checked.task)
    task["remove_columns"] = [list(pair) for pair in checked.task.remove_columns]
    return {
        "dataset": checked.source.name,
        "tables": [asdict(table.schema) for table in checked.tables.values()],
        "task": task,
        "val_time": checked.val_time, "test_time": checked.test_time, "as_of": checked.as_of,
        "min_time": checked.min_time, "max_time": checked.max_time,
        "counts": checked.findings.counts, "warnings": checked.findings.warnings,
    }


def _write(table: pa.Table, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, compression="zstd")
