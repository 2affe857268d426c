"""Read the tables of a folder: staged as parquet, every column judged, faults told by line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from model_core.errors import DataError, one_line
from model_core.tables.init.columns import Column, odd_values, read_columns
from model_core.tables.init.csv_rows import MAX_SHOWN, ROW, BadRow, CsvTable, lines_of, stage_csv
from model_core.tables.init.files import TableFiles, find_tables
from model_core.tables.init.options import InitOptions
from model_core.tables.init.workspace import Workspace, literal, parquet_relation, quoted


@dataclass(frozen=True)
class ReadTable:
    """A table as it was found.

    Attributes:
        name: From the file or sub-folder.
        files: Its source files.
        relation: The rows as SQL relation, numbered by ``file_row_number``.
        num_rows: Rows, bad ones left out.
        columns: Name to column, in the file's order.
        num_bad: Rows left out because their fields do not fit the header.
        bad_rows: The first of these, and of the values that do not fit their column.
        notes: Plain sentences: how a file was read.
    """

    name: str
    files: tuple[Path, ...]
    relation: str
    num_rows: int
    columns: Mapping[str, Column]
    num_bad: int
    bad_rows: tuple[BadRow, ...]
    notes: tuple[str, ...]

    def column(self, name: str, flag: str) -> Column:
        """A column that a flag names.

        Raises:
            DataError: There is none of that name.
        """
        if name not in self.columns:
            raise DataError(f"{flag} {self.name}", f"a column among {list(self.columns)}", repr(name),
                            "use the name in the file's header")
        return self.columns[name]


def read_folder(workspace: Workspace, folder: Path, options: InitOptions) -> dict[str, ReadTable]:
    """Read every table of a folder.

    Returns:
        Table name to table, in order of name.

    Raises:
        DataError: No tables, or files that cannot be read.
    """
    tables = {}
    for files in find_tables(folder):
        formats = {column: text for (table, column), text in options.time_formats.items()
                   if table == files.name}
        tables[files.name] = _read(workspace, files, options, formats)
    for table, column in options.time_formats:
        if table not in tables:
            raise DataError("--time-format", f"a table among {list(tables)}", repr(table), "correct the name")
        tables[table].column(column, "--time-format")
    return tables


def _read(
    workspace: Workspace, files: TableFiles, options: InitOptions, formats: Mapping[str, str]
) -> ReadTable:
    csv: CsvTable | None = None
    if files.is_csv:
        staged = workspace.folder / f"{files.name}.parquet"
        csv = stage_csv(files.paths, staged, options.encoding, options.mark)
        paths: tuple[Path, ...] = (staged,)
    else:
        for path in files.paths:
            _check_parquet(path)
        paths = files.paths
        if len(paths) > 1:
            staged = workspace.folder / f"{files.name}.parquet"
            _join_parts(workspace, files, staged)
            paths = (staged,)
    relation = parquet_relation(paths)
    (num_rows,) = workspace.row(f"SELECT count(*) FROM {relation}")
    if not num_rows:
        raise DataError(str(files.paths[0]), "at least one row", "none", "fill the file, or remove it")
    types = {name: str(type_) for name, type_, *_ in workspace.rows(f"DESCRIBE SELECT * FROM {relation}")
             if name != ROW}
    columns = {column.name: column for column in read_columns(
        workspace, relation, types, formats, files.is_csv)}
    bad_rows = csv.bad_rows if csv else ()
    odd = [found for column in columns.values() if column.num_odd
           for found in _odd(workspace, files, relation, column, csv)]
    return ReadTable(files.name, files.paths, relation, num_rows, columns, csv.num_bad if csv else 0,
                     (*bad_rows, *odd), csv.notes if csv else ())


def _join_parts(workspace: Workspace, files: TableFiles, out: Path) -> None:
    """Write the part files of a table as one, with the columns that only their folders name."""
    import duckdb

    relation = parquet_relation(files.paths, hive=True)
    try:
        workspace.connection.execute(
            f"COPY (SELECT * EXCLUDE ({ROW}) FROM {relation}) TO {literal(out)} (FORMAT parquet)")
    except duckdb.DataError as error:
        problem = one_line(str(error).partition("\n")[0])
        raise DataError(str(files.paths[0].parent), "part files with columns of one type", problem,
                        "write the parts alike, or keep those that are") from error


def _check_parquet(path: Path) -> None:
    try:
        names = pq.read_schema(path).names
    except (pa.ArrowException, OSError) as error:
        problem = " ".join(str(error).split())[:200].rstrip(".")
        raise DataError(str(path), "a whole parquet file", problem, "write or copy it again") from error
    lower = [name.lower() for name in names]
    repeated = sorted({name for name in names if lower.count(name.lower()) > 1})
    if ROW in lower:
        raise DataError(str(path), "columns of other names than that of the row's number", repr(ROW),
                        "rename this one")
    if repeated or not names:
        raise DataError(str(path), "columns of different names (capitals aside)", str(repeated or "none"),
                        "rename one of them")


def _odd(
    workspace: Workspace, files: TableFiles, relation: str, column: Column, csv: CsvTable | None
) -> list[BadRow]:
    """The first values that do not fit, by line in a CSV file of its own, else by row."""
    rows = workspace.rows(
        f"SELECT {ROW}, CAST({quoted(column.name)} AS VARCHAR) FROM {relation} "
        f"WHERE {odd_values(column)} ORDER BY 1 LIMIT {MAX_SHOWN // 2}")
    path, problem = files.paths[0], f"no {column.kind} in column {column.name!r}"
    lines = [int(row) + 1 for row, _ in rows]
    if csv is not None and len(files.paths) == 1:
        lines = lines_of(path, csv.dialects[0], [int(row) for row, _ in rows],
                         len(pq.read_schema(workspace.folder / f"{files.name}.parquet").names))
    else:
        problem = f"(row number) {problem}"
    return [BadRow(str(path), line, problem, text[:80])
            for line, (_, text) in zip(lines, rows, strict=True)]
