"""Rules on the schema: tables, columns, kinds and keys that came, went or changed."""

from __future__ import annotations

from collections.abc import Iterator

from model_core.config import WatchConfig
from model_core.watch.findings import Finding
from model_core.watch.levels import duration
from model_core.watch.statistics import DataStatistics, TableStatistics


def schema_findings(
    present: DataStatistics, reference: DataStatistics, config: WatchConfig
) -> Iterator[Finding]:
    """Every difference of the two schemas.

    Args:
        present, reference: Statistics of this run and of the champion.
        config: What a difference counts as.
    """
    if present.window_s != reference.window_s:
        length, earlier = duration(present.window_s), duration(reference.window_s)
        yield Finding("window_changed", "", "", config.changed, earlier, length,
                      f"The label window is {length} long and was {earlier}.")
    for name in sorted(present.tables.keys() | reference.tables.keys()):
        now, before = present.tables.get(name), reference.tables.get(name)
        if now is None:
            yield Finding("table_removed", name, "", config.removed, "the table", "none",
                          f"The table {name} is gone.")
        elif before is None:
            yield Finding("table_added", name, "", config.added, "none", "a table",
                          f"The table {name} is new ({now.rows:,} rows).")
        else:
            yield from _table(name, now, before, config)


def _table(
    name: str, now: TableStatistics, before: TableStatistics, config: WatchConfig
) -> Iterator[Finding]:
    for what, found, expected in (("primary key", now.pkey, before.pkey),
                                  ("time column", now.time_col, before.time_col)):
        if found != expected:
            yield Finding("table_changed", name, "", config.changed, expected or "none", found or "none",
                          f"The {what} of {name} is {found or 'none'} and was {expected or 'none'}.")
    for column in sorted(now.columns.keys() | before.columns.keys()):
        values, earlier = now.columns.get(column), before.columns.get(column)
        if values is None:
            assert earlier is not None
            yield Finding("column_removed", name, column, config.removed, f"a {earlier.kind} column", "none",
                          f"The column {name}.{column} is gone.")
        elif earlier is None:
            yield Finding("column_added", name, column, config.added, "none", f"a {values.kind} column",
                          f"The column {name}.{column} is new.")
        elif values.kind != earlier.kind:
            yield Finding("column_changed", name, column, config.changed, earlier.kind, values.kind,
                          f"The column {name}.{column} is a {values.kind} and was a {earlier.kind}.")
        elif now.fkeys.get(column) != before.fkeys.get(column):
            found, expected = (f"a key of {table.fkeys.get(column)}" for table in (now, before))
            yield Finding("column_changed", name, column, config.changed, expected, found,
                          f"The column {name}.{column} is {found} and was {expected}.")
