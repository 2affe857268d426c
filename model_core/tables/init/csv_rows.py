"""CSV files to one parquet file of text columns, in bounded memory; bad rows are told by line."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from model_core.errors import DataError
from model_core.tables.init.files import Dialect, check_quotes, dialect_of, records

#: Bad rows that are shown; all are counted.
MAX_SHOWN = 10
#: With more bad rows than this the file was misread as a whole.
MAX_BAD_FRACTION = 0.1
_BLOCK_BYTES = 16 << 20
_ROWS_PER_GROUP = 1 << 17
#: The number of a row in a staged file: DuckDB's name for it.
ROW = "file_row_number"


@dataclass(frozen=True)
class BadRow:
    """A row that was left out, or a value that was.

    Attributes:
        file: Path of the file.
        line: Line on which the row starts, from 1.
        problem: What is wrong with it.
        text: The row or value, cut short.
    """

    file: str
    line: int
    problem: str
    text: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.problem}: {self.text!r}"


@dataclass(frozen=True)
class CsvTable:
    """What was read of a table's CSV files.

    Attributes:
        num_rows: Good rows.
        num_bad: Rows left out because they have too many or too few fields.
        bad_rows: The first of them.
        notes: How the files were read, where that is not plain.
        dialects: One per file.
    """

    num_rows: int
    num_bad: int
    bad_rows: tuple[BadRow, ...]
    notes: tuple[str, ...]
    dialects: tuple[Dialect, ...]


def stage_csv(
    paths: Sequence[Path], out: Path, encoding: str | None = None, delimiter: str | None = None
) -> CsvTable:
    """Write the rows of CSV files of one header to a parquet file; every column is text.

    Types are left for later, when all values have been seen. Empty fields are null.

    Args:
        paths: The files, each with a header line.
        out: Parquet file to write.
        encoding, delimiter: As told; unset: found out per file.

    Raises:
        DataError: No header, no rows, headers that differ, an unclosed quote, more than one
            bad row in ten, or bytes that are not in the encoding.
    """
    names: list[str] = []
    notes: list[str] = []
    dialects: list[Dialect] = []
    bad_rows: list[BadRow] = []
    num_rows = num_bad = 0
    writer: pq.ParquetWriter | None = None
    try:
        for path in paths:
            dialect = dialect_of(path, encoding, delimiter)
            dialects.append(dialect)
            check_quotes(path, dialect)
            here, renamed, first_line = _header(path, dialect)
            if names and set(here) != set(names):
                raise DataError(str(path), f"the columns of {paths[0].name}, {names}", str(here),
                                "make the part files alike")
            names = names or here
            notes += renamed
            if dialect.encoding not in ("utf-8", "utf-8-sig") and encoding is None:
                notes.append(f"{path.name} is no UTF-8, so read as {dialect.encoding}; see --encoding")
            rejected: list[tuple[int, str]] = []
            counts: Counter[str] = Counter()
            rows_here = 0
            for batch in _batches(path, dialect, here, first_line, rejected, counts):
                if writer is None:
                    schema = pa.schema([(name, pa.string()) for name in names])
                    writer = pq.ParquetWriter(out, schema, compression="zstd")
                writer.write_table(batch.select(names), row_group_size=_ROWS_PER_GROUP)
                rows_here += batch.num_rows
            bad_here = counts.total()
            if (bad_here > MAX_BAD_FRACTION * (rows_here + bad_here) and bad_here > 1) or not rows_here:
                _refuse(path, dialect, here, rejected, rows_here, bad_here)
            bad_rows += _located(path, dialect, rejected, MAX_SHOWN - len(bad_rows), len(here))
            num_rows, num_bad = num_rows + rows_here, num_bad + bad_here
    finally:
        if writer is not None:
            writer.close()
    return CsvTable(num_rows, num_bad, tuple(bad_rows), tuple(notes), tuple(dialects))


def lines_of(path: Path, dialect: Dialect, good_rows: Sequence[int], num_columns: int) -> list[int]:
    """Lines on which the given good rows (numbered from 0) start."""
    wanted, row = sorted(good_rows), -1
    lines: list[int] = []
    for number, (line, fields) in enumerate(records(path, dialect)):
        if number and len(fields) == num_columns:
            row += 1
            if len(lines) < len(wanted) and row == wanted[len(lines)]:
                lines.append(line)
        if len(lines) == len(wanted):
            break
    return lines


def _header(path: Path, dialect: Dialect) -> tuple[list[str], list[str], int]:
    """Column names, notes on those that had to be changed, and the line on which the header starts."""
    first = next(records(path, dialect), None)
    if first is None:
        raise DataError(str(path), "a header line and rows", "an empty file", "fill it, or remove it")
    cells = [cell.strip() for cell in first[1]]
    if all(_is_number(cell) for cell in cells):
        raise DataError(str(path), "column names in the first line", f"only numbers: {cells[:5]}",
                        "add a header line")
    names: list[str] = []
    notes: list[str] = []
    taken = {ROW}
    for position, cell in enumerate(cells):
        plain = cell or f"column_{position + 1}"
        # A made name must not be one that stands further on in the header.
        name, others = plain, {other.lower() for other in cells[position + 1:]} - {plain.lower()}
        number = 1
        while name.lower() in taken or (name != plain and name.lower() in others):
            number += 1
            name = f"{plain}_{number}"
        taken.add(name.lower())
        if name != cell:
            notes.append(f"{path.name}: column {position + 1} ({cell!r}) is called {name!r}")
        names.append(name)
    return names, notes, first[0]


def _batches(path, dialect, names, first_line, rejected, counts):
    """Tables of good rows; (number, text) of the first bad rows go to ``rejected``."""

    def reject(row: pyarrow.csv.InvalidRow) -> str:
        counts["rows"] += 1
        if len(rejected) < MAX_SHOWN:
            rejected.append((row.number or 0, row.text))
        return "skip"

    try:
        reader = pyarrow.csv.open_csv(
            str(path),
            read_options=pyarrow.csv.ReadOptions(
                use_threads=False, block_size=_BLOCK_BYTES, column_names=names, skip_rows_after_names=1,
                skip_rows=first_line - 1,  # empty lines before the header
                encoding="utf8" if dialect.encoding == "utf-8" else dialect.encoding),
            parse_options=pyarrow.csv.ParseOptions(
                delimiter=dialect.delimiter, newlines_in_values=True, invalid_row_handler=reject),
            convert_options=pyarrow.csv.ConvertOptions(
                column_types={name: pa.string() for name in names}, null_values=[""],
                strings_can_be_null=True, quoted_strings_can_be_null=True),
        )
        for batch in reader:
            yield pa.Table.from_batches([batch])
    except (pa.ArrowException, UnicodeError, OSError, EOFError) as error:
        problem = " ".join(str(error).split())[:200].rstrip(".")
        raise DataError(str(path), f"rows of {len(names)} fields in {dialect.encoding}", problem,
                        "look for an unclosed quote, a row of more than 16 MB, or another encoding "
                        "(--encoding, --delimiter)") from error


def _located(
    path: Path, dialect: Dialect, rejected: Sequence[tuple[int, str]], most: int, num_columns: int
) -> list[BadRow]:
    """Bad rows with the lines on which they start, which only a second look at the file tells."""
    wanted = dict(rejected[: max(most, 0)])
    result: list[BadRow] = []
    for number, (line, fields) in enumerate(records(path, dialect) if wanted else (), start=1):
        if number in wanted:
            result.append(BadRow(str(path), line, f"{len(fields)} fields in place of {num_columns}",
                                 wanted[number][:80]))
        if len(result) == len(wanted):
            break
    return result


def _refuse(path, dialect, names, rejected, num_rows: int, num_bad: int) -> None:
    if not num_bad:
        raise DataError(str(path), "rows below the header", "a header line alone", "fill it, or remove it")
    first = _located(path, dialect, rejected, 1, len(names))
    raise DataError(
        str(path), f"rows of {len(names)} fields, cut at {dialect.delimiter!r}",
        f"{num_bad:,} other rows of {num_rows + num_bad:,}"
        + "".join(f", the first in line {bad.line}" for bad in first),
        "pass --delimiter, or mend the rows")


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
