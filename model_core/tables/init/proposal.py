"""The whole proposal: every decision about a dataset, with reasons, and the flags that accept it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model_core.errors import DataError
from model_core.tables.init.keys import foreign_keys, primary_keys
from model_core.tables.init.made import made_tables
from model_core.tables.init.names import table_stem
from model_core.tables.init.options import InitOptions
from model_core.tables.init.plan import Choice, ForeignKey, Key, TimeColumn
from model_core.tables.init.reading import ReadTable
from model_core.tables.init.roles import Roles, find_roles
from model_core.tables.init.task import task_sql
from model_core.tables.init.times import time_columns
from model_core.tables.init.windows import Windows, find_windows
from model_core.tables.init.workspace import Workspace


@dataclass(frozen=True)
class Proposal:
    """A dataset to be, not yet written.

    Attributes:
        name, task_name: Names of the dataset and its task.
        tables: Source tables.
        keys, fkeys, times: Roles of columns.
        roles: Users, items, events.
        windows: Δ and seed times.
        sql: The task's SQL.
        options: What was fixed in advance.
        choices: Every decision, for people.
        warnings: Plain sentences.
    """

    name: str
    task_name: str
    tables: Mapping[str, ReadTable]
    keys: Mapping[str, Key]
    fkeys: tuple[ForeignKey, ...]
    times: Mapping[str, TimeColumn]
    roles: Roles
    windows: Windows
    sql: str
    options: InitOptions
    choices: tuple[Choice, ...]
    warnings: tuple[str, ...]

    @property
    def unsure(self) -> tuple[Choice, ...]:
        """Decisions that a person should look at."""
        return tuple(choice for choice in self.choices if choice.confidence == "low")

    def flags(self) -> list[str]:
        """Flags that fix every decision, so that another run decides the same."""
        pairs = {("--name", self.name): None, ("--task-name", self.task_name): None}
        for choice in self.choices:
            pairs |= dict.fromkeys(zip(choice.flags[::2], choice.flags[1::2], strict=True))
        flags = [word for pair in pairs for word in pair]
        for (table, column), text in self.options.time_formats.items():
            flags += ["--time-format", f"{table}.{column}={text}"]
        for flag, value, default in (
            ("--eval-k", self.options.eval_k, 10), ("--timezone", self.options.timezone, "UTC"),
            ("--dangling", self.options.dangling, "keep"), ("--encoding", self.options.encoding, None),
            ("--delimiter", self.options.delimiter, None),
        ):
            if value != default:
                flags += [flag, str(value)]
        return flags

    def command(self, folder: Path, out: Path) -> str:
        """The command line that accepts this proposal."""
        head = ["relrec", "dataset", "init", str(folder), "--out", str(out)]
        return shlex.join([*head, *self.flags(), "--yes"])

    def as_json(self) -> dict[str, Any]:
        """The proposal for programs, and for the record beside the dataset."""
        return {
            "name": self.name,
            "task": self.task_name,
            "tables": {name: {
                "files": [path.name for path in table.files], "rows": table.num_rows,
                "bad_rows": table.num_bad, "first_bad": [str(bad) for bad in table.bad_rows],
                "columns": {column.name: column.kind for column in table.columns.values()},
            } for name, table in self.tables.items()},
            "choices": [{"subject": choice.subject, "value": choice.value, "reason": choice.reason,
                         "confidence": choice.confidence} for choice in self.choices],
            "window_s": self.windows.window_s,
            "val_time": self.windows.val_time, "test_time": self.windows.test_time,
            "sql": self.sql,
            "warnings": list(self.warnings),
            "flags": self.flags(),
        }


def propose(
    workspace: Workspace, folder: Path, tables: Mapping[str, ReadTable], options: InitOptions
) -> Proposal:
    """Decide everything that is open about a dataset.

    Args:
        workspace: Where the tables were read.
        folder: Where they came from; its name is the dataset's default name.
        tables: As ``read_folder`` gave them.
        options: What is fixed in advance.

    Raises:
        DataError: No usable task in these tables; the message names the flag that helps.
    """
    keys, key_choices = primary_keys(workspace, tables, options)
    fkeys, fkey_choices, notes = foreign_keys(workspace, tables, keys, options)
    made, new_fkeys, made_choices = made_tables(workspace, tables, keys, fkeys, options)
    keys |= made
    fkeys += new_fkeys
    times, time_choices = time_columns(workspace, tables, keys, fkeys, options)
    roles, role_choices = find_roles(tables, keys, fkeys, times, options, notes)
    windows, window_choices, warnings = find_windows(workspace, tables, keys, times, roles, options)
    why = {"empty": "it is empty", "other": "its type is no number, text or time"}
    left_out = [f"{name}.{column.name} is left out: {why[column.kind]}"
                for name, table in tables.items() for column in table.columns.values()
                if column.kind in why]
    notes += [note for table in tables.values() for note in table.notes]
    task_name = options.task_name or f"{table_stem(roles.user_table)}-{table_stem(roles.item_table)}"
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.\- ]*", task_name):
        raise DataError("--task-name", "a plain name", repr(task_name), "use letters, digits and dashes")
    return Proposal(
        name=options.name or re.sub(r"[^\w.-]+", "-", folder.resolve().name) or "dataset",
        task_name=task_name, tables=tables, keys=keys, fkeys=tuple(fkeys), times=times, roles=roles,
        windows=windows, sql=task_sql(workspace, keys, times, roles), options=options,
        choices=(*key_choices, *fkey_choices, *made_choices, *time_choices, *role_choices, *window_choices),
        warnings=(*warnings, *notes, *left_out),
    )
