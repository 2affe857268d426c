"""The prediction window, and the moments at which it is evaluated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from model_core.errors import DataError
from model_core.tables.init.options import InitOptions, window_text
from model_core.tables.init.plan import Choice, Key, TimeColumn
from model_core.tables.init.reading import ReadTable
from model_core.tables.init.roles import Roles
from model_core.tables.init.times import date_text
from model_core.tables.init.workspace import Workspace
from model_core.tables.manifest import parse_time, parse_window

_HOUR, _DAY = 3_600, 86_400
_LENGTHS = (_HOUR, 6 * _HOUR, _DAY, 7 * _DAY, 14 * _DAY, 30 * _DAY, 90 * _DAY, 365 * _DAY)
#: A window in which fewer users act teaches and measures little.
_MIN_ACTIVE_FRACTION, _MIN_ACTIVE = 0.1, 30
#: Windows wanted in the data; three are needed: train, validation, test.
_WANTED_WINDOWS, _MIN_WINDOWS = 8, 3


@dataclass(frozen=True)
class Windows:
    """When labels begin and how long they collect.

    Attributes:
        text: Length Δ as a manifest writes it.
        window_s: Δ in seconds.
        val_time, test_time: Seed times, UTC seconds.
    """

    text: str
    window_s: int
    val_time: int
    test_time: int


def find_windows(
    workspace: Workspace, tables: Mapping[str, ReadTable], keys: Mapping[str, Key],
    times: Mapping[str, TimeColumn], roles: Roles, options: InitOptions,
) -> tuple[Windows, list[Choice], list[str]]:
    """A window in which enough users act and of which the data hold enough, and its seed times.

    Test is the last whole window, on a day's start where the window is a day or more.
    Validation ends a day before test begins, where there is room: relbench makes labels
    anew only if an event lies between the two.

    Returns:
        Windows, choices, and warnings.

    Raises:
        DataError: The data are shorter than three windows, or a given moment is outside.
    """
    relation = _events(tables, keys, times, roles)
    first, last, num_users, most = workspace.row(
        f"SELECT min(t), max(t), count(DISTINCT u), quantile_disc(t, 0.999) FROM ({relation})")
    if not num_users:
        raise DataError("events", "rows with a user, an item and a time", "none",
                        "check the foreign keys; relrec lists how many values lead nowhere")
    first, last = int(first), int(last)
    warnings = []
    if last - int(most) > 0.25 * (last - first):
        warnings.append(f"the last event is of {date_text(last)}, but 99.9 % lie before "
                        f"{date_text(int(most))}: if that is a slip, pass --test, or remove the row")
    if options.window is not None:
        text = window_text(options.window)
        window_s = parse_window(text, "--window")
        active, num = _active(workspace, relation, last, first, window_s)
    else:
        window_s, active, num = _choose(workspace, relation, first, last, int(num_users))
        text = _length_text(window_s)
    if last - first < _MIN_WINDOWS * window_s:
        raise DataError("--window", f"at most a third of the events' time, {date_text(first)} to "
                        f"{date_text(last)}", text, "pass a shorter one, such as --window 1d")
    choices = [Choice("window", text, f"{active / int(num_users):.0%} of {num_users:,} users act in one, on "
                      f"average; the data hold {num:,}", "given" if options.window else
                      "high" if num >= _WANTED_WINDOWS else "medium", ("--window", text))]
    spare = _DAY if window_s >= _DAY else 0
    test = last - window_s
    if window_s >= _DAY and test - test % _DAY >= first + 2 * window_s:
        test -= test % _DAY
    if options.test is not None:
        test = parse_time(options.test, "--test")
    val = test - window_s - (spare if test - 2 * window_s - spare >= first else 0)
    if options.val is not None:
        val = parse_time(options.val, "--val")
    for flag, moment, low, high in (("--test", test, first + 2 * window_s, last - window_s),
                                    ("--val", val, first + window_s, test - window_s)):
        if not low <= moment <= high:
            raise DataError(flag, f"a time from {date_text(low)} to {date_text(high)}", date_text(moment),
                            "pass such a moment, or a shorter --window")
    choices += [
        Choice("validation from", date_text(val), "the window before test",
               "given" if options.val else "high", ("--val", date_text(val))),
        Choice("test from", date_text(test), f"the last whole window; events end {date_text(last)}",
               "given" if options.test else "high", ("--test", date_text(test))),
    ]
    return Windows(text, window_s, val, test), choices, warnings


def _events(
    tables: Mapping[str, ReadTable], keys: Mapping[str, Key], times: Mapping[str, TimeColumn], roles: Roles
) -> str:
    """Events of known users as SQL: user key ``u`` and time ``t`` in seconds."""
    wanted: dict[str, set[str]] = {roles.event_table: set()}
    joins: dict[str, str] = {}
    for path in (roles.user_path, roles.time_path):
        for position, fkey in enumerate(path):
            wanted.setdefault(fkey.table, set()).add(fkey.column)
            if position + 1 < len(path) or path is roles.time_path:
                wanted.setdefault(fkey.target, set())
                joins[fkey.target] = f"{_alias(fkey.table)}.{_alias(fkey.column)} = {_alias(fkey.target)}.key"

    def source(name: str) -> str:
        columns = tables[name].columns
        selected = [f"{columns[column].key} AS {_alias(column)}" for column in sorted(wanted[name])]
        if name in keys:
            selected.append(f"{columns[keys[name].column].key} AS key")
        if name == roles.time_table:
            selected.append(f"epoch({times[name].value}) AS moment")
        return f"(SELECT {', '.join(selected)} FROM {tables[name].relation}) {_alias(name)}"

    last = roles.user_path[-1]
    known = "u IS NOT NULL"
    if roles.user_table in tables:  # keys that lead nowhere are no users
        users = tables[roles.user_table]
        key = users.columns[keys[roles.user_table].column].key
        known = f"u IN (SELECT {key} FROM {users.relation})"
    return (f"SELECT {_alias(last.table)}.{_alias(last.column)} AS u, "
            f"CAST(ceil({_alias(roles.time_table)}.moment) AS BIGINT) AS t FROM {source(roles.event_table)} "
            + " ".join(f"JOIN {source(name)} ON {condition}" for name, condition in joins.items())
            + f" WHERE {known} AND {_alias(roles.time_table)}.moment IS NOT NULL")


def _alias(name: str) -> str:
    return '"of ' + name.replace('"', '""') + '"'


def _choose(
    workspace: Workspace, relation: str, first: int, last: int, num_users: int
) -> tuple[int, float, int]:
    shortest = _HOUR if last - first < _WANTED_WINDOWS * _DAY else _DAY
    tried = []
    for window_s in _LENGTHS:
        if window_s < shortest or last - first < _MIN_WINDOWS * window_s:
            continue
        active, num = _active(workspace, relation, last, first, window_s)
        tried.append((window_s, active, num))
        if num >= _WANTED_WINDOWS and active >= max(_MIN_ACTIVE_FRACTION * num_users,
                                                    min(_MIN_ACTIVE, 0.5 * num_users)):
            return tried[-1]
    if not tried:
        raise DataError("events", "at least three hours of events", f"{last - first:,} seconds",
                        "check the times, and their unit")
    enough = [entry for entry in tried if entry[2] >= _WANTED_WINDOWS] or tried[:1]
    return max(enough, key=lambda entry: entry[1])


def _active(workspace: Workspace, relation: str, last: int, first: int, window_s: int) -> tuple[float, int]:
    """(mean number of users who act in a window, whole windows in the data)."""
    num = (last - first) // window_s
    (pairs,) = workspace.row(f"SELECT count(*) FROM (SELECT DISTINCT u, ({last} - t) // {window_s} AS w "
                             f"FROM ({relation})) WHERE w < {num}")
    return int(pairs) / max(num, 1), int(num)


def _length_text(seconds: int) -> str:
    number, unit = (seconds // _DAY, "day") if seconds >= _DAY else (seconds // _HOUR, "hour")
    return f"{number} {unit}{'s' * (number != 1)}"
