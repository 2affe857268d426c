"""Rules that need no earlier snapshot: freshness, empty tables, missing keys, cold shares."""

from __future__ import annotations

from collections.abc import Iterator

from model_core.config import WatchConfig
from model_core.watch.findings import Finding
from model_core.watch.levels import duration, least_limit, level_of, percent, utc
from model_core.watch.statistics import DataStatistics, TableStatistics

#: A key has to be expected in so many rows before their lack of it is a failure.
MIN_KEYS = 10


def absolute_findings(present: DataStatistics, config: WatchConfig) -> Iterator[Finding]:
    """Findings of the rules that judge a snapshot by itself.

    Args:
        present: This run's statistics.
        config: Limits.
    """
    yield from _freshness(present, config)
    for name, table in present.tables.items():
        if not table.rows:
            yield Finding("empty_table", name, "", "warn", "rows", "none", f"{name} has no rows.")
        for column in table.fkeys:
            yield from _missing_keys(name, column, table, config)
    yield from _cold(present, config)


def _freshness(present: DataStatistics, config: WatchConfig) -> Iterator[Finding]:
    if present.as_of is None:
        return  # the dataset's own windows make no claim on how new it is
    whole = _age("", present.newest, None, present, config)
    yield whole
    if whole.level != "ok":
        return  # every table ends as early; one finding says so
    for name, table in present.tables.items():
        if table.newest is not None and table.longest_gap_s is not None:
            yield _age(name, table.newest, table.longest_gap_s, present, config)


def _age(
    name: str, newest: int, gap_s: int | None, present: DataStatistics, config: WatchConfig
) -> Finding:
    """Freshness of one table, or of all: the newest row against the moment of the run."""
    age = present.moment - newest
    if gap_s is None:
        gap_s = min((table.longest_gap_s for table in present.tables.values()
                     if table.longest_gap_s is not None), default=0)
    warn, fail = (None if limit is None else max(limit * present.window_s, usual * gap_s)
                  for limit, usual in zip(config.freshness, (1, 2), strict=True))
    level = level_of(age, (warn, fail)) if age else "ok"
    limit = least_limit((warn, fail))
    return Finding(
        "freshness", name, "", level, "any age" if limit is None else f"less than {duration(limit)} old",
        f"{duration(age)} old",
        f"The newest {'event' if not name else f'row of {name}'} is of {utc(newest)}, {duration(age)} before "
        f"the run's date {utc(present.moment)}.", age / present.window_s)


def _missing_keys(
    name: str, column: str, table: TableStatistics, config: WatchConfig
) -> Iterator[Finding]:
    """A key that most rows lack is a broken join or one that rows may go without.

    What rows lacked before they may go without: of the rows that would have had it, the share
    that lost it is measured, if they are not too few to tell. In a catalogue, which has no earlier
    period, it is a failure only if no row has it.
    """
    keys = table.columns[column]
    if not keys.rows:
        return
    share, before = keys.missing_share, keys.missing_before
    limit = least_limit(config.missing_keys)
    judged, only_warned = config.missing_keys, (config.missing_keys[0], None)
    lost = share
    text = f"{percent(share)} of the {_rows(table)} of {name} link to no row of {table.fkeys[column]}"
    if before and before < 1:
        lost = max(share - before, 0.0) / (1 - before)
        text += f"; {percent(before)} did not in the window before"
        if keys.rows * (1 - before) < MIN_KEYS:
            judged = only_warned
    elif before is None and table.rows_per_day is None and share < 1:
        judged = only_warned
    level = level_of(lost, judged)
    if level == "ok":
        level = level_of(share, only_warned)
    yield Finding(
        "missing_keys", name, column, level,
        "any share" if limit is None else f"less than {percent(limit)}", percent(share), f"{text}.", lost)


def _rows(table: TableStatistics) -> str:
    return "rows" if table.rows_per_day is None else "recent rows"


def _cold(present: DataStatistics, config: WatchConfig) -> Iterator[Finding]:
    for rule, share, limits, what in (
        ("cold_users", present.cold_user_share, config.cold_users, "users of the test window"),
        ("cold_items", present.cold_item_share, config.cold_items, "targets of the test window"),
    ):
        limit = least_limit(limits)
        yield Finding(rule, "", "", level_of(share, limits),
                      "any share" if limit is None else f"less than {percent(limit)}", percent(share),
                      f"{percent(share)} of the {what} have no event before it.", share)
