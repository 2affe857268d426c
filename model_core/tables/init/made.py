"""Tables that no file holds: the users and items that only an event file mentions."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from model_core.errors import DataError
from model_core.tables.init.columns import Column
from model_core.tables.init.names import ITEM_WORDS, USER_WORDS, key_base, looks_like_key, plural, role_score
from model_core.tables.init.options import NONE, InitOptions
from model_core.tables.init.plan import Choice, ForeignKey, Key
from model_core.tables.init.reading import ReadTable
from model_core.tables.init.workspace import Workspace

#: A column with nearly as many values as rows names no users or items.
_MAX_DISTINCT_FRACTION = 0.9


def made_tables(
    workspace: Workspace, tables: Mapping[str, ReadTable], keys: Mapping[str, Key],
    fkeys: Sequence[ForeignKey], options: InitOptions,
) -> tuple[dict[str, Key], list[ForeignKey], list[Choice]]:
    """Tables made of the distinct values of columns.

    They are made where a flag ``--fkey table.column=new_table`` says so, and where no file
    is a table of users (or items) while a column is named as a key of one.

    Raises:
        DataError: A flag points at a table whose key is unknown.
    """
    wanted: dict[str, list[tuple[str, str]]] = {}
    is_given: set[str] = set()
    held_as = {table.lower(): table for table in tables}  # SQL knows no capitals
    for (name, told), target in options.fkeys.items():
        if target == NONE or target in keys:
            continue
        flag, held = f"--fkey {name}.{told}={target}", held_as.get(target.lower())
        if held is not None:
            raise DataError(flag, "a table with a primary key", f"{held!r} without one",
                            f"pass --key {held}=COLUMN, too" if held == target else f"write {held}")
        _check_name(target, flag)
        wanted.setdefault(target, []).append((name, told))
        is_given.add(target)
    taken = {(fkey.table, fkey.column) for fkey in fkeys} | set(options.fkeys)
    taken |= {(key.table, key.column) for key in keys.values()}
    for family, chosen in ((USER_WORDS, options.user_table), (ITEM_WORDS, options.item_table)):
        if chosen in tables or any(role_score(target, family) == 1.0 for target in (*keys, *wanted)):
            continue
        for name, table in tables.items():
            for column in table.columns.values():
                if (name, column.name) in taken or not _names_things(column, family):
                    continue
                target = chosen or plural(key_base(column.name))
                if target.lower() not in held_as and target not in is_given:
                    _check_name(target, "--user-table" if family is USER_WORDS else "--item-table")
                    wanted.setdefault(target, []).append((name, column.name))
    made: dict[str, Key] = {}
    new: list[ForeignKey] = []
    choices: list[Choice] = []
    for target, sources in wanted.items():
        made[target] = Key(target, sources[0][1], tuple(sources))
        for name, source in sources:
            key = tables[name].column(source, "--fkey").key
            (known,) = workspace.row(f"SELECT count({key}) FROM {tables[name].relation}")
            new.append(ForeignKey(name, source, target, int(known), 0))
        where = " and ".join(f"{name}.{source}" for name, source in sources)
        choices.append(Choice(
            f"table {target}", "made", f"no file holds it: the distinct values of {where}",
            "given" if target in is_given else "medium",
            tuple(part for name, source in sources for part in ("--fkey", f"{name}.{source}={target}"))))
    return made, new, choices


def _check_name(table: str, flag: str) -> None:
    """Refuse a name that is no plain table name before a file of that name is written."""
    if not re.fullmatch(r"\w+", table, re.ASCII) or table.lower() == "timestamps":
        raise DataError(flag, "a plain name for the table to be made", repr(table),
                        "use letters, digits and underscores, and not timestamps")


def _names_things(column: Column, family: tuple[str, ...]) -> bool:
    return (looks_like_key(column.name) and key_base(column.name) in family
            and column.kind in ("integer", "text", "number")
            and 1 < column.num_distinct <= _MAX_DISTINCT_FRACTION * column.num_rows)
