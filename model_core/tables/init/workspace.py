"""A scratch folder and a DuckDB that spills to it: large files in bounded memory."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import duckdb

#: DuckDB's own limit; what needs more goes to the scratch folder.
MEMORY_LIMIT = "2GB"


@dataclass(frozen=True)
class Workspace:
    """Where files are staged and questions about them are answered.

    Attributes:
        folder: Scratch folder, removed at the end.
        connection: DuckDB with bounded memory, spilling into ``folder``.
    """

    folder: Path
    connection: duckdb.DuckDBPyConnection

    def rows(self, query: str) -> list[tuple]:
        """All rows of a query."""
        return self.connection.execute(query).fetchall()

    def row(self, query: str) -> tuple[Any, ...]:
        """The one row of a query."""
        (row,) = self.rows(query)
        return row


@contextmanager
def open_workspace(parent: Path, memory_limit: str = MEMORY_LIMIT) -> Iterator[Workspace]:
    """A scratch folder beside the result, and a DuckDB over it, for the time of a block.

    Args:
        parent: Folder to make the scratch folder in, or in the nearest above that exists: the
            disk of the result, which has room for the data in any case.
        memory_limit: As DuckDB takes it.
    """
    import duckdb

    parent = next(folder for folder in (parent, *parent.parents) if folder.is_dir())
    folder = Path(tempfile.mkdtemp(dir=parent, prefix=".dataset-init."))
    connection = duckdb.connect(":memory:", config={
        "memory_limit": memory_limit, "temp_directory": str(folder / "spill"),
        "autoinstall_known_extensions": "false", "allow_community_extensions": "false",
    })
    try:
        connection.execute("SET TimeZone = 'UTC'")
        yield Workspace(folder, connection)
    finally:
        connection.close()
        shutil.rmtree(folder, ignore_errors=True)


def quoted(name: str) -> str:
    """A name as SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: object) -> str:
    """A text as SQL string."""
    return "'" + str(text).replace("'", "''") + "'"


def parquet_relation(paths: Sequence[Path], *, hive: bool = False) -> str:
    """Parquet files as a relation of DuckDB, rows numbered by ``file_row_number``.

    Args:
        paths: The files.
        hive: Whether a folder called ``year=2024`` on the way is a column; DuckDB would take
            one anywhere in the path for it.
    """
    return (f"read_parquet([{', '.join(map(literal, paths))}], file_row_number = true, union_by_name = true, "
            f"hive_partitioning = {str(hive).lower()})")
