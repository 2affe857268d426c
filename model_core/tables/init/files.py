"""Which tables a folder holds, and how its CSV files are written: encoding and delimiter."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import re
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, cast

from model_core.errors import DataError

if TYPE_CHECKING:
    import _csv

_CSV = (".csv", ".tsv", ".txt", ".csv.gz", ".tsv.gz", ".txt.gz")
_PARQUET = (".parquet", ".pq")
_DELIMITERS = (",", ";", "\t", "|")
_SAMPLE_CHARACTERS = 1 << 18
#: Longest value of a CSV file; Python's reader stops at 128 kB unless told otherwise.
_MAX_FIELD = 16 << 20
#: Text files that lie beside tables and are none.
_NO_TABLE = re.compile(r"(readme|licen[cs]e|notice|changelog)\b.*\.txt", re.IGNORECASE)
#: What a file that cannot be read, or not be unpacked, raises.
_UNREADABLE = (OSError, EOFError, zlib.error)
_MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))


@dataclass(frozen=True)
class TableFiles:
    """The files of one table, all of one format, in order of name."""

    name: str
    paths: tuple[Path, ...]
    is_csv: bool


@dataclass(frozen=True)
class Dialect:
    """How a CSV file is written."""

    encoding: str
    delimiter: str

    def open_text(self, path: Path) -> IO[str]:
        """The decoded text of a file; line ends as they are."""
        return io.TextIOWrapper(open_bytes(path), encoding=self.encoding, newline="")


def find_tables(folder: Path) -> list[TableFiles]:
    """One table per file, and one per sub-folder of part files.

    Args:
        folder: Holds ``*.csv``, ``*.tsv``, ``*.txt`` (also ``.gz``) and ``*.parquet`` files.

    Raises:
        DataError: No such folder, no such files, or two tables of one name.
    """
    if not folder.is_dir():
        raise DataError(str(folder), "a folder of CSV or parquet files",
                        "a file" if folder.exists() else "no such folder", "pass the folder that holds them")
    found: list[TableFiles] = []
    for path in sorted(folder.iterdir()):
        if path.name.startswith((".", "_")) or _NO_TABLE.fullmatch(path.name):
            continue
        if path.is_dir():
            parts = [part for part in sorted(path.rglob("*"))
                     if part.is_file() and not part.name.startswith((".", "_")) and _suffix(part)]
            kinds = {_suffix(part) in _CSV for part in parts}
            if len(kinds) > 1:
                raise DataError(str(path), "part files of one format", "CSV and parquet files",
                                "keep one of the two")
            if parts:
                # Spark writes its part files into a folder that is called like a file.
                stem = path.name[: len(path.name) - len(_suffix(path))]
                found.append(TableFiles(_table_name(stem), tuple(parts), kinds.pop()))
        elif suffix := _suffix(path):
            name = _table_name(path.name[: -len(suffix)])
            found.append(TableFiles(name, (path,), suffix in _CSV))
    if not found:
        raise DataError(str(folder), "CSV or parquet files", "none",
                        f"put one file per table there ({', '.join((*_CSV, *_PARQUET))})")
    repeated = [name for name, number in Counter(table.name.lower() for table in found).items() if number > 1]
    if repeated:
        raise DataError(str(folder), "one file per table", f"several for {repeated[0]!r}",
                        "rename one, or put the parts of a table into a folder of its name")
    return found


def dialect_of(path: Path, encoding: str | None, delimiter: str | None) -> Dialect:
    """Encoding and delimiter of a CSV file.

    The encoding comes from a byte-order mark, else the whole file is read as UTF-8, else
    it is taken as Windows-1252. The delimiter is the one that cuts the first records into
    most columns, equally many in each.

    Raises:
        DataError: An empty file, or an encoding that does not fit the file.
    """
    encoding = _checked_encoding(path, encoding) if encoding else _guess_encoding(path)
    if encoding == "utf-8" and _start(path).startswith(codecs.BOM_UTF8):
        encoding = "utf-8-sig"
    with Dialect(encoding, ",").open_text(path) as file:
        sample = file.read(_SAMPLE_CHARACTERS)
    if not sample.strip():
        raise DataError(str(path), "a header line and rows", "an empty file", "fill it, or remove it")
    if delimiter is None:
        if len(sample) == _SAMPLE_CHARACTERS:
            sample = sample[: sample.rfind("\n") + 1] or sample
        delimiter = max(_DELIMITERS, key=lambda mark: _fit(sample, mark))
    return Dialect(encoding, delimiter)


def open_bytes(path: Path) -> IO[bytes]:
    """A file, unpacked if it is gzipped."""
    return cast(IO[bytes], gzip.open(path)) if path.name.endswith(".gz") else path.open("rb")


def records(path: Path, dialect: Dialect) -> Iterator[tuple[int, list[str]]]:
    """(line on which it starts, fields) of every record; empty lines are passed over."""
    with dialect.open_text(path) as file:
        reader = _csv_reader(file, dialect.delimiter)
        before = 0
        for fields in reader:
            if fields:
                yield before + 1, fields
            before = reader.line_num


def check_quotes(path: Path, dialect: Dialect) -> None:
    """Refuse a file in which a quote is never closed: it would swallow the rows after it.

    Only a file with an odd number of quotes is read through, because that is slow.

    Raises:
        DataError: With the line on which the record starts.
    """
    with open_bytes(path) as file:
        if sum(block.count(b'"') for block in iter(lambda: file.read(1 << 20), b"")) % 2 == 0:
            return
    with dialect.open_text(path) as text:
        reader = _csv_reader(text, dialect.delimiter, strict=True)
        before = 0
        try:
            for _ in reader:
                before = reader.line_num
        except csv.Error as error:
            raise DataError(f"{path}:{before + 1}", "closed quotes, doubled within a value", str(error),
                            "close the quote, or write it twice") from error


def _suffix(path: Path) -> str:
    name = path.name.lower()
    return next((suffix for suffix in sorted((*_CSV, *_PARQUET), key=len, reverse=True)
                 if name.endswith(suffix)), "")


def _table_name(stem: str) -> str:
    name = re.sub(r"\W+", "_", stem, flags=re.ASCII).strip("_") or "table"
    # The SQL of a task calls its seed times so, in whatever case.
    return "timestamps_table" if name.lower() == "timestamps" else name


def _csv_reader(text: Iterable[str], delimiter: str, strict: bool = False) -> _csv.Reader:
    csv.field_size_limit(_MAX_FIELD)
    return csv.reader(text, delimiter=delimiter, strict=strict)


def _checked_encoding(path: Path, encoding: str) -> str:
    """The encoding by Python's name for it, if the file is in it."""
    try:
        io.TextIOWrapper(io.BytesIO(), encoding)  # refuses codecs that are no text, such as hex
        encoding = codecs.lookup(encoding).name
    except LookupError as error:
        raise DataError("--encoding", "an encoding that Python knows", repr(encoding),
                        "pass for example utf-8, cp1252 or utf-16") from error
    position = _undecodable(path, encoding)
    if position is not None:
        raise DataError(str(path), f"{encoding} text", f"bytes that are not, about {position:,} bytes in",
                        "pass the encoding that the file was written in")
    return encoding


def _guess_encoding(path: Path) -> str:
    start = _start(path)
    for mark, encoding in _MARKS:
        if start.startswith(mark):
            return _checked_encoding(path, encoding)
    for encoding in ("utf-8", "cp1252"):
        if _undecodable(path, encoding) is None:
            return encoding
    return "latin-1"


def _start(path: Path) -> bytes:
    try:
        with open_bytes(path) as file:
            return file.read(4)
    except _UNREADABLE as error:
        raise _unreadable(path, error) from error


def _undecodable(path: Path, encoding: str) -> int | None:
    """About where the file stops being in this encoding; None if it is all the way."""
    decoder = codecs.getincrementaldecoder(encoding)()
    position = 0
    try:
        with open_bytes(path) as file:
            while block := file.read(1 << 20):
                decoder.decode(block)
                position += len(block)
            decoder.decode(b"", final=True)
    except UnicodeError:
        return position
    except _UNREADABLE as error:
        raise _unreadable(path, error) from error
    return None


def _unreadable(path: Path, error: Exception) -> DataError:
    return DataError(str(path), "a readable file", str(error), "write or copy it again")


def _fit(sample: str, delimiter: str) -> tuple[float, int]:
    try:
        widths = [len(row) for row in _csv_reader(io.StringIO(sample, newline=""), delimiter) if row]
    except csv.Error:
        return (0.0, 0)
    if not widths or widths[0] < 2:
        return (0.0, 0)
    return (round(sum(width == widths[0] for width in widths) / len(widths), 1), widths[0])
