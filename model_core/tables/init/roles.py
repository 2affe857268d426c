"""Who acts, on what, and in which table it is recorded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from model_core.errors import DataError
from model_core.tables.init.names import ITEM_WORDS, USER_WORDS, event_score, role_score
from model_core.tables.init.options import InitOptions
from model_core.tables.init.plan import Choice, Confidence, ForeignKey, Key, TimeColumn
from model_core.tables.init.reading import ReadTable

#: A lead of the best choice over the next that makes it sure.
_CLEAR_LEAD = 0.3


@dataclass(frozen=True)
class Roles:
    """The tables of a recommendation task.

    Attributes:
        user_table, item_table: Who acts, and on what.
        event_table: Every row is one event: it points at one user and one item.
        time_table: The table with the event's time: the event table or one that it points at.
        user_path, item_path: Foreign keys from the event table to the user and item table.
        time_path: The same to ``time_table``; empty where that is the event table.
    """

    user_table: str
    item_table: str
    event_table: str
    time_table: str
    user_path: tuple[ForeignKey, ...]
    item_path: tuple[ForeignKey, ...]
    time_path: tuple[ForeignKey, ...]


def find_roles(
    tables: Mapping[str, ReadTable], keys: Mapping[str, Key], fkeys: Sequence[ForeignKey],
    times: Mapping[str, TimeColumn], options: InitOptions, notes: Sequence[str] = (),
) -> tuple[Roles, list[Choice]]:
    """The best (user, item, event) tables, by names, distance and number of events.

    Args:
        tables, keys, fkeys, times: As found so far.
        options: What is fixed in advance.
        notes: On columns that look like keys and are not: the message of an error has them.

    Raises:
        DataError: No table of events points at two others and has a time, or a flag names
            a table that cannot have that role.
    """
    for flag, name in (("--user-table", options.user_table), ("--item-table", options.item_table),
                       ("--event-table", options.event_table)):
        if name is not None and name not in tables and name not in keys:
            raise DataError(flag, f"a table among {sorted({*tables, *keys})}", repr(name), "correct the name")
    ranked = sorted(_candidates(tables, fkeys, times, options), key=lambda entry: (-entry[0], entry[1]))
    if not ranked:
        raise _nothing_found(keys, fkeys, times, options, notes)
    score, _, best = ranked[0]
    return best, _choices(tables, ranked, best, score, options)


def _candidates(tables, fkeys, times, options):
    pointing = {fkey.table for fkey in fkeys}
    most = max(table.num_rows for table in tables.values())
    for event in tables:
        reach = _reach(event, fkeys)
        timed = [name for name in (event, *reach) if name in times]
        if not timed or (options.event_table or event) != event:
            continue
        for user, user_path in reach.items():
            for item, item_path in reach.items():
                if user == item or (options.user_table or user) != user \
                        or (options.item_table or item) != item:
                    continue
                # The time of a thing is when it came to be, not when the event was.
                at = min((name for name in timed if name not in (user, item)),
                         key=lambda name: len(reach.get(name, ())), default=None)
                if at is None:
                    continue
                score = 2 * role_score(user, USER_WORDS) + 2 * role_score(item, ITEM_WORDS) \
                    - role_score(user, ITEM_WORDS) - role_score(item, USER_WORDS) \
                    - sum(name in times and name in pointing for name in (user, item)) \
                    - event_score(user) - event_score(item) \
                    + event_score(event) - 0.2 * (len(user_path) + len(item_path)) \
                    + 0.5 * np.log1p(tables[event].num_rows) / np.log1p(most)
                order = (event, [fkey.column for fkey in user_path], [fkey.column for fkey in item_path])
                yield score, order, Roles(user, item, event, at, user_path, item_path, reach.get(at, ()))


def _reach(start: str, fkeys: Sequence[ForeignKey]) -> dict[str, tuple[ForeignKey, ...]]:
    """Tables that a row of ``start`` determines, with the shortest chain of keys to each."""
    reach: dict[str, tuple[ForeignKey, ...]] = {}
    frontier: list[tuple[str, tuple[ForeignKey, ...]]] = [(start, ())]
    while frontier:
        longer = []
        for name, path in frontier:
            for fkey in fkeys:
                if fkey.table == name and fkey.target != start and fkey.target not in reach:
                    reach[fkey.target] = (*path, fkey)
                    longer.append((fkey.target, reach[fkey.target]))
        frontier = longer
    return reach


def _choices(tables, ranked, best: Roles, score: float, options: InitOptions) -> list[Choice]:
    def confidence(given: str | None, role: str, named: bool) -> Confidence:
        if given:
            return "given"
        rival = next((entry[0] for entry in ranked
                      if getattr(entry[2], role) != getattr(best, role)), -np.inf)
        return "high" if named and score - rival >= _CLEAR_LEAD else "medium" if named else "low"

    def reason(role: str, text: str) -> str:
        rivals = list(dict.fromkeys(getattr(entry[2], role) for entry in ranked
                                    if getattr(entry[2], role) != getattr(best, role)))
        return text + (f"; also possible: {', '.join(rivals[:3])}" if rivals else "")

    named_user, named_item = role_score(best.user_table, USER_WORDS), role_score(best.item_table, ITEM_WORDS)
    acts = "who acts" + ", by its name" * bool(named_user)
    acted = "acted on" + ", by its name" * bool(named_item)
    at = "" if best.time_table == best.event_table else f", at the time of {best.time_table}"
    return [
        Choice("users", best.user_table, reason("user_table", acts),
               confidence(options.user_table, "user_table", named_user > 0),
               ("--user-table", best.user_table)),
        Choice("items", best.item_table, reason("item_table", acted),
               confidence(options.item_table, "item_table", named_item > 0),
               ("--item-table", best.item_table)),
        Choice("events", best.event_table, reason(
            "event_table", f"{tables[best.event_table].num_rows:,} rows point at a user and an item{at}"),
            confidence(options.event_table, "event_table", True), ("--event-table", best.event_table)),
    ]


def _nothing_found(keys, fkeys, times, options, notes) -> DataError:
    if not times:
        return DataError("tables", "a table of events with a time column", "no column that reads as times",
                         "pass --time TABLE=COLUMN, and --time-format TABLE.COLUMN=FORMAT for unusual ones")
    known = [f"{fkey.table}.{fkey.column} → {fkey.target}" for fkey in fkeys]
    asked = [f"{flag} {name}" for flag, name in (
        ("--user-table", options.user_table), ("--item-table", options.item_table),
        ("--event-table", options.event_table)) if name]
    return DataError(
        "tables", "a timed table of events that points at users and at items"
        + (f" with {' '.join(asked)}" if asked else ""),
        f"primary keys of {sorted(keys) or 'no table'}, foreign keys {known or 'none'}, "
        f"times of {sorted(times)}" + "".join(f"; {note}" for note in notes),
        "name what is missing: --key TABLE=COLUMN, --fkey TABLE.COLUMN=TARGET (a target that no file holds "
        "is made from the column's values), --time TABLE=COLUMN")
