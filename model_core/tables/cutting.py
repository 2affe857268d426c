"""Windows of a run, and the cut at its logical date ``as_of``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from model_core.errors import DataError
from model_core.tables.columns import TIMESTAMP
from model_core.tables.findings import Findings
from model_core.tables.reading import CheckedTable
from model_core.tables.snapshot import TaskSpec, to_seconds

#: Windows that must fit between the first event and ``as_of``: train, validation, test.
MIN_WINDOWS = 3


def time_range(tables: Mapping[str, CheckedTable]) -> tuple[int, int]:
    """First and last event time over all timed tables, UTC seconds.

    Raises:
        DataError: No table has a time column.
    """
    return span(end for table in tables.values()
                if table.schema.time_col is not None and table.schema.num_rows
                for end in column_range(table.rows.column(table.schema.time_col)))


def span(times: Iterable[int]) -> tuple[int, int]:
    """First and last of the event times of a dataset, UTC seconds.

    Raises:
        DataError: There are none.
    """
    ends = list(times)
    if not ends:
        raise DataError("dataset", "at least one table with a time column", "none",
                        "declare the time_col of the event tables in the manifest")
    return min(ends), max(ends)


def column_range(times: pa.ChunkedArray) -> tuple[int, int]:
    """First and last of a time column that has been checked, UTC seconds."""
    bounds = pc.min_max(times)
    first, last = to_seconds(pa.chunked_array([pa.array([bounds["min"].as_py(), bounds["max"].as_py()],
                                                        TIMESTAMP)])).tolist()
    return first, last


def check_windows(
    val_time: int, test_time: int, window_s: int, min_time: int, max_time: int,
    findings: Findings, *, from_sql: bool,
) -> None:
    """Refuse evaluation windows that the data cannot fill.

    Args:
        from_sql: Whether labels are made from the tables, which then must reach to the
            end of the test window. Stored labels may know more than the tables.

    Raises:
        DataError: No whole training window before validation, or no event after test.
    """
    data = f"the data run from {text(min_time)} to {text(max_time)}"
    if val_time - window_s < min_time:
        raise DataError("val_timestamp", "at least one whole training window before it",
                        f"{text(val_time)}, while {data}", "move val_timestamp, or use a shorter window")
    if test_time >= max_time:
        raise DataError("test_timestamp", "events in the window after it",
                        f"{text(test_time)}, while {data}", "move test_timestamp, or add newer data")
    if test_time + window_s > max_time and from_sql:
        raise DataError("test_timestamp", "events up to the end of the window after it",
                        f"a window to {text(test_time + window_s)}, while {data}",
                        "move test_timestamp earlier, store labels, or pass as_of, the moment"
                        " up to which the data are complete")
    if test_time + window_s > max_time:
        findings.warn(f"the test window ends {text(test_time + window_s)}, after the last event"
                      f" ({text(max_time)}); its labels may be incomplete")


def check_as_of(as_of: int, task: TaskSpec, min_time: int, max_time: int, findings: Findings) -> None:
    """Refuse a logical date for which no run makes sense.

    Raises:
        DataError: The task's labels cannot be made anew, or the date is outside the data.
    """
    if task.sql is None:
        raise DataError(f"task {task.name!r}, as_of {text(as_of)}", "SQL that makes the labels anew",
                        "stored labels only", "run without as_of, or add sql to the task's manifest")
    first, last = min_time + MIN_WINDOWS * task.window_s, max_time + task.window_s
    if not first <= as_of <= last:
        raise DataError(
            "as_of", f"a time from {text(first)} (first event + {MIN_WINDOWS} windows)"
            f" to {text(last)} (last event + one window)", text(as_of),
            "pass a date inside the data, or ingest newer data",
        )
    if as_of > max_time:
        findings.warn(f"as_of {text(as_of)} is after the last event ({text(max_time)});"
                      " the test window may be incomplete")


def cut_at(
    tables: Mapping[str, CheckedTable], as_of: int, findings: Findings
) -> tuple[dict[str, CheckedTable], dict[str, np.ndarray]]:
    """Remove every row later than ``as_of`` and keep the keys sound.

    Primary keys stay 0..n-1: where the rows that stay are not a prefix of their table,
    they are numbered anew and every foreign key into the table follows. Foreign keys to
    rows that are gone become missing and are counted.

    Returns:
        The tables, and for each renumbered table the former row of every row, int64.
    """
    limit = pa.scalar(as_of * 1_000_000, pa.int64()).cast(TIMESTAMP)
    new_id: dict[str, np.ndarray] = {}
    former: dict[str, np.ndarray] = {}
    result: dict[str, CheckedTable] = {}
    for name, table in tables.items():
        result[name] = table
        if table.schema.time_col is None:
            continue
        keep = pc.less_equal(table.rows.column(table.schema.time_col), limit)
        kept = np.asarray(keep.to_numpy(), dtype=bool)
        if kept.all():
            continue
        findings.count(name, "rows_after_as_of", int((~kept).sum()))
        result[name] = table.filter(keep)
        new_id[name] = np.where(kept, np.cumsum(kept) - 1, -1)
        rows = np.flatnonzero(kept)
        if table.schema.pkey is not None and len(rows) and rows[-1] != len(rows) - 1:
            former[name] = rows
            findings.warn(f"{name} is not sorted by time; its rows are numbered anew after the cut")
        if not len(rows):
            findings.warn(f"{name} has no rows up to as_of")
    for name, table in result.items():
        result[name] = _renumber(table, new_id, findings)
    return result, former


def _renumber(table: CheckedTable, new_id: Mapping[str, np.ndarray], findings: Findings) -> CheckedTable:
    rows, hidden, schema = table.rows, dict(table.hidden), table.schema
    if schema.name in new_id and schema.pkey is not None:
        keys = pa.chunked_array([pa.array(np.arange(schema.num_rows, dtype=np.int64))])
        rows = rows.set_column(rows.schema.get_field_index(schema.pkey), schema.pkey, keys)
    for column, target in table.all_fkeys.items():
        if target not in new_id:
            continue
        values = hidden[column] if column in hidden else rows.column(column)
        old = np.asarray(pc.fill_null(values, -1).to_numpy())
        new = np.where(old >= 0, new_id[target][old], -1)
        findings.count(f"{schema.name}.{column}", "cut_by_as_of", int(((old >= 0) & (new < 0)).sum()))
        mended = pa.chunked_array([pa.array(new, pa.int64(), mask=new < 0)])
        if column in hidden:
            hidden[column] = mended
        else:
            rows = rows.set_column(rows.schema.get_field_index(column), column, mended)
    return CheckedTable(schema, rows, hidden, table.all_fkeys)


def text(seconds: int) -> str:
    """UTC seconds for a person to read."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")
