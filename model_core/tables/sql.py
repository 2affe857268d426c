"""Labels from a task's SQL, in a DuckDB that can reach nothing but the tables.

The query comes from a dataset, so it is not trusted: no files, no network, no
extensions, no settings, one SELECT, bounded memory, time and result.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from model_core.errors import DataError, one_line
from model_core.tables.columns import TIMESTAMP
from model_core.tables.findings import Findings
from model_core.tables.labels import Catalogue, canonical_labels
from model_core.tables.snapshot import Snapshot, TaskSpec, to_seconds

MEMORY_LIMIT = "4GB"
TIMEOUT_S = 600.0
MAX_LABEL_ROWS = 50_000_000


@dataclass(frozen=True)
class LabelSource:
    """What a task's SQL sees.

    Attributes:
        rows: Table name to all its columns, those hidden from models included.
        time_cols: Table name to event-time column, or None.
        test_time: Ids born after this moment are left out of labels, UTC seconds.
    """

    rows: Mapping[str, pa.Table]
    time_cols: Mapping[str, str | None]
    test_time: int

    @classmethod
    def of(cls, snapshot: Snapshot) -> LabelSource:
        """The tables of a snapshot, with the columns it keeps aside for the SQL."""
        rows = {}
        for name in snapshot.tables:
            table = snapshot.table(name)
            hidden = hidden_columns(snapshot, name)
            if hidden is not None:
                for column in hidden.column_names:
                    table = table.append_column(column, hidden.column(column))
            rows[name] = table
        times = {name: schema.time_col for name, schema in snapshot.tables.items()}
        return cls(rows, times, snapshot.test_time)

    def upto(self, time: int) -> Mapping[str, pa.Table]:
        """Rows with event time ≤ ``time`` (seconds); tables without time are whole."""
        limit = pa.scalar(time * 1_000_000, pa.int64()).cast(TIMESTAMP)
        return {
            name: table if (column := self.time_cols[name]) is None
            else table.filter(pc.less_equal(table.column(column), limit))
            for name, table in self.rows.items()
        }

    def catalogue(self, task: TaskSpec) -> Catalogue:
        """Which ids the labels of a task may name."""
        return Catalogue(self._born(task.entity_table), self._born(task.item_table))

    def _born(self, name: str) -> np.ndarray:
        column, table = self.time_cols[name], self.rows[name]
        if column is None:
            return np.ones(table.num_rows, dtype=bool)
        return to_seconds(table.column(column)) <= self.test_time


def hidden_columns(snapshot: Snapshot, name: str) -> pa.Table | None:
    """Columns of a table that the task removes; for the task's SQL only."""
    file = f"hidden/{name}.parquet"
    return pq.read_table(snapshot.record.file(file)) if file in snapshot.record.files else None


def run_task_sql(
    source: Snapshot | LabelSource,
    task: TaskSpec,
    seed_times: Sequence[int],
    *,
    upto: int | None = None,
    findings: Findings | None = None,
    place: str = "labels.sql",
    timeout_s: float = TIMEOUT_S,
    memory_limit: str = MEMORY_LIMIT,
    num_threads: int | None = None,
    max_rows: int = MAX_LABEL_ROWS,
) -> pa.Table:
    """Make label rows at the given seed times.

    The query sees every table by its name and a relation ``timestamps(timestamp)``;
    ``{timedelta}`` stands for the window, as in relbench 3.

    Args:
        source: A snapshot, or tables in its form.
        task: The task; its ``sql`` must be set.
        seed_times: UTC seconds.
        upto: Rows after this moment are not visible to the query, UTC seconds. Unset:
            the end of the last label window, which a label needs at most. (relbench shows
            train and validation queries all rows up to the test timestamp; a query whose
            answer differs reads past its window.)
        findings: Takes counts of what was dropped or merged, under ``place``.
        place: Name of the counts.
        timeout_s: The query is interrupted after so many seconds.
        memory_limit: DuckDB's limit on its own memory; it never spills to disk.
        num_threads: Unset: one per CPU.
        max_rows: Most rows a result may have.

    Returns:
        Columns time, entity, items as described at ``canonical_labels``.

    Raises:
        DataError: The query fails, reaches outside, takes too much, or returns other
            columns, seed times or ids than declared.

    Example:
        ``run_task_sql(Snapshot.open(path), snapshot.task, [snapshot.test_time])``
    """
    if task.sql is None:
        raise DataError(f"task {task.name!r}", "SQL that makes its labels", "none",
                        "use the stored labels, without as_of, or add sql to the task's manifest")
    if isinstance(source, Snapshot):
        source = LabelSource.of(source)
    findings = findings or Findings()
    if upto is None:
        upto = max(seed_times, default=0) + task.window_s
    query = LabelQuery(task, timeout_s, memory_limit, num_threads, max_rows)
    result = query.run(source.upto(upto), seed_times)
    return canonical_labels(result, task, source.catalogue(task), seed_times, query.where,
                            findings.counter(place), drop_dangling=True)


def check_task_sql(source: LabelSource, task: TaskSpec) -> None:
    """Prove that a query is sound without its cost: run it over empty tables.

    Raises:
        DataError: As ``run_task_sql``, as far as it shows without rows.
    """
    empty = {name: table.slice(0, 0) for name, table in source.rows.items()}
    query = LabelQuery(task)
    canonical_labels(query.run(empty, [source.test_time]), task, source.catalogue(task),
                     [source.test_time], query.where, lambda _fault, _number: None, drop_dangling=True)


@dataclass(frozen=True)
class LabelQuery:
    """One locked-down execution of a task's SQL."""

    task: TaskSpec
    timeout_s: float = TIMEOUT_S
    memory_limit: str = MEMORY_LIMIT
    num_threads: int | None = None
    max_rows: int = MAX_LABEL_ROWS

    @property
    def where(self) -> str:
        return f"task {self.task.name!r}, sql"

    @cached_property
    def text(self) -> str:
        """The query with ``{timedelta}`` filled in as relbench does: "14 days 00:00:00"."""
        minutes, seconds = divmod(self.task.window_s, 60)
        hours, minutes = divmod(minutes, 60)
        days, hours = divmod(hours, 24)
        assert self.task.sql is not None
        return self.task.sql.replace("{timedelta}", f"{days} days {hours:02}:{minutes:02}:{seconds:02}")

    def run(self, rows: Mapping[str, pa.Table], seed_times: Sequence[int]) -> pa.Table:
        """The raw result."""
        import duckdb

        if "timestamps" in rows:
            raise DataError("table 'timestamps'", "another name: the SQL needs this one for seed times",
                            "a table of the dataset", "rename the table")
        seeds = pa.array(np.asarray(sorted(set(seed_times)), dtype=np.int64) * 1_000_000).cast(TIMESTAMP)
        connection = duckdb.connect(":memory:", config={
            "enable_external_access": "false", "python_enable_replacements": "false",
            "autoinstall_known_extensions": "false", "autoload_known_extensions": "false",
            "allow_community_extensions": "false", "temp_directory": "",
            "memory_limit": self.memory_limit,
            "threads": str(self.num_threads or os.cpu_count() or 1),
        })
        timer = threading.Timer(self.timeout_s, connection.interrupt)
        try:
            connection.register("timestamps", pa.table({"timestamp": seeds}))
            for name, table in rows.items():
                connection.register(name, table)
            connection.execute("SET lock_configuration = true")
            self._check_statement(connection, duckdb)
            timer.start()
            result = connection.sql(self.text).limit(self.max_rows + 1).to_arrow_table()
        except duckdb.Error as error:
            raise self._explain(error, duckdb) from error
        finally:
            timer.cancel()
            connection.close()
        if result.num_rows > self.max_rows:
            raise DataError(self.where, f"at most {self.max_rows:,} label rows", "more",
                            "return one row per seed time and entity")
        return result

    def _check_statement(self, connection, duckdb) -> None:
        statements = connection.extract_statements(self.text)
        kinds = [statement.type.name for statement in statements]
        if kinds != ["SELECT"]:
            raise DataError(self.where, "one SELECT statement", " and ".join(kinds) or "nothing",
                            "write a single query that returns the label rows")

    def _explain(self, error: Exception, duckdb) -> DataError:
        message = one_line(error)
        expected, fix = {
            duckdb.ParserException: ("valid DuckDB SQL", "correct the query"),
            duckdb.PermissionException: (
                "a query over the dataset's tables alone",
                "remove the access to files, network or settings"),
            duckdb.OutOfMemoryException: (
                f"a query that needs at most {self.memory_limit}",
                "join on keys and restrict times to the label window"),
            duckdb.InterruptException: (
                f"a query that takes at most {self.timeout_s:g} s",
                "join on keys and restrict times to the label window"),
        }.get(type(error), ("a query that runs", "correct the query; it sees the dataset's tables, "
                            "timestamps(timestamp) and {timedelta}"))
        return DataError(self.where, expected, message, fix)
