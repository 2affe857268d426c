"""Time columns: which column says when a row came to be, and how it reads as UTC."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from model_core.errors import DataError
from model_core.tables.init.columns import Column
from model_core.tables.init.names import BIRTH_OF_ROW, TIME_WORDS, is_thing, words
from model_core.tables.init.options import NONE, InitOptions
from model_core.tables.init.plan import Choice, Confidence, ForeignKey, Key, TimeColumn
from model_core.tables.init.reading import ReadTable
from model_core.tables.init.values import time_value
from model_core.tables.init.workspace import Workspace, literal, quoted

#: Times outside are placeholders or of another unit.
EARLIEST, LATEST = "1900-01-02", "2100-01-01"
#: Epoch numbers by unit: how many make a second.
_EPOCHS = {"seconds": 1, "milliseconds": 10**3, "microseconds": 10**6, "nanoseconds": 10**9}
_EPOCH_FROM, _EPOCH_TO = 315_532_800, 4_102_444_800
#: Most rows that may lack a time; they are left out.
_MAX_MISSING = 0.05
#: Least share of references that must come after the row they point at.
_BORN_BEFORE = 0.999
#: Rows older than so many times the events' span would stretch the training period with empty windows.
_MAX_AGE_SPANS = 5


def time_columns(
    workspace: Workspace, tables: Mapping[str, ReadTable], keys: Mapping[str, Key],
    fkeys: Sequence[ForeignKey], options: InitOptions,
) -> tuple[dict[str, TimeColumn], list[Choice]]:
    """A time per table, where there is one.

    In a table of events (one that points at others) it is the column that reads as a time
    in nearly every row and has a name of a time. In a table of things (users, items) a
    time is taken only if its name says that the row came to be then and no event points
    at the row before.

    Raises:
        DataError: A flag names a table or column that is not there or holds no times.
    """
    for name in options.times:
        if name not in tables:
            raise DataError("--time", f"a table among {list(tables)}", repr(name), "correct the name")
    pointing = {fkey.table for fkey in fkeys} | {table for table, _ in options.fkeys}
    pointed_at = {fkey.target for fkey in fkeys}
    found: dict[str, TimeColumn] = {}
    choices: list[Choice] = []
    things = []
    for name, table in tables.items():
        given = options.times.get(name)
        if given == NONE:
            choices.append(Choice(f"time of {name}", "–", "as told", "given", ("--time", f"{name}=none")))
        elif given is None and name in pointed_at and (name not in pointing or is_thing(name)):
            things.append(name)
        elif (best := _best(workspace, table, given, options)) is not None:
            found[name], choice = best
            choices.append(choice)
    if found:
        first = min(time.first for time in found.values())
        last = max(time.last for time in found.values())
        for name in things:
            best = _birth(workspace, tables, keys, fkeys, found, name, (first, last), options)
            if best is not None:
                found[name], choice = best
                choices.append(choice)
    return found, choices


def date_text(seconds: int) -> str:
    """UTC seconds as a date, with the time of day where there is one."""
    text = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")
    return text.removesuffix(" 00:00:00")


def _best(
    workspace: Workspace, table: ReadTable, given: str | None, options: InitOptions
) -> tuple[TimeColumn, Choice] | None:
    columns = [table.column(given, "--time")] if given else list(table.columns.values())
    candidates: list[tuple[float, int, TimeColumn, Choice]] = []
    for position, column in enumerate(columns):
        named = _named_as_time(column.name)
        reading = _reading(workspace, table, column, options, named or bool(given))
        if reading is None:
            continue
        value, how, is_unsure = reading
        time, num_known = _range(workspace, table, column, value)
        if time is None:
            continue
        missing = time.num_missing / table.num_rows
        if missing > _MAX_MISSING and not given:
            continue
        reason = f"{how}; {date_text(time.first)[:10]} to {date_text(time.last)[:10]}"
        if time.num_missing:
            reason += f"; {time.num_missing:,} rows ({missing:.1%}) have none and are left out"
        confidence: Confidence = "low" if is_unsure else "given" if given else \
            "high" if named and not missing else "medium"
        flags = ["--time", f"{table.name}={column.name}"]
        score = named + column.num_distinct / max(num_known, 1) - missing
        candidates.append((-score, position, time, Choice(
            f"time of {table.name}", column.name, reason, confidence, tuple(flags))))
    if not candidates:
        if given:
            raise DataError(f"--time {table.name}={given}", f"times from {EARLIEST} to {LATEST}",
                            "values that do not read as such",
                            f"pass --time-format {table.name}.{given}=FORMAT, or another column")
        return None
    _, _, time, choice = min(candidates, key=lambda entry: entry[:2])
    others = [entry[3].value for entry in candidates if entry[2] is not time]
    if others and not given and choice.confidence == "high":
        choice = Choice(choice.subject, choice.value, f"{choice.reason}; also times: {', '.join(others)}",
                        "medium", choice.flags)
    return time, choice


def _reading(
    workspace: Workspace, table: ReadTable, column: Column, options: InitOptions, named: bool
) -> tuple[str, str, bool] | None:
    """(SQL of the time, how it was read, whether that is a guess), or None for no time."""
    given = options.time_formats.get((table.name, column.name))
    if column.time_format is not None:
        value = time_value(column.name, column.time_format, options.timezone)
        if column.time_format in ("zoned", "native zoned"):
            return value, "times with a zone, to UTC", False
        how = "ISO times" if column.time_format == "iso" else "times" if column.time_format == "native" \
            else f"times like {column.time_format}"
        how += f" without zone, taken as {options.timezone}"
        if column.other_formats and not given:
            return value, f"{how}; {column.other_formats[0]} reads them, too: pass --time-format", True
        return value, how, False
    if column.kind not in ("integer", "number") or not named:
        return None
    known = f"nullif({column.value}, 0)"  # a common word for "no time", see _range
    low, high = workspace.row(f"SELECT min({known}), max({known}) FROM {table.relation}")
    if low is None:
        return None
    if column.kind == "integer" and low >= 19_710_101 and high <= 21_000_101:
        return (time_value(column.name, "%Y%m%d", options.timezone),
                f"days as numbers (YYYYMMDD), taken as {options.timezone}", False)
    for unit, per_second in _EPOCHS.items():
        if _EPOCH_FROM * per_second <= low and high <= _EPOCH_TO * per_second:
            # Rounded to the microsecond, which is as fine as a snapshot keeps times.
            wide = f"CAST({column.value} AS HUGEINT)"  # a column may be as narrow as its seconds are
            micros = f"round({column.value} * {10**6 / per_second!r})" if column.kind == "number" else (
                f"{wide} * {10**6 // per_second}" if per_second <= 10**6
                else f"{wide} // {per_second // 10**6}")
            return f"make_timestamp(CAST({micros} AS BIGINT))", f"{unit} since 1970, in UTC", False
    return None


def _range(
    workspace: Workspace, table: ReadTable, column: Column, value: str
) -> tuple[TimeColumn | None, int]:
    plausible = (f"(CASE WHEN {value} >= TIMESTAMP {literal(EARLIEST)} AND {value} < TIMESTAMP "
                 f"{literal(LATEST)} AND {value} <> TIMESTAMP '1970-01-01' THEN {value} END)")
    first, last, known = workspace.row(
        f"SELECT epoch_us(min(t)), epoch_us(max(t)), count(t) FROM (SELECT {plausible} AS t "
        f"FROM {table.relation})")
    if not known:
        return None, 0
    return TimeColumn(table.name, column.name, plausible, int(first) // 10**6, -(-int(last) // 10**6),
                      table.num_rows - int(known)), int(known)


def _birth(
    workspace: Workspace, tables: Mapping[str, ReadTable], keys: Mapping[str, Key],
    fkeys: Sequence[ForeignKey], times: Mapping[str, TimeColumn], name: str, span: tuple[int, int],
    options: InitOptions,
) -> tuple[TimeColumn, Choice] | None:
    """The time at which the rows of a table of things came to be."""
    table = tables[name]
    for column in table.columns.values():
        if not set(words(column.name)) & set(BIRTH_OF_ROW):
            continue
        reading = _reading(workspace, table, column, options, True)
        if reading is None or reading[2]:
            continue
        time, _ = _range(workspace, table, column, reading[0])
        if time is None or time.num_missing or time.first < span[0] - _MAX_AGE_SPANS * (span[1] - span[0]):
            continue
        later = total = 0
        target_key = table.columns[keys[name].column]
        for fkey in fkeys:
            if fkey.target != name or fkey.table not in times:
                continue
            source = tables[fkey.table]
            row = workspace.row(f"""
                SELECT count(*), count_if(a.t >= b.t)
                FROM (SELECT {source.columns[fkey.column].key} AS key, {times[fkey.table].value} AS t
                      FROM {source.relation}) a
                JOIN (SELECT {target_key.key} AS key, {time.value} AS t FROM {table.relation}) b
                ON a.key = b.key""")
            total, later = total + int(row[0]), later + int(row[1])
        if total and later >= _BORN_BEFORE * total:
            return time, Choice(
                f"time of {name}", column.name,
                f"{reading[1]}; {later / total:.1%} of what points at a row comes after it", "medium",
                ("--time", f"{name}={column.name}"))
    return None


def _named_as_time(name: str) -> bool:
    parts = words(name)
    return bool(parts) and (parts[-1] in TIME_WORDS or bool(set(parts) & {"time", "timestamp", "date"})
                            or quoted(name).lower().endswith(('date"', 'time"')))
