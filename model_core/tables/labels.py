"""Label rows in one canonical form, whether stored in the dataset or made by its SQL."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from model_core.errors import DataError
from model_core.tables.columns import Count, plain, to_timestamp
from model_core.tables.findings import Findings
from model_core.tables.reading import read_parquet
from model_core.tables.relbench import MANIFEST_FILE
from model_core.tables.snapshot import SPLITS, TaskSpec

_MISSING = int(np.iinfo(np.int64).min)


@dataclass(frozen=True)
class Catalogue:
    """Which ids a label may name.

    Attributes:
        entity_born, item_born: bool [num_rows] of the entity and item table; False for
            rows that appear only after the test seed time.
    """

    entity_born: np.ndarray
    item_born: np.ndarray


def canonical_labels(
    table: pa.Table,
    task: TaskSpec,
    catalogue: Catalogue,
    seed_times: Sequence[int] | None,
    where: str,
    count: Count,
    *,
    drop_dangling: bool,
) -> pa.Table:
    """Bring label rows to one form, whatever their order and repetitions.

    Args:
        table: One row per (seed time, entity) with a list of items; further columns are
            ignored.
        task: Names of the three columns.
        catalogue: Known and dangling ids.
        seed_times: Allowed seed times in UTC seconds; None allows any.
        where: How error messages call the table.
        count: Takes what was dropped or merged.
        drop_dangling: Whether ids that are past the end of a table, or born after the
            test seed time, are dropped, as relbench does with SQL results. Otherwise,
            for stored labels, the first are an error and the second are left alone, so
            that metrics on them equal relbench's; both are counted.

    Returns:
        Columns time (int64 UTC seconds), entity (int64), items (list of int64), sorted by
        (time, entity), items ascending and distinct, no empty rows.

    Raises:
        DataError: Columns missing or of another type, a foreign seed time, a bad id.
    """
    time_where, entity_where, item_where = (
        f"{where}, column {name!r}" for name in (task.time_col, task.entity_col, task.item_col)
    )
    missing = [name for name in (task.time_col, task.entity_col, task.item_col)
               if name not in table.column_names]
    if missing:
        raise DataError(where, f"the columns {[task.time_col, task.entity_col, task.item_col]}",
                        f"no {missing}, only {table.column_names}",
                        "name the columns as the task's manifest does")
    seconds = _seed_seconds(plain(table.column(task.time_col)), seed_times, time_where, count)
    lists = plain(table.column(task.item_col)).combine_chunks()
    if isinstance(lists, pa.ChunkedArray):  # pyarrow < 18, or no rows at all
        lists = pa.concat_arrays(lists.chunks) if lists.num_chunks else pa.array([], lists.type)
    if not (pa.types.is_list(lists.type) or pa.types.is_large_list(lists.type)):
        raise DataError(item_where, "a list of item ids per row", f"type {lists.type}",
                        f"collect a row's items, in SQL with LIST(DISTINCT ...) AS {task.item_col}")
    row = pc.list_parent_indices(lists).to_numpy().astype(np.int64)
    entity = _ids(plain(table.column(task.entity_col)), entity_where)
    item = _ids(pa.chunked_array([pc.list_flatten(lists)]), item_where)
    entity_ok = _usable(entity, catalogue.entity_born, "entities", entity_where, count, drop_dangling)
    item_ok = _usable(item, catalogue.item_born, "items", item_where, count, drop_dangling)

    keep = item_ok & entity_ok[row]
    row, item = row[keep], item[keep]
    num_filled = len(np.unique(row))
    time, entity = seconds[row], entity[row]
    order = np.lexsort((item, entity, time))
    time, entity, item = time[order], entity[order], item[order]
    new_row = _changes(time) | _changes(entity)
    new_item = new_row | _changes(item)
    row_starts, item_starts = np.flatnonzero(new_row), np.flatnonzero(new_item)
    count("rows_without_items", int(entity_ok.sum()) - num_filled)
    count("duplicate_rows", num_filled - len(row_starts))
    count("duplicate_items", len(item) - len(item_starts))
    offsets = np.append(np.searchsorted(item_starts, row_starts), len(item_starts)).astype(np.int64)
    return pa.table({
        "time": pa.array(time[row_starts]),
        "entity": pa.array(entity[row_starts]),
        "items": pa.LargeListArray.from_arrays(pa.array(offsets), pa.array(item[item_starts])),
    })


def read_stored_labels(
    folder: Path, task: TaskSpec, catalogue: Catalogue, val_time: int, test_time: int, findings: Findings
) -> dict[str, pa.Table] | None:
    """Read the label tables that a dataset stores.

    Returns:
        Split to canonical label rows; None if there are none, or not all three while the
        task's SQL can make them anew.

    Raises:
        DataError: Labels that cannot be used, or neither labels nor SQL.
    """
    paths = {split: folder / f"{split}.parquet" for split in SPLITS}
    absent = [path.name for path in paths.values() if not path.exists()]
    if absent:
        if task.sql is None:
            raise DataError(str(folder), "train, val and test labels, or SQL that makes them",
                            f"no {absent} and no sql in {MANIFEST_FILE}", "add the label files or the SQL")
        if len(absent) < len(paths):
            findings.warn(f"task {task.name}: {absent} missing; all labels are made from the task's SQL")
        return None
    labels = {}
    for split, path in paths.items():
        seed_times = {"train": None, "val": [val_time], "test": [test_time]}[split]
        labels[split] = canonical_labels(
            read_parquet(path), task, catalogue, seed_times, str(path),
            findings.counter(f"labels.{split}"), drop_dangling=False,
        )
        if labels[split].num_rows == 0:
            raise DataError(str(path), "at least one label row", "none", "write the labels of this split")
    last = pc.max(labels["train"].column("time")).as_py()
    if last > val_time - task.window_s:
        raise DataError(
            f"{paths['train']}, column {task.time_col!r}",
            f"seed times up to {_text(val_time - task.window_s)}, one window before val_timestamp",
            _text(last), "drop these rows: their labels overlap with validation",
        )
    return labels


def _seed_seconds(
    values: pa.ChunkedArray, seed_times: Sequence[int] | None, where: str, count: Count
) -> np.ndarray:
    times = to_timestamp(values, where, count)
    if times.null_count:
        raise DataError(where, "a seed time in every row", f"{times.null_count:,} rows without one",
                        "drop or mend these rows")
    micros = times.cast(pa.int64()).to_numpy()
    allowed = micros % 1_000_000 == 0 if seed_times is None else np.isin(
        micros, np.asarray(seed_times, dtype=np.int64) * 1_000_000)
    if not allowed.all():
        expected = "whole seconds" if seed_times is None else (
            f"the seed time {_text(seed_times[0])}" if len(seed_times) == 1
            else f"one of the {len(seed_times)} seed times from {_text(min(seed_times))}"
                 f" to {_text(max(seed_times))}")
        row = int(np.flatnonzero(~allowed)[0])
        raise DataError(where, expected, f"{_text(micros[row] / 1e6)} in row {row}",
                        "make the labels at the dataset's own timestamps")
    return micros // 1_000_000


def _ids(values: pa.ChunkedArray, where: str) -> np.ndarray:
    """int64 [n]; _MISSING where there is none."""
    kind = values.type
    numeric = (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
               or pa.types.is_null(kind))
    try:
        if not numeric:
            raise pa.ArrowInvalid(f"type {kind}")
        if pa.types.is_floating(kind):
            values = pc.if_else(pc.is_nan(values), None, values)
        whole = values.cast(pa.int64())
    except pa.ArrowException as error:
        raise DataError(where, "whole numbers, the row numbers of the table", str(error)[:200],
                        "return the primary key itself") from error
    return np.asarray(pc.fill_null(whole, _MISSING).to_numpy())


def _usable(
    ids: np.ndarray, born: np.ndarray, what: str, where: str, count: Count, drop_dangling: bool
) -> np.ndarray:
    missing = ids == _MISSING
    count(f"missing_{what}", int(missing.sum()))
    beyond = ids >= len(born)
    bad = (ids < 0) & ~missing
    if not drop_dangling:
        bad |= beyond
    if bad.any():
        raise DataError(where, f"ids from 0 to {len(born) - 1}",
                        f"{int(bad.sum()):,} outside, such as {ids[bad][0]}",
                        "make the labels anew from the tables as they are")
    inside = ~missing & ~beyond
    usable = inside.copy()
    usable[inside] = born[ids[inside]]
    if drop_dangling:
        count(f"dangling_{what}", int((~missing & ~usable).sum()))
        return usable
    count(f"{what}_after_test_time", int((inside & ~usable).sum()))
    return inside


def _changes(values: np.ndarray) -> np.ndarray:
    """True where a value differs from the one before it; True at the start."""
    return np.concatenate([np.ones(min(len(values), 1), dtype=bool), values[1:] != values[:-1]])


def _text(seconds: float) -> str:
    return datetime.fromtimestamp(float(seconds), UTC).strftime("%Y-%m-%d %H:%M:%S")
