"""temporal_split: label rows for training, validation and test, cut by time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from model_core.config import SplitConfig
from model_core.errors import DataError
from model_core.records import json_bytes, write_record
from model_core.split.label_routes import label_routes
from model_core.split.leakage import certify, require_sound
from model_core.split.locality import SOURCE, locality_scores
from model_core.split.seeds import KIND, SCHEMA_VERSION, SeedTable, Split
from model_core.tables.findings import Findings
from model_core.tables.interactions import find_interactions
from model_core.tables.routes import routes_to_json
from model_core.tables.snapshot import SPLITS, Snapshot
from model_core.tables.sql import run_task_sql

#: With fewer training windows a model hardly learns what changes over time; relbench refuses.
FEW_WINDOWS = 3


def temporal_split(snapshot: Snapshot, config: SplitConfig, out: Path) -> Split:
    """Cut label rows into train, val and test by time, and certify that nothing leaks.

    A label row (t, entity, items) asks which items the entity meets in (t, t+Δ] when only
    rows with time <= t are known. Validation stands at ``val_time``, test at
    ``test_time``; training seed times step back from ``val_time`` by Δ, as in relbench.
    Labels stored with the dataset are taken as they are; without them the task's SQL
    makes them.

    Args:
        snapshot: Validated tables.
        config: Number of training windows; rows for the locality score.
        out: Where the record is written (replaced if it is there).

    Returns:
        The split, opened.

    Raises:
        DataError: A split is empty, no training window fits, or a hard check of the
            leakage certificate fails. Nothing is written then.
    """
    label_source = "stored" if snapshot.has_labels() else "sql"
    labels, treated = (_stored_labels(snapshot) if snapshot.has_labels()
                       else _sql_labels(snapshot, config))
    seeds = {split: _seed_table(labels[split]) for split in SPLITS}
    counts: dict[str, Any] = {split: dict(treated.get(f"labels.{split}", {})) for split in SPLITS}
    seeds["train"], counts["train"]["rows_in_older_windows"] = _newest_windows(
        seeds["train"], config.num_train_windows)
    for split in SPLITS:
        _require_rows(snapshot, split, seeds[split])
        counts[split] |= {"rows": len(seeds[split]), "items": len(seeds[split].item),
                          "seed_times": len(np.unique(seeds[split].time))}
    counts["warnings"] = _warnings(snapshot, counts)

    routes, target = label_routes(snapshot, seeds["train"])
    interactions = find_interactions(snapshot, snapshot.test_time + snapshot.task.window_s, routes)
    certificate = certify(snapshot, seeds, interactions, label_source)
    require_sound(certificate, f"task {snapshot.task.name!r}")
    locality = locality_scores(snapshot, seeds, interactions, config.max_locality_rows)

    task = snapshot.task
    with write_record(out, KIND, SCHEMA_VERSION) as (folder, meta):
        for split in SPLITS:
            seeds[split].write(folder / "seeds" / f"{split}.parquet")
        (folder / "certificate.json").write_bytes(json_bytes(certificate))
        (folder / "locality.json").write_bytes(json_bytes({"source": SOURCE, "splits": locality}))
        meta.update(
            dataset=snapshot.dataset, task=task.name,
            entity_table=task.entity_table, item_table=task.item_table,
            num_entities=snapshot.tables[task.entity_table].num_rows,
            num_items=snapshot.tables[task.item_table].num_rows,
            window_s=task.window_s, eval_k=task.eval_k,
            val_time=snapshot.val_time, test_time=snapshot.test_time,
            train_cutoff=snapshot.val_time, as_of=snapshot.as_of, label_source=label_source,
            locality=locality, counts=counts, routes=routes_to_json(routes, target),
        )
    return Split.open(out)


def train_seed_times(snapshot: Snapshot, num_windows: int | None = None) -> list[int]:
    """Training seed times, newest first: val_time - Δ, val_time - 2Δ, … >= the first event.

    Source: ``pd.date_range(val - Δ, first event, freq=-Δ)`` of relbench's ``BaseTask``.

    Raises:
        DataError: Not even one window fits.
    """
    window_s = snapshot.task.window_s
    times = list(range(snapshot.val_time - window_s, snapshot.min_time - 1, -window_s))
    if not times:
        raise DataError(
            f"task {snapshot.task.name!r}, val_time {_utc(snapshot.val_time)}",
            f"at least one label window of {window_s} s between the first event and val_time",
            f"a first event at {_utc(snapshot.min_time)}",
            "move val_timestamp (or as_of) later, or shorten the task's timedelta",
        )
    return times[:num_windows]


def _stored_labels(snapshot: Snapshot) -> tuple[dict[str, pa.Table], Mapping[str, Any]]:
    """Label rows of the dataset, and what ingest had to treat in them."""
    labels = {split: pq.read_table(snapshot.record.file(f"labels/{split}.parquet"))
              for split in SPLITS}
    return labels, snapshot.counts


def _sql_labels(
    snapshot: Snapshot, config: SplitConfig
) -> tuple[dict[str, pa.Table], Mapping[str, Any]]:
    """Label rows made by the task's SQL, and what had to be treated in them."""
    times = {"train": train_seed_times(snapshot, config.num_train_windows),
             "val": [snapshot.val_time], "test": [snapshot.test_time]}
    findings = Findings()
    # A split's query sees rows up to the end of its own last window: training labels cannot
    # know a row after the cutoff, whatever the query asks for.
    labels = {split: run_task_sql(snapshot, snapshot.task, times[split], findings=findings,
                                  place=f"labels.{split}") for split in SPLITS}
    return labels, findings.counts


def _seed_table(labels: pa.Table) -> SeedTable:
    """Label rows in canonical form (see ``tables.labels``) as arrays."""
    items = labels.column("items").combine_chunks().cast(pa.large_list(pa.int64()))
    length = np.asarray(items.value_lengths())
    return SeedTable(
        entity=labels.column("entity").to_numpy(),
        time=labels.column("time").to_numpy(),
        item_ptr=np.concatenate([[0], np.cumsum(length)]).astype(np.int64),
        item=items.flatten().to_numpy(),
    )


def _newest_windows(seeds: SeedTable, num_windows: int | None) -> tuple[SeedTable, int]:
    """Rows of the newest seed times, and the number of rows left out."""
    if num_windows is None or not len(seeds):
        return seeds, 0
    oldest = np.unique(seeds.time)[-num_windows:][0]
    kept = np.flatnonzero(seeds.time >= oldest)
    return seeds.take(kept), len(seeds) - len(kept)


def _require_rows(snapshot: Snapshot, split: str, seeds: SeedTable) -> None:
    if not len(seeds):
        raise DataError(
            f"task {snapshot.task.name!r}, {split} labels", "at least one entity with an item",
            f"none (val_time {_utc(snapshot.val_time)}, test_time {_utc(snapshot.test_time)}, "
            f"events from {_utc(snapshot.min_time)} to {_utc(snapshot.max_time)})",
            "check the timestamps in the dataset's manifest, as_of and the task's SQL",
        )


def _warnings(snapshot: Snapshot, counts: Mapping[str, Any]) -> Sequence[str]:
    warnings = []
    if (windows := counts["train"]["seed_times"]) < FEW_WINDOWS:
        warnings.append(f"only {windows} training window(s); at least {FEW_WINDOWS} are advised")
    num_items = snapshot.tables[snapshot.task.item_table].num_rows
    if snapshot.task.eval_k > num_items:
        warnings.append(f"eval_k {snapshot.task.eval_k} is larger than the catalogue ({num_items})")
    return warnings


def _utc(time_s: int) -> str:
    return str(pd.Timestamp(time_s, unit="s"))
