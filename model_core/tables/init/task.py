"""The recommendation task as DuckDB SQL: which items each user meets in the window after a seed time."""

from __future__ import annotations

import re
from collections.abc import Mapping

from model_core.tables.init.plan import Key, TimeColumn
from model_core.tables.init.roles import Roles
from model_core.tables.init.workspace import Workspace, quoted

_PLAIN = re.compile(r"[a-z_][a-z0-9_]*")
_ALIASES = "abcdefghijklmnopqrsuvwxyz"  # t is the seed times'


def label_columns(keys: Mapping[str, Key], roles: Roles) -> tuple[str, str]:
    """Names of a label row's user and item: the keys', unless they are alike."""
    user, item = keys[roles.user_table].column, keys[roles.item_table].column
    if len({user.lower(), item.lower(), "timestamp"}) == 3:
        return user, item
    return f"{roles.user_table}_{user}", f"{roles.item_table}_{item}"


def task_sql(
    workspace: Workspace, keys: Mapping[str, Key], times: Mapping[str, TimeColumn], roles: Roles
) -> str:
    """The query, in the form that relbench and ``run_task_sql`` read.

    It sees the written dataset: keys are 0..n-1 and times are UTC. A user whose row has a
    time is known from then on and has no labels before.
    """
    reserved = {name for (name,) in workspace.rows(
        "SELECT keyword_name FROM duckdb_keywords() WHERE keyword_category IN ('reserved', 'type_function')")}

    def sql(name: str) -> str:
        return name if _PLAIN.fullmatch(name) and name not in reserved else quoted(name)

    alias = {roles.event_table: "a"}
    joins: list[str] = []

    def key_of(name: str) -> str:
        return f"{alias[name]}.{sql(keys[name].column)}"

    def alias_of(name: str) -> str:
        return alias.setdefault(name, _ALIASES[len(alias)])

    def holder(path) -> str:
        """Join the tables of a chain of keys but the last; the alias of the one that holds the last key."""
        for fkey in path[:-1]:
            if fkey.target not in alias:
                source, target = alias[fkey.table], alias_of(fkey.target)
                joins.append(f"JOIN {sql(fkey.target)} {target} ON {key_of(fkey.target)} = "
                             f"{source}.{sql(fkey.column)}")
        return alias[path[-1].table]

    if roles.time_path:
        source = holder(roles.time_path)
        last = roles.time_path[-1]
        if last.target not in alias:
            target = alias_of(last.target)
            joins.append(f"JOIN {sql(last.target)} {target} ON {key_of(last.target)} = "
                         f"{source}.{sql(last.column)}")
    user = f"{holder(roles.user_path)}.{sql(roles.user_path[-1].column)}"
    item = f"{holder(roles.item_path)}.{sql(roles.item_path[-1].column)}"
    when = f"{alias[roles.time_table]}.{sql(times[roles.time_table].column)}"
    if roles.user_table in times:
        known = alias_of(roles.user_table)
        joins.append(f"JOIN {sql(roles.user_table)} {known} ON {key_of(roles.user_table)} = {user} "
                     f"AND {known}.{sql(times[roles.user_table].column)} <= t.timestamp")
    inside = f"{when} > t.timestamp AND {when} <= t.timestamp + INTERVAL '{{timedelta}}'"
    user_name, item_name = label_columns(keys, roles)
    renamed = "" if user.endswith(f".{sql(user_name)}") else f" AS {sql(user_name)}"
    lines = [
        f"SELECT t.timestamp, {user}{renamed}, LIST(DISTINCT {item}) AS {sql(item_name)}",
        "FROM timestamps t",
        f"JOIN {sql(roles.event_table)} a ON {inside if roles.time_table == roles.event_table else 'true'}",
        *joins,
        f"WHERE {user} IS NOT NULL AND {item} IS NOT NULL"
        + ("" if roles.time_table == roles.event_table else f" AND {inside}"),
        f"GROUP BY t.timestamp, {user}",
    ]
    return "\n".join(lines)
