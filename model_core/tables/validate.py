"""Check a whole dataset and task, before anything is written.

``check`` does all that ingest does short of writing, so that ``relrec validate`` and the
ingest step can never disagree.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from model_core.errors import DataError
from model_core.tables.cutting import check_as_of, check_windows, cut_at, text, time_range
from model_core.tables.findings import Findings
from model_core.tables.labels import read_stored_labels
from model_core.tables.reading import CheckedTable, hide_columns, read_tables
from model_core.tables.relbench import Source, open_source, read_task, task_folder, task_names
from model_core.tables.remote import naming_the_source
from model_core.tables.routes import shortest_routes
from model_core.tables.snapshot import TableSchema, TaskSpec
from model_core.tables.sql import LabelSource, check_task_sql, run_task_sql


@dataclass(frozen=True)
class Checked:
    """A dataset that passed every check, in memory.

    Attributes:
        source: Folder and manifest.
        tables: Checked tables, cut at ``as_of``, the task's hidden columns aside.
        task: The task, or None where only the dataset was checked.
        labels: Split to stored label rows; None where labels are to be made by SQL.
        former_rows: Renumbered table to the former row of every row.
        val_time, test_time, as_of, min_time, max_time: As in Snapshot.
        findings: What was treated, and warnings.
    """

    source: Source
    tables: Mapping[str, CheckedTable]
    task: TaskSpec | None
    labels: Mapping[str, pa.Table] | None
    former_rows: Mapping[str, np.ndarray]
    val_time: int
    test_time: int
    as_of: int | None
    min_time: int
    max_time: int
    findings: Findings = field(default_factory=Findings)


@dataclass(frozen=True)
class ValidationReport:
    """What ``relrec validate`` and ``relrec describe`` show.

    Attributes:
        dataset: Dataset name.
        path: Its folder.
        description: From the manifest; may be empty.
        tables: Table name to schema.
        time_ranges: Timed table to its first and last event time, UTC seconds.
        task: The checked task, or None.
        task_names: All tasks in the dataset's folder.
        num_labels: Split to stored label rows; empty where there are none.
        val_time, test_time, min_time, max_time: UTC seconds.
        counts: Place to fault to number of values treated.
        warnings: Plain sentences.
    """

    dataset: str
    path: str
    description: str
    tables: Mapping[str, TableSchema]
    time_ranges: Mapping[str, tuple[int, int]]
    task: TaskSpec | None
    task_names: tuple[str, ...]
    num_labels: Mapping[str, int]
    val_time: int
    test_time: int
    min_time: int
    max_time: int
    counts: Mapping[str, Mapping[str, int]]
    warnings: tuple[str, ...]


def validate_dataset(dataset: str, task: str | None) -> ValidationReport:
    """Check a dataset, and a task of it if one is named.

    Args:
        dataset: Folder with manifest.yaml, or a Hub spec ``org/repo[/subdir]``.
        task: Name of a recommendation task, or None.

    Raises:
        DataError: The first fault found: where, expected, found, fix.
    """
    checked = check(dataset, task)
    return ValidationReport(
        dataset=checked.source.name, path=str(checked.source.path),
        description=checked.source.description,
        tables={name: table.schema for name, table in checked.tables.items()},
        time_ranges={name: time_range({name: table}) for name, table in checked.tables.items()
                     if table.schema.time_col is not None and table.schema.num_rows},
        task=checked.task, task_names=task_names(checked.source),
        num_labels={split: rows.num_rows for split, rows in (checked.labels or {}).items()},
        val_time=checked.val_time, test_time=checked.test_time,
        min_time=checked.min_time, max_time=checked.max_time,
        counts=checked.findings.counts, warnings=tuple(checked.findings.warnings),
    )


@naming_the_source
def check(dataset: str, task: str | None, as_of: int | None = None) -> Checked:
    """Run every check.

    Args:
        dataset: Folder or Hub spec.
        task: Task name, or None to check the tables only.
        as_of: Logical date in UTC seconds; needs a task.

    Raises:
        DataError: The first fault found.
    """
    findings = Findings()
    source = open_source(dataset)
    spec = read_task(source, task) if task is not None else None
    tables = read_tables(source, findings)
    min_time, max_time = time_range(tables)
    if spec is None:
        return Checked(source, tables, None, None, {}, source.val_time, source.test_time, None,
                       min_time, max_time, findings)
    tables = hide_columns(tables, spec, findings)
    shortest_routes({name: table.schema.fkeys for name, table in tables.items()},
                    spec.entity_table, spec.item_table)
    val_time, test_time = source.val_time, source.test_time
    former_rows: dict[str, np.ndarray] = {}
    if as_of is not None:
        check_as_of(as_of, spec, min_time, max_time, findings)
        tables, former_rows = cut_at(tables, as_of, findings)
        min_time, max_time = time_range(tables)
        val_time, test_time = as_of - 2 * spec.window_s, as_of - spec.window_s
    if spec.eval_k > (num_items := tables[spec.item_table].schema.num_rows):
        findings.warn(f"eval_k {spec.eval_k} is more than the {num_items} rows of {spec.item_table}")
    label_source = label_source_of(tables, test_time)
    labels = None if as_of is not None else read_stored_labels(
        task_folder(source, spec.name), spec, label_source.catalogue(spec), val_time, test_time, findings)
    if as_of is None:
        check_windows(val_time, test_time, spec.window_s, min_time, max_time, findings,
                      from_sql=labels is None)
    if spec.sql is not None:
        check_task_sql(label_source, spec)
    if labels is None:
        _check_evaluation_labels(label_source, spec, val_time, test_time, findings)
    return Checked(source, tables, spec, labels, former_rows, val_time, test_time, as_of,
                   min_time, max_time, findings)


def label_source_of(tables: Mapping[str, CheckedTable], test_time: int) -> LabelSource:
    """What the task's SQL sees of checked tables."""
    return LabelSource(
        {name: table.all_columns() for name, table in tables.items()},
        {name: table.schema.time_col for name, table in tables.items()},
        test_time,
    )


def _check_evaluation_labels(
    label_source: LabelSource, task: TaskSpec, val_time: int, test_time: int, findings: Findings
) -> None:
    """Make validation and test labels once, to find faults that need rows to show."""
    for split, time in (("val", val_time), ("test", test_time)):
        labels = run_task_sql(label_source, task, [time], findings=findings, place=f"labels.{split}")
        if not labels.num_rows:
            raise DataError(
                f"task {task.name!r}, {split} window", "at least one label row after its seed time",
                f"none in ({text(time)}, {text(time + task.window_s)}]",
                "move the timestamps (or as_of) into the data, or correct the SQL",
            )
