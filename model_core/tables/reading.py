"""Source files to checked tables, in memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from model_core.errors import DataError, one_line
from model_core.tables.columns import plain, to_event_time, to_feature, to_fkey, to_pkey
from model_core.tables.findings import Findings
from model_core.tables.relbench import Source
from model_core.tables.snapshot import ColumnKind, TableSchema, TaskSpec


@dataclass(frozen=True)
class CheckedTable:
    """A table in the form of a snapshot.

    Attributes:
        schema: Its columns, without hidden ones.
        rows: The columns of ``schema``.
        hidden: Columns that the task removes. They are kept beside the table, never in
            it, because the task's SQL may need them to make labels.
        all_fkeys: Foreign keys, hidden ones included.
    """

    schema: TableSchema
    rows: pa.Table
    hidden: Mapping[str, pa.ChunkedArray]
    all_fkeys: Mapping[str, str]

    def all_columns(self) -> pa.Table:
        """What the task's SQL sees."""
        return pa.table({
            **dict(zip(self.rows.column_names, self.rows.columns, strict=True)), **self.hidden,
        })

    def filter(self, keep: pa.Array) -> CheckedTable:
        """The rows where ``keep`` is true, in order."""
        rows = self.rows.filter(keep)
        hidden = {name: column.filter(keep) for name, column in self.hidden.items()}
        return CheckedTable(replace(self.schema, num_rows=rows.num_rows), rows, hidden, self.all_fkeys)


def read_parquet(path: Path) -> pa.Table:
    """Read a parquet file without pandas metadata.

    Raises:
        DataError: Missing, unreadable, truncated, or no parquet file.
    """
    if not path.exists():
        raise DataError(str(path), "a parquet file", "no such file",
                        "write it, or take it out of the manifest")
    if not path.is_file():
        raise DataError(str(path), "one parquet file", "a directory", "write the rows into a single file")
    try:
        table = pq.ParquetFile(path).read()
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DataError(str(path), "a whole, readable parquet file", one_line(error),
                        "write or copy the file again, and check its permissions") from error
    return table.replace_schema_metadata(None)


def read_tables(source: Source, findings: Findings) -> dict[str, CheckedTable]:
    """Read and check every declared table.

    Returns:
        Table name to checked table, nothing hidden yet.

    Raises:
        DataError: The first fault, in manifest order.
    """
    declared = set(source.tables)
    for path in sorted(source.path.glob("db/*.parquet")):
        if path.stem not in declared:
            findings.warn(f"db/{path.name} is not declared in the manifest and is left out")
    raw = {name: read_parquet(source.table_path(name)) for name in source.tables}
    for name, table in raw.items():
        _check_shape(source, name, table)
    num_rows = {name: table.num_rows for name, table in raw.items()}
    return {name: _check_table(source, name, raw.pop(name), num_rows, findings) for name in source.tables}


def hide_columns(
    tables: Mapping[str, CheckedTable], task: TaskSpec, findings: Findings
) -> dict[str, CheckedTable]:
    """Move the task's ``remove_columns`` out of the tables.

    Raises:
        DataError: A primary key or time column is to be removed.
    """
    result = dict(tables)
    for name, column in task.remove_columns:
        if name not in result or column not in result[name].schema.columns:
            findings.warn(f"task {task.name}: remove_columns names {name}.{column}, which does not exist")
            continue
        table = result[name]
        schema = table.schema
        if column in (schema.pkey, schema.time_col):
            raise DataError(f"task {task.name!r}, remove_columns", "columns that no key or time needs",
                            f"{name}.{column}", "leave the primary key and the time column in place")
        result[name] = CheckedTable(
            replace(
                schema,
                columns={key: kind for key, kind in schema.columns.items() if key != column},
                fkeys={key: target for key, target in schema.fkeys.items() if key != column},
            ),
            table.rows.drop_columns([column]),
            {**table.hidden, column: table.rows.column(column)},
            table.all_fkeys,
        )
    return result


def _check_shape(source: Source, name: str, table: pa.Table) -> None:
    where, spec = str(source.table_path(name)), source.tables[name]
    names = table.column_names
    repeated = sorted({column for column in names if names.count(column) > 1})
    if repeated:
        raise DataError(where, "different column names", f"{repeated} more than once", "rename or drop one")
    for role, column in (("pkey", spec.pkey), ("time_col", spec.time_col),
                         *(("fkey", column) for column in spec.fkeys)):
        if column is not None and column not in names:
            raise DataError(f"{where}, {role} {column!r}", f"a column among {names}", "no such column",
                            "correct the manifest or add the column")
    if table.num_rows == 0:
        kind = "timed table" if spec.time_col else "table"
        raise DataError(where, "at least one row", f"a {kind} without rows",
                        "fill the table or take it out of the manifest")


def _check_table(
    source: Source, name: str, table: pa.Table, num_rows: Mapping[str, int], findings: Findings
) -> CheckedTable:
    spec = source.tables[name]
    columns: dict[str, pa.ChunkedArray] = {}
    kinds: dict[str, ColumnKind] = {}
    for column in table.column_names:
        where, count = f"table {name!r}, column {column!r}", findings.counter(f"{name}.{column}")
        try:
            values = plain(table.column(column))
            if column == spec.pkey:
                columns[column], kinds[column] = to_pkey(values, where), "pkey"
            elif column == spec.time_col:
                columns[column], kinds[column] = to_event_time(values, where, count), "time"
            elif column in spec.fkeys:
                target = spec.fkeys[column]
                columns[column], kinds[column] = to_fkey(values, num_rows[target], where, count), "fkey"
                if columns[column].null_count == table.num_rows:
                    findings.warn(f"{name}.{column}: no row has a usable key into {target}")
            else:
                columns[column], kinds[column] = to_feature(values, where, count)
        except pa.ArrowException as error:
            raise DataError(where, "values of one plain type", one_line(error),
                            "write the column again with a plain type") from error
    schema = TableSchema(name, spec.pkey, spec.time_col, dict(spec.fkeys), kinds, table.num_rows)
    return CheckedTable(schema, pa.table(columns), {}, dict(spec.fkeys))
