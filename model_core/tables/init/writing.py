"""Write a proposed dataset: keys numbered, times in UTC, whole or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from model_core.errors import DataError, RelrecError
from model_core.records import json_bytes
from model_core.tables.init.columns import Column
from model_core.tables.init.csv_rows import ROW
from model_core.tables.init.plan import ForeignKey
from model_core.tables.init.proposal import Proposal
from model_core.tables.init.task import label_columns
from model_core.tables.init.times import date_text
from model_core.tables.init.workspace import Workspace, literal, quoted
from model_core.tables.manifest import MANIFEST_FILE
from model_core.tables.validate import ValidationReport, validate_dataset

#: File beside the manifest that says how the dataset came to be.
RECORD_FILE = "dataset_init.json"


@dataclass(frozen=True)
class Written:
    """A written dataset.

    Attributes:
        path: Its folder.
        rows: Table to rows written.
        dropped: Table to source rows left out.
        report: What ``relrec validate`` says of it.
    """

    path: Path
    rows: dict[str, int]
    dropped: dict[str, int]
    report: ValidationReport


def check_out(out: Path) -> None:
    """Refuse a place where something else lies, before any work is done.

    Raises:
        DataError: ``out`` is a file or a folder that is not empty, or lies below a file.
    """
    above = next(folder for folder in out.absolute().parents if folder.exists())
    if not above.is_dir():
        raise DataError(str(out), "a new or empty folder", f"{above} is a file", "choose another folder")
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise DataError(str(out), "a new or empty folder", "something else in its place",
                        "choose another folder, or remove this one")


def write_dataset(workspace: Workspace, proposal: Proposal, out: Path) -> Written:
    """Write the dataset, check it as ``relrec validate`` does, then let it appear.

    Primary keys become 0..n-1: in the order of the rows, for timed tables in order of
    time. Where that changes a key, the original stays as column ``<key>_source``, which
    the task hides from models.

    Args:
        workspace: Where the tables were read.
        proposal: What to write.
        out: Folder; must not exist yet, or be empty.

    Raises:
        DataError: ``out`` is taken, or the dataset fails a check; then nothing is left.
    """
    check_out(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}."))
    try:
        rows, dropped, hidden = _write_tables(workspace, proposal, folder)
        _write_manifests(proposal, folder, hidden)
        record = proposal.as_json() | {"rows_written": rows, "rows_left_out": dropped}
        (folder / RECORD_FILE).write_bytes(json_bytes(record))
        try:
            report = validate_dataset(str(folder), proposal.task_name)
        except RelrecError as error:
            parts = [part.replace(str(folder), str(out)) for part in
                     (error.where, error.expected, error.found, error.fix)]
            raise DataError(*parts) from error
        os.chmod(folder, 0o755)
        if out.exists():
            out.rmdir()
        os.replace(folder, out)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return Written(out, rows, dropped, replace(report, path=str(out)))


def _write_tables(
    workspace: Workspace, proposal: Proposal, folder: Path
) -> tuple[dict[str, int], dict[str, int], list[tuple[str, str]]]:
    (folder / "db").mkdir()
    renumbered = _number_keys(workspace, proposal)
    rows, dropped, hidden = {}, {}, []
    for name in (*proposal.tables, *(name for name, key in proposal.keys.items() if key.made_from)):
        target = folder / "db" / f"{name}.parquet"
        selected = _made_table(proposal, name) if name not in proposal.tables \
            else _table(workspace, proposal, name, renumbered.get(name, False))
        workspace.connection.execute(
            f"COPY ({selected}) TO {literal(target)} (FORMAT parquet, COMPRESSION zstd)")
        (rows[name],) = workspace.row(f"SELECT count(*) FROM read_parquet({literal(target)})")
        if name in proposal.tables:
            dropped[name] = proposal.tables[name].num_rows + proposal.tables[name].num_bad - rows[name]
        if not rows[name]:
            raise DataError(f"table {name}", "at least one row to write", "none: all were left out",
                            "look at its key, times and --dangling")
        if renumbered.get(name):
            hidden.append((name, source_column(proposal, name)))
    return rows, dropped, hidden


def source_column(proposal: Proposal, name: str) -> str:
    """Name of the column with a table's original keys."""
    table, column = proposal.tables.get(name), f"{proposal.keys[name].column}_source"
    taken = {other.lower() for other in table.columns} if table else set()
    while column.lower() in taken:
        column += "_"
    return column


def _key_map(name: str) -> str:
    return quoted(f"keys of {name}")


def _number_keys(workspace: Workspace, proposal: Proposal) -> dict[str, bool]:
    """Make the map from key text to number of every keyed table; whether numbers differ from the keys."""
    renumbered = {name: _number(workspace, proposal, name, ()) for name in proposal.keys}
    if proposal.options.dangling == "keep":
        return renumbered
    fkeys = {name: [fkey for fkey in proposal.fkeys if fkey.table == name] for name in proposal.keys}
    # A row that is left out may be what rows of other tables, or of its own, lead to.
    while True:
        before = [_num_keys(workspace, name) for name in proposal.keys]
        renumbered |= {name: _number(workspace, proposal, name, fkeys[name])
                       for name in proposal.keys if fkeys[name]}
        if before == [_num_keys(workspace, name) for name in proposal.keys]:
            return renumbered


def _num_keys(workspace: Workspace, name: str) -> int:
    return int(workspace.row(f"SELECT count(*) FROM {_key_map(name)}")[0])


def _number(workspace: Workspace, proposal: Proposal, name: str, fkeys: Sequence[ForeignKey]) -> bool:
    """Number the rows of one table whose given foreign keys lead to rows that are numbered."""
    key = proposal.keys[name]
    if key.made_from:
        sources = [(proposal.tables[table], column) for table, column in key.made_from]
        values = " UNION ".join(f"SELECT {table.columns[column].key} AS key FROM {table.relation}"
                                for table, column in sources)
        source = f"SELECT DISTINCT key, NULL AS row FROM ({values}) WHERE key IS NOT NULL"
        order = "TRY_CAST(key AS BIGINT), key"
    else:
        table, time = proposal.tables[name], proposal.times.get(name)
        when = f"min_by({time.value}, {ROW})" if time else "NULL"
        source = (f"SELECT {table.columns[key.column].key} AS key, min({ROW}) AS row, {when} AS moment "
                  f"FROM {table.relation} WHERE {_kept(proposal, name, fkeys)} GROUP BY 1")
        order = "row"

    def make(order: str) -> None:
        workspace.connection.execute(
            f"CREATE OR REPLACE TABLE {_key_map(name)} AS "
            f"SELECT key, row, row_number() OVER (ORDER BY {order}) - 1 AS id "
            f"FROM ({source}) WHERE key IS NOT NULL")

    make(order)
    (differs,) = workspace.row(f"SELECT count_if(key <> CAST(id AS VARCHAR)) > 0 FROM {_key_map(name)}")
    if differs and not key.made_from and name in proposal.times:
        # New numbers are in order of time, so that a cut at a date keeps a prefix.
        make("moment, row")
    return bool(differs)


def _kept(proposal: Proposal, name: str, fkeys: Sequence[ForeignKey]) -> str:
    """SQL condition of source rows that stay: they have their time, and the foreign keys lead somewhere."""
    conditions = ["true"]
    if name in proposal.times:
        conditions.append(f"{proposal.times[name].value} IS NOT NULL")
    for fkey in fkeys:
        value = proposal.tables[name].columns[fkey.column].key
        conditions.append(f"({value} IS NULL OR {value} IN (SELECT key FROM {_key_map(fkey.target)}))")
    return " AND ".join(conditions)


def _made_table(proposal: Proposal, name: str) -> str:
    column = proposal.keys[name].column
    return (f"SELECT id AS {quoted(column)}, key AS {quoted(source_column(proposal, name))} "
            f"FROM {_key_map(name)} ORDER BY id")


def _table(workspace: Workspace, proposal: Proposal, name: str, is_renumbered: bool) -> str:
    table, key, time = proposal.tables[name], proposal.keys.get(name), proposal.times.get(name)
    fkeys = {fkey.column: fkey for fkey in proposal.fkeys if fkey.table == name}
    selected: list[str] = []
    inner: list[str] = [ROW]
    joins: list[str] = []
    order = f"r.{ROW}"
    for position, column in enumerate(table.columns.values()):
        alias = f"c{position}"
        if key is not None and column.name == key.column:
            inner.append(f"{column.key} AS {alias}")
            joins.append(f"JOIN {_key_map(name)} own ON own.key = r.{alias} AND own.row = r.{ROW}")
            selected.append(f"own.id AS {quoted(column.name)}")
            if is_renumbered:
                selected.append(f"r.{alias} AS {quoted(source_column(proposal, name))}")
            order = "own.id"
        elif column.name in fkeys:
            inner.append(f"{column.key} AS {alias}")
            selected.append(f"f{position}.id AS {quoted(column.name)}")
            joins.append(f"LEFT JOIN {_key_map(fkeys[column.name].target)} f{position} "
                         f"ON f{position}.key = r.{alias}")
        elif column.kind not in ("empty", "other"):
            inner.append(f"{_typed(column, time.value if time and time.column == column.name else None)} "
                         f"AS {alias}")
            selected.append(f"r.{alias} AS {quoted(column.name)}")
    known = tuple(fkeys.values()) if proposal.options.dangling == "drop" else ()
    return (f"SELECT {', '.join(selected)} FROM (SELECT {', '.join(inner)} FROM {table.relation} "
            f"WHERE {_kept(proposal, name, known)}) r {' '.join(joins)} ORDER BY {order}")


def _typed(column: Column, time_value: str | None) -> str:
    if time_value is not None or column.kind == "time":
        # Nanoseconds are the one unit that relbench's conversion of times is right for.
        return f"CAST({time_value or column.value} AS TIMESTAMP_NS)"
    return column.value


def _write_manifests(proposal: Proposal, folder: Path, hidden: list[tuple[str, str]]) -> None:
    from relbench.manifest import DatasetManifest, TableSpec, TaskManifest

    roles, windows = proposal.roles, proposal.windows
    fkeys: dict[str, list[ForeignKey]] = {}
    for fkey in proposal.fkeys:
        fkeys.setdefault(fkey.table, []).append(fkey)
    names = (*proposal.tables, *(name for name, key in proposal.keys.items() if key.made_from))
    files = ", ".join(path.name for table in proposal.tables.values() for path in table.files[:1])
    DatasetManifest(
        name=proposal.name, val_timestamp=date_text(windows.val_time),
        test_timestamp=date_text(windows.test_time),
        description=f"Made from {files}.",
        tables={name: TableSpec(
            proposal.keys[name].column if name in proposal.keys else None,
            proposal.times[name].column if name in proposal.times else None,
            {fkey.column: fkey.target for fkey in fkeys.get(name, ())}) for name in names},
    ).save(folder / MANIFEST_FILE)
    user_column, item_column = label_columns(proposal.keys, roles)
    task = TaskManifest(
        name=proposal.task_name, kind="forecast", task_type="recommendation",
        description=f"{roles.item_table} that a row of {roles.user_table} meets in {roles.event_table} "
                    f"in the next {windows.text}.",
        src_entity_table=roles.user_table, src_entity_col=user_column, dst_entity_table=roles.item_table,
        dst_entity_col=item_column, target_col=item_column, time_col="timestamp",
        eval_k=proposal.options.eval_k, timedelta=windows.text, sql=proposal.sql,
        remove_columns=[list(pair) for pair in hidden] or None,
    )
    task.save(folder / "tasks" / proposal.task_name / MANIFEST_FILE)


