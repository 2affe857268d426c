"""RelBench-v3 manifests: where a dataset lies, which tables and tasks it declares.

Parsing is relbench's own; what is added here are the checks that turn a slip in a
hand-written manifest into one clear error.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model_core.errors import DataError, one_line
from model_core.storage.uri import is_remote, local_path
from model_core.tables.manifest import (
    MANIFEST_FILE,
    parse_pairs,
    parse_time,
    parse_window,
    read_yaml,
    require_keys,
)
from model_core.tables.remote import fetch_dataset, naming_the_source
from model_core.tables.snapshot import TaskSpec

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\- ]*")
_HUB_SPEC = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*(/[\w.-]+)*")


@dataclass(frozen=True)
class SourceTable:
    """What a manifest says of one table."""

    pkey: str | None
    time_col: str | None
    fkeys: Mapping[str, str]


@dataclass(frozen=True)
class Source:
    """A dataset folder and its parsed manifest.

    Attributes:
        path: The folder (for a URI or Hub spec: where it was fetched to).
        name: Dataset name.
        description: As in the manifest; may be empty.
        tables: Table name to keys and time column, in manifest order.
        val_time, test_time: Seed times of the evaluation windows, UTC seconds.
        from_hub: Whether it came from the Hub, where tasks may live in other repositories.
    """

    path: Path
    name: str
    description: str
    tables: Mapping[str, SourceTable]
    val_time: int
    test_time: int
    from_hub: bool

    @property
    def manifest_path(self) -> Path:
        return self.path / MANIFEST_FILE

    def table_path(self, table: str) -> Path:
        return self.path / "db" / f"{table}.parquet"


@naming_the_source
def open_source(dataset: str, *, tables: bool = True) -> Source:
    """Find a dataset and read its manifest.

    Args:
        dataset: Folder with a manifest.yaml, a URI of one (``gs://…``, ``s3://…``, …), which is
            fetched into the local cache, or a Hub spec ``org/repo[/subdir]``.
        tables: Whether to fetch the tables, too, of a dataset in an object store.

    Raises:
        DataError: No such dataset, or a manifest that cannot be used.
    """
    from relbench.manifest import DatasetManifest

    path, from_hub = _resolve(dataset, tables)
    where = str(path / MANIFEST_FILE)
    content = read_yaml(path / MANIFEST_FILE)
    require_keys(content, ("name", "val_timestamp", "test_timestamp", "tables"), where)
    _check_tables(content["tables"], where)
    manifest = DatasetManifest.from_dict(content | {
        "tables": {name: {key: value for key, value in (entry or {}).items() if value is not None}
                   for name, entry in content["tables"].items()}
    })
    val_time = parse_time(manifest.val_timestamp, f"{where}, val_timestamp")
    test_time = parse_time(manifest.test_timestamp, f"{where}, test_timestamp")
    if val_time >= test_time:
        raise DataError(
            f"{where}, test_timestamp", f"a time after val_timestamp {manifest.val_timestamp}",
            str(manifest.test_timestamp), "put test_timestamp at least one window after val_timestamp",
        )
    return Source(
        path=path, name=str(manifest.name), description=str(manifest.description or ""),
        tables={name: SourceTable(spec.pkey, spec.time_col, dict(spec.fkeys))
                for name, spec in manifest.tables.items()},
        val_time=val_time, test_time=test_time, from_hub=from_hub,
    )


def task_names(source: Source) -> tuple[str, ...]:
    """Names of the tasks in the dataset's own folder, sorted."""
    return tuple(sorted(path.parent.name for path in source.path.glob(f"tasks/*/{MANIFEST_FILE}")))


def task_folder(source: Source, task: str) -> Path:
    """Folder of a task.

    Raises:
        DataError: There is no such task.
    """
    folder = source.path / "tasks" / task
    if _NAME.fullmatch(task) and (folder / MANIFEST_FILE).exists():
        return folder
    if source.from_hub and _NAME.fullmatch(task):
        from relbench import hf

        found = hf.find_task_dir(source.name, task)
        if found is not None:
            return Path(found)
    raise DataError(
        f"{source.path / 'tasks'}, task {task!r}", f"one of {list(task_names(source))}",
        f"no {MANIFEST_FILE} for it", "use one of the tasks named, or add a folder for this one",
    )


def read_task(source: Source, task: str) -> TaskSpec:
    """Read and check the definition of a recommendation task.

    Raises:
        DataError: No such task, another kind of task, or a definition that cannot be used.
    """
    from relbench.manifest import TaskManifest

    path = task_folder(source, task) / MANIFEST_FILE
    where = str(path)
    content = read_yaml(path)
    require_keys(content, ("name", "kind", "task_type"), where)
    manifest = TaskManifest.from_dict(content)
    if manifest.task_type != "recommendation" or manifest.kind == "autocomplete":
        raise DataError(f"{where}, task_type", "'recommendation'",
                        f"{manifest.task_type!r} (kind {manifest.kind!r})",
                        "choose a recommendation task of this dataset")
    require_keys(content, (
        "src_entity_table", "src_entity_col", "dst_entity_table", "dst_entity_col",
        "time_col", "timedelta", "eval_k",
    ), where)
    for key in ("src_entity_table", "src_entity_col", "dst_entity_table", "dst_entity_col", "time_col"):
        if not isinstance(content[key], str):
            raise DataError(f"{where}, {key}", "a name", repr(content[key]), "name one table or column")
    columns = [content[key] for key in ("src_entity_col", "dst_entity_col", "time_col")]
    if len(set(columns)) < 3:
        raise DataError(where, "three different label columns", repr(columns),
                        "give the entity, item and time columns of the labels different names")
    if type(manifest.eval_k) is not int or manifest.eval_k < 1:
        raise DataError(f"{where}, eval_k", "a whole number of at least 1", repr(manifest.eval_k),
                        "set eval_k to the length of a recommendation list, such as 10")
    try:
        manifest.validate()
    except ValueError as error:
        raise DataError(where, "a complete recommendation task", str(error),
                        "add or correct these keys") from error
    for key in ("src_entity_table", "dst_entity_table"):
        name = content[key]
        if name not in source.tables:
            raise DataError(f"{where}, {key}", f"a table among {sorted(source.tables)}", repr(name),
                            f"name an existing table or declare {name!r} in the dataset's manifest")
        if source.tables[name].pkey is None:
            raise DataError(f"{where}, {key}", "a table with a primary key",
                            f"{name!r} without one", "declare its pkey in the dataset's manifest")
    if manifest.num_eval_timestamps != 1:
        raise DataError(f"{where}, num_eval_timestamps", "1", repr(manifest.num_eval_timestamps),
                        "recommendation tasks have one evaluation window; remove the key")
    if manifest.sql is not None and not isinstance(manifest.sql, str):
        raise DataError(f"{where}, sql", "a query as text", repr(manifest.sql), "write it as a block of text")
    window_s = parse_window(manifest.timedelta, f"{where}, timedelta")
    if source.test_time - source.val_time < window_s:
        raise DataError(
            f"{where}, timedelta", "at most the time between val_timestamp and test_timestamp",
            f"{manifest.timedelta}", "shorten the window or move the timestamps apart",
        )
    return TaskSpec(
        name=task, entity_table=manifest.src_entity_table, entity_col=manifest.src_entity_col,
        item_table=manifest.dst_entity_table, item_col=manifest.dst_entity_col,
        time_col=manifest.time_col, window_s=window_s, eval_k=manifest.eval_k, sql=manifest.sql,
        remove_columns=parse_pairs(manifest.remove_columns, f"{where}, remove_columns"),
    )


def _resolve(dataset: str, tables: bool) -> tuple[Path, bool]:
    if is_remote(dataset):
        return fetch_dataset(dataset, tables=tables), False
    is_uri = dataset.startswith("file://")
    path = local_path(dataset, "--dataset") if is_uri else Path(dataset).expanduser()
    if path.is_file():
        raise DataError(str(path), "a dataset folder", "a file", "pass the folder that holds manifest.yaml")
    first = Path(path.parts[0]) if path.parts else path
    if path.is_dir() or not _HUB_SPEC.fullmatch(dataset) or first.exists():
        if not (path / MANIFEST_FILE).exists():
            found = f"no {MANIFEST_FILE} in it" if path.is_dir() else "no such folder"
            raise DataError(f"dataset {dataset!r}", f"a folder with a {MANIFEST_FILE}", found,
                            "pass a RelBench-v3 folder or a Hub spec org/repo[/subdir]")
        return path, False
    from relbench import load_dataset

    try:
        return Path(load_dataset(dataset).dataset_dir), True
    except Exception as error:  # whatever the Hub client raises, the user needs one message
        raise DataError(
            f"dataset {dataset!r}", "a local folder or a dataset on the Hub",
            f"neither ({type(error).__name__}: {one_line(error)})",
            "check the spelling and the network, or pass a local folder",
        ) from error


def _check_tables(tables: Any, where: str) -> None:
    if not isinstance(tables, dict) or not tables:
        raise DataError(f"{where}, tables", "table name: {pkey, time_col, fkeys}", repr(tables)[:100],
                        "declare at least the tables of users, items and their events")
    for name, entry in tables.items():
        here = f"{where}, tables.{name}"
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise DataError(here, "a plain table name", repr(name), "use letters, digits and underscores")
        if not isinstance(entry, dict | None):
            raise DataError(here, "a mapping with pkey, time_col and fkeys", repr(entry)[:100],
                            "write the three keys")
        entry = entry or {}
        for key in ("pkey", "time_col"):
            if not isinstance(entry.get(key), str | None):
                raise DataError(f"{here}.{key}", "a column name or null", repr(entry[key]), "name one column")
        fkeys = entry.get("fkeys")
        if not isinstance(fkeys, dict | None) or not all(
            isinstance(text, str) for pair in (fkeys or {}).items() for text in pair
        ):
            raise DataError(f"{here}.fkeys", "column: target table pairs", repr(fkeys)[:100],
                            "write one 'column: table' line per foreign key")
        for column, target in (fkeys or {}).items():
            if target not in tables:
                raise DataError(f"{here}.fkeys.{column}", f"a table among {sorted(map(str, tables))}",
                                repr(target), "name a declared table, or declare this one")
            if (tables[target] or {}).get("pkey") is None:
                raise DataError(f"{here}.fkeys.{column}", "a target table with a primary key",
                                f"{target!r} without one", f"declare the pkey of {target!r}")
            if column == entry.get("time_col"):
                raise DataError(f"{here}.fkeys.{column}", "a column of its own", "the time column",
                                "remove one of the two roles")
