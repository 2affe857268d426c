"""Primary and foreign keys, proposed from names and values."""

from __future__ import annotations

from collections.abc import Mapping

from model_core.errors import DataError
from model_core.tables.init.columns import Column
from model_core.tables.init.csv_rows import ROW
from model_core.tables.init.names import fkey_score, key_base, key_score, looks_like_key, table_stem
from model_core.tables.init.options import NONE, InitOptions
from model_core.tables.init.plan import Choice, Confidence, ForeignKey, Key
from model_core.tables.init.reading import ReadTable
from model_core.tables.init.workspace import Workspace

#: A column of this name score may be a key although some rows miss or repeat it.
_SURE_NAME = 0.9
_MAX_FAULTS = 0.05
#: Distinct values are counted roughly at first: with fewer than this share a column is not looked at.
_ROUGHLY_UNIQUE = 0.8
#: Least share of a column's values that must be keys of the target.
_MIN_CONTAINED = 0.5
#: With fewer contained values the name is taken for a coincidence.
_WORTH_A_NOTE = 0.05


def primary_keys(
    workspace: Workspace, tables: Mapping[str, ReadTable], options: InitOptions
) -> tuple[dict[str, Key], list[Choice]]:
    """A key per table, where there is one.

    A key is unique and never missing; of several such columns the name decides. A column
    whose name says that it is the table's key may miss or repeat in a few rows, which are
    then left out: the first row of a key stays.

    Raises:
        DataError: A flag names a table or column that is not there, or one that is no key.
    """
    for name in options.keys:
        if name not in tables:
            raise DataError("--key", f"a table among {list(tables)}", repr(name), "correct the name")
    keys: dict[str, Key] = {}
    choices = []
    stems = {table_stem(name) for name in tables}
    for name, table in tables.items():
        given = options.keys.get(name)
        if given == NONE:
            choices.append(Choice(f"primary key of {name}", "–", "as told", "given",
                                  ("--key", f"{name}=none")))
            continue
        found = (_given_key(workspace, table, given) if given
                 else _best_key(workspace, table, stems - {table_stem(name)}))
        if found is None:
            continue
        key, score = found
        keys[name] = key
        faults = []
        if key.num_missing:
            faults.append(f"{key.num_missing:,} rows without it")
        if key.num_repeated:
            faults.append(f"{key.num_repeated:,} rows that repeat an earlier one")
        reason = f"unique in {table.num_rows:,} rows" if not faults else \
            f"left out: {' and '.join(faults)}, of {table.num_rows:,}"
        confidence: Confidence = "given" if given else "low" if faults else \
            "high" if score >= _SURE_NAME else "medium"
        choices.append(Choice(f"primary key of {name}", key.column, reason, confidence,
                              ("--key", f"{name}={key.column}")))
    return keys, choices


def foreign_keys(
    workspace: Workspace, tables: Mapping[str, ReadTable], keys: Mapping[str, Key], options: InitOptions
) -> tuple[list[ForeignKey], list[Choice], list[str]]:
    """Columns that point into a keyed table.

    The names must agree and most values must be there; without a hint in the names, all
    values of a text column must be.

    Returns:
        Foreign keys, choices, and sentences about columns that look like keys and are not.

    Raises:
        DataError: A flag names a table or column that is not there.
    """
    for name, told in options.fkeys:
        if name not in tables:
            raise DataError("--fkey", f"a table among {list(tables)}", repr(name), "correct the name")
        tables[name].column(told, "--fkey")
    found: list[ForeignKey] = []
    choices: list[Choice] = []
    notes: list[str] = []
    for name, table in tables.items():
        for column in table.columns.values():
            given = options.fkeys.get((name, column.name))
            flag = f"{name}.{column.name}"
            if given == NONE:
                choices.append(Choice(f"foreign key {flag}", "–", "as told", "given",
                                      ("--fkey", f"{flag}=none")))
                continue
            is_key = name in keys and keys[name].column == column.name
            if is_key and given:
                raise DataError("--fkey", "a column other than the primary key", flag,
                                f"pass --key {name}=none, or another --key, to let it point elsewhere")
            if is_key or not (given or column.kind in ("integer", "text", "number")):
                continue
            if given and given not in keys:
                continue  # a table to be made, or one whose key is unknown: see ``made_tables``
            candidates = [given] if given else list(keys)
            best = _best_target(workspace, tables, keys, name, column, candidates, bool(given), notes)
            if best is None:
                continue
            fkey, score = best
            found.append(fkey)
            confidence: Confidence = "given" if given else "high" if score >= 0.9 else \
                "medium" if score >= 0.6 else "low"
            choices.append(Choice(f"foreign key {flag}", fkey.target, _dangling_text(fkey, options),
                                  confidence, ("--fkey", f"{flag}={fkey.target}")))
    return found, choices, notes


def contained(
    workspace: Workspace, table: ReadTable, column: Column, target: ReadTable, target_key: Column
) -> tuple[int, int]:
    """(rows with a key, those among them whose key is in the target)."""
    known, inside = workspace.row(
        f"SELECT count(a.key), count(b.key) FROM (SELECT {column.key} AS key FROM {table.relation}) a "
        f"LEFT JOIN (SELECT DISTINCT {target_key.key} AS key FROM {target.relation}) b ON a.key = b.key")
    return int(known), int(inside)


def _best_key(workspace: Workspace, table: ReadTable, others: set[str]) -> tuple[Key, float] | None:
    candidates = []
    for position, column in enumerate(table.columns.values()):
        score = key_score(table.name, column.name)
        if score < _SURE_NAME and key_base(column.name) in others and looks_like_key(column.name):
            continue  # the key of another table
        faulty = _MAX_FAULTS if score >= _SURE_NAME else 0.0
        if column.kind not in ("integer", "text", "number") or score < 0.5 or \
                column.missing_fraction > faulty or column.num_distinct < _ROUGHLY_UNIQUE * table.num_rows:
            continue
        candidates.append((-score, position, column))
    for minus_score, _, column in sorted(candidates, key=lambda entry: entry[:2]):
        key = _count_faults(workspace, table, column)
        if key.num_missing + key.num_repeated <= (_MAX_FAULTS * table.num_rows
                                                  if -minus_score >= _SURE_NAME else 0):
            return key, -minus_score
    return None


def _given_key(workspace: Workspace, table: ReadTable, name: str) -> tuple[Key, float]:
    key = _count_faults(workspace, table, table.column(name, "--key"))
    if key.num_missing + key.num_repeated > 0.5 * table.num_rows:
        raise DataError(f"--key {table.name}={name}", "a column with a different value in every row",
                        f"{key.num_missing:,} rows without and {key.num_repeated:,} that repeat one, "
                        f"of {table.num_rows:,}", f"name another column, or pass --key {table.name}=none")
    return key, 1.0


def _count_faults(workspace: Workspace, table: ReadTable, column: Column) -> Key:
    num_keys, num_distinct = workspace.row(
        f"SELECT count(key), count(DISTINCT key) FROM (SELECT {column.key} AS key, {ROW} "
        f"FROM {table.relation})")
    return Key(table.name, column.name, (), table.num_rows - int(num_keys), int(num_keys) - int(num_distinct))


def _best_target(
    workspace: Workspace, tables: Mapping[str, ReadTable], keys: Mapping[str, Key], name: str, column: Column,
    candidates: list[str], is_given: bool, notes: list[str],
) -> tuple[ForeignKey, float] | None:
    best: tuple[ForeignKey, float] | None = None
    for target in candidates:
        target_key = tables[target].columns[keys[target].column]
        score = fkey_score(column.name, target, target_key.name)
        if target == name and score < 1.0 and not is_given and key_base(column.name) not in (
                "parent", f"parent{table_stem(target)}", "manager", "referrer"):
            continue
        unnamed = not is_given and score < 0.6
        if unnamed and not (column.kind == "text" == target_key.kind and column.num_distinct >= 20
                            and looks_like_key(column.name)):
            continue
        known, inside = contained(workspace, tables[name], column, tables[target], target_key)
        share = inside / max(known, 1)
        if not is_given and share < (1.0 if unnamed else _MIN_CONTAINED):
            if not unnamed and target != name and (share >= _WORTH_A_NOTE or score >= _SURE_NAME):
                notes.append(f"{name}.{column.name} looks like a key into {target}, but only {share:.0%} of "
                             f"its values are there; --fkey {name}.{column.name}={target} takes it anyway")
            continue
        fkey = ForeignKey(name, column.name, target, known, known - inside)
        total = (0.5 if unnamed else score) * (0.5 + 0.5 * share)
        if best is None or total > best[1]:
            best = (fkey, total)
    return best


def _dangling_text(fkey: ForeignKey, options: InitOptions) -> str:
    if not fkey.num_dangling:
        return f"all {fkey.num_known:,} values are there"
    treatment = "the key is left empty" if options.dangling == "keep" else "the row is left out"
    return (f"{fkey.num_dangling:,} of {fkey.num_known:,} values "
            f"({fkey.num_dangling / fkey.num_known:.1%}) lead nowhere: {treatment}")
