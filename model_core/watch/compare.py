"""compare: this run's statistics against those of the champion, rule by rule."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from model_core.config import Level, WatchConfig
from model_core.watch.absolute import absolute_findings
from model_core.watch.columns import drift_between
from model_core.watch.drift import count_noise, distance_noise, divergence_noise, share_noise, spread
from model_core.watch.findings import Finding, worst_first
from model_core.watch.levels import least_limit, level_of, percent, plain
from model_core.watch.movement import movement
from model_core.watch.schema import schema_findings
from model_core.watch.statistics import ColumnStatistics, DataStatistics, TableStatistics

_DAY_S = 86_400
#: Factor below which numbers of rows are called equal.
_ABOUT_EQUAL = 1.1
#: Columns of these kinds have a value in every row, or ingest refuses them.
_NEVER_MISSING = ("pkey", "time")


def compare(
    present: DataStatistics, reference: DataStatistics | None, config: WatchConfig
) -> tuple[Finding, ...]:
    """All findings, failures first; passed checks are among them with level ``ok``.

    One cause gives one finding: a table that is gone, empty or too old is not also said to
    have fewer rows, a column of another kind is not also said to drift.

    Args:
        present: This run's statistics.
        reference: The champion's, or None: then only the rules hold that need none.
        config: Limits, and what is ignored.
    """
    findings = list(absolute_findings(present, config))
    if reference is not None:
        findings += schema_findings(present, reference, config)
        had_rows = {name for name, table in reference.tables.items() if table.rows}
        findings = [finding for finding in findings  # that they are gone is said by row_change
                    if finding.rule != "empty_table" or finding.table not in had_rows]
        spoken_for = {(finding.table, finding.column) for finding in findings
                      if finding.rule.startswith(("column_", "table_")) or finding.level == "fail"
                      or (finding.rule == "freshness" and finding.level == "warn")}
        findings += _cold_changes(present, reference, findings, config)
        for name in sorted(present.tables.keys() & reference.tables.keys()):
            findings += _table(name, present, reference, spoken_for, config)
    return worst_first(_not_ignored(findings, config.ignore))


def _not_ignored(findings: Iterable[Finding], ignore: Collection[str]) -> list[Finding]:
    return [finding for finding in findings
            if not {finding.table, finding.place}.intersection(ignore)]


def _table(
    name: str, present: DataStatistics, reference: DataStatistics,
    spoken_for: Collection[tuple[str, str]], config: WatchConfig,
) -> Iterator[Finding]:
    now, before = present.tables[name], reference.tables[name]
    if (name, "") not in spoken_for:
        yield _row_change(name, now, before, present.window_s, reference.window_s, config)
    # A table that is described whole mostly holds the rows that it held before.
    nested = now.rows_per_day is None and before.rows_per_day is None
    for column in sorted(now.columns.keys() & before.columns.keys()):
        if (name, column) in spoken_for:
            continue
        values, earlier = now.columns[column], before.columns[column]
        if values.rows and earlier.rows and values.kind not in _NEVER_MISSING:
            yield _missing_change(name, column, values, earlier, nested, config)
        if values.known and earlier.known and "none" not in (values.measure, earlier.measure):
            yield _drift(name, column, values, earlier, nested, config)


def _row_change(
    name: str, now: TableStatistics, before: TableStatistics, window_s: int, window_before_s: int,
    config: WatchConfig,
) -> Finding:
    """Rows of a table; of a table with time how many come per day, unless it lost rows."""
    found, expected, unit, noise = float(now.rows), float(before.rows), "", 0.0
    lost = found < expected and level_of(_factor(found, expected), config.row_change) != "ok"
    if now.rows_per_day is not None and before.rows_per_day is not None and not lost:
        found, expected, unit = now.rows_per_day, before.rows_per_day, " per day"
        days = max(window_s, window_before_s) / _DAY_S
        noise = count_noise(round(found * days), round(expected * days)) / days
    factor = _factor(found, expected)
    level: Level = level_of(factor, config.row_change) if abs(found - expected) > noise else "ok"
    limit = least_limit(config.row_change)
    bounds = "any number" if limit is None else (
        f"{plain(expected / max(limit, 1))} to {plain(expected * max(limit, 1))}{unit}")
    period = " lately" if unit else ""
    if not found and expected:
        message = f"{name} has no rows{period}; it had {plain(expected)}{unit}."
    elif found and not expected:
        message = f"{name} has {plain(found)} rows{unit}; it had none{period}."
    elif factor < _ABOUT_EQUAL:
        message = f"{name} has about as many rows{unit} as before: {plain(found)}."
    else:
        message = (f"{name} has {'more' if found > expected else 'fewer'} rows{unit} than before: "
                   f"{plain(found)}, not {plain(expected)}.")
    return Finding("row_change", name, "", level, bounds, plain(found) + unit, message, min(factor, 1e9))


def _factor(found: float, expected: float) -> float:
    """How many times larger the larger one is; 1 where there were none before."""
    if not expected:
        return 1.0
    return max(found / expected, expected / found) if found else float("inf")


def _missing_change(
    name: str, column: str, now: ColumnStatistics, before: ColumnStatistics, nested: bool,
    config: WatchConfig,
) -> Finding:
    found, expected = now.missing_share, before.missing_share
    noise = share_noise((now.missing + before.missing) / (now.rows + before.rows),
                        spread(now.rows, before.rows, nested=nested))
    limit = least_limit(config.missing_change, noise)
    return Finding(
        "missing_change", name, column, level_of(found - expected, config.missing_change, noise),
        "any share" if limit is None else f"less than {percent(min(expected + limit, 1.0))}", percent(found),
        f"{percent(found)} of {name}.{column} are missing; {percent(expected)} were.", found - expected)


def _drift(
    name: str, column: str, now: ColumnStatistics, before: ColumnStatistics, nested: bool,
    config: WatchConfig,
) -> Finding:
    drift, cells = drift_between(before, now)
    by_category = cells > 0
    rule = "category_drift" if by_category else "number_drift"
    limits = config.category_drift if by_category else config.number_drift
    apart = spread(before.known, now.known, nested=nested)
    noise = divergence_noise(apart, cells) if by_category else distance_noise(apart)
    allowance = noise + before.usual_drift
    limit = least_limit(limits, allowance)
    return Finding(
        rule, name, column, level_of(drift, limits, allowance),
        "any drift" if limit is None else f"less than {min(limit, 1.0):.3f}", f"{drift:.3f}",
        movement(f"{name}.{column}", now, before), drift)


def _cold_changes(
    present: DataStatistics, reference: DataStatistics, findings: Iterable[Finding], config: WatchConfig
) -> Iterator[Finding]:
    bad = {finding.rule for finding in findings if finding.level != "ok"}
    for rule, found, num_found, expected, num_expected, what in (
        ("cold_users", present.cold_user_share, present.num_test_users,
         reference.cold_user_share, reference.num_test_users, "users"),
        ("cold_items", present.cold_item_share, present.num_test_targets,
         reference.cold_item_share, reference.num_test_targets, "targets"),
    ):
        if rule in bad:
            continue
        if not num_found or not num_expected:
            continue
        mean = (found * num_found + expected * num_expected) / (num_found + num_expected)
        noise = share_noise(mean, spread(num_found, num_expected))
        limit = least_limit(config.cold_change, noise)
        yield Finding(
            f"{rule}_change", "", "", level_of(found - expected, config.cold_change, noise),
            "any share" if limit is None else f"less than {percent(min(expected + limit, 1.0))}",
            percent(found), f"{percent(found)} of the test window's {what} have no event before it; "
                            f"{percent(expected)} had none.", found - expected)
