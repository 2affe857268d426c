"""Logical dates held against a dataset before any run is started."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from model_core.errors import DataError, one_line
from model_core.tables.columns import plain, to_event_time
from model_core.tables.cutting import check_as_of, column_range, span
from model_core.tables.findings import Findings
from model_core.tables.relbench import open_source, read_task
from model_core.tables.remote import naming_the_source


@naming_the_source
def check_logical_dates(dataset: str, task: str, dates: Iterable[int]) -> None:
    """Refuse dates for which ``ingest`` would refuse to run. Only time columns are read.

    Args:
        dataset: Folder, URI or Hub spec.
        task: Name of a task.
        dates: UTC seconds.

    Raises:
        DataError: No such dataset or task, labels that cannot be made anew, or a date outside the data.
    """
    source = open_source(dataset)
    spec = read_task(source, task)
    first, last = span(end for name, table in source.tables.items() if table.time_col is not None
                       for end in _range(source.table_path(name), name, table.time_col))
    for date in dates:
        check_as_of(date, spec, first, last, Findings())


def _range(path: Path, table: str, column: str) -> tuple[int, ...]:
    try:
        values = pq.ParquetFile(path).read(columns=[column]).column(column)
    except (pa.ArrowException, OSError, KeyError) as error:
        raise DataError(str(path), f"a parquet file with the time column {column!r}",
                        one_line(error),
                        "run relrec validate to see what is wrong") from error
    if not len(values):
        return ()
    where = f"table {table!r}, column {column!r}"
    return column_range(to_event_time(plain(values), where, Findings().counter(f"{table}.{column}")))
