"""Leakage certificate: what was checked so that no label can know its own answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from model_core.errors import DataError
from model_core.split.label_routes import confirmed_labels
from model_core.split.seeds import SeedTable
from model_core.tables.snapshot import SPLITS, Snapshot
from model_core.tables.triples import Triples

#: Version of the certificate's layout.
VERSION = 1


@dataclass(frozen=True)
class Check:
    """One checked statement.

    Attributes:
        name: What is checked.
        ok: Whether it holds.
        count: Number of violations, or of what the detail speaks of.
        detail: The finding in words.
        hard: Whether a violation stops the run. The others are for the reader to weigh.
        split: The split it is about, or None for the whole.
        fix: What to do if a hard check fails.
    """

    name: str
    ok: bool
    count: int
    detail: str
    hard: bool = False
    split: str | None = None
    fix: str = ""


def certify(
    snapshot: Snapshot,
    seeds: Mapping[str, SeedTable],
    interactions: Triples,
    label_source: str,
) -> dict[str, Any]:
    """Check the split against the tables.

    Args:
        snapshot: Validated tables.
        seeds: Split to seed rows.
        interactions: (entity, item, time) up to the end of the test window, sorted by time.
        label_source: ``"stored"`` or ``"sql"``.

    Returns:
        JSON: ``ok`` (all hard checks hold), ``times``, ``tables`` (rows per period),
        ``untimed_tables`` and ``checks``.
    """
    checks = [
        _untimed_tables(snapshot), *_hidden_columns(snapshot), *_windows(snapshot, seeds),
        _test_window_is_whole(snapshot, label_source),
    ]
    for split in SPLITS:
        checks += _rows(snapshot, split, seeds[split], interactions)
    return {
        "version": VERSION,
        "ok": all(check.ok for check in checks if check.hard),
        "label_source": label_source,
        "rule": "inputs have time <= t; labels lie in (t, t + window_s]; statistics and "
                "vocabularies are fitted on rows with time <= train_cutoff",
        "times": {
            "window_s": snapshot.task.window_s, "train_cutoff": snapshot.val_time,
            "val_time": snapshot.val_time, "test_time": snapshot.test_time,
            "first_event": snapshot.min_time, "last_event": snapshot.max_time,
            "as_of": snapshot.as_of,
        },
        "tables": {name: _periods(snapshot, name) for name, table in snapshot.tables.items()
                   if table.time_col is not None},
        "untimed_tables": {
            name: {"rows": table.num_rows, "feature_columns": _num_features(snapshot, name),
                   "note": "cannot be checked: rows always visible"}
            for name, table in snapshot.tables.items() if table.time_col is None
        },
        "checks": [asdict(check) for check in checks],
    }


def require_sound(certificate: Mapping[str, Any], where: str) -> None:
    """Refuse a split whose certificate has a failed hard check.

    Raises:
        DataError: For the first failed hard check.
    """
    for check in certificate["checks"]:
        if check["hard"] and not check["ok"]:
            place = f"{where}, {check['split']} labels" if check["split"] else where
            raise DataError(place, f"that {check['name']}", check["detail"], check["fix"])


def _periods(snapshot: Snapshot, table: str) -> dict[str, int]:
    """Rows per period. The five periods do not overlap and add up to the table."""
    window_s = snapshot.task.window_s
    bounds = [snapshot.val_time, snapshot.val_time + window_s,
              snapshot.test_time, snapshot.test_time + window_s]
    time = snapshot.times(table)
    assert time is not None
    upto = [int((time <= bound).sum()) for bound in bounds]
    upto.append(snapshot.tables[table].num_rows)
    names = ("until_train_cutoff", "in_val_window", "between_windows", "in_test_window", "after")
    return dict(zip(names, np.diff(upto, prepend=0).tolist(), strict=True))


def _num_features(snapshot: Snapshot, table: str) -> int:
    kinds = snapshot.tables[table].columns.values()
    return sum(kind not in ("pkey", "fkey", "time") for kind in kinds)


def _untimed_tables(snapshot: Snapshot) -> Check:
    names = [name for name, table in snapshot.tables.items() if table.time_col is None]
    columns = sum(_num_features(snapshot, name) for name in names)
    return Check(
        "every table has a time", not names, len(names),
        f"{names} have no time and {columns} feature columns: their rows are always visible, "
        "and whether they reveal the future cannot be checked" if names else "all have one",
    )


def _hidden_columns(snapshot: Snapshot) -> list[Check]:
    hidden = snapshot.task.remove_columns
    seen = [f"{table}.{column}" for table, column in hidden
            if table in snapshot.tables and column in snapshot.tables[table].columns]
    return [Check(
        "the task's remove_columns are hidden from models", not seen, len(seen),
        f"{seen} still visible" if seen else f"{len(hidden)} hidden",
        hard=True, fix="ingest the dataset again",
    )]


def _windows(snapshot: Snapshot, seeds: Mapping[str, SeedTable]) -> list[Check]:
    """Train, val and test windows lie one after the other."""
    window_s, val, test = snapshot.task.window_s, snapshot.val_time, snapshot.test_time
    late = int((seeds["train"].time + window_s > val).sum())
    wrong = {split: int((seeds[split].time != at).sum())
             for split, at in (("val", val), ("test", test))}
    train_times = np.unique(seeds["train"].time)
    overlaps = int((np.diff(train_times) < window_s).sum())
    fix = "correct the stored labels, or delete them so that the task's SQL makes new ones"
    return [
        Check("training labels end by val_time", not late, late,
              f"{late} of {len(seeds['train'])} rows have t + window_s > {val}",
              hard=True, split="train", fix=fix),
        *(Check(f"{split} rows stand at {split}_time", not wrong[split], wrong[split],
                f"{wrong[split]} of {len(seeds[split])} rows have another seed time than {at}",
                hard=True, split=split, fix=fix)
          for split, at in (("val", val), ("test", test))),
        Check("validation labels end by test_time", val + window_s <= test,
              int(val + window_s > test),
              f"val_time + window_s = {val + window_s}, test_time = {test}", hard=True,
              fix="move test_timestamp to at least one timedelta after val_timestamp"),
        Check("training windows do not overlap each other", not overlaps, overlaps,
              f"{overlaps} of {max(len(train_times) - 1, 0)} steps between seed times are "
              "shorter than the window", split="train"),
    ]


def _test_window_is_whole(snapshot: Snapshot, label_source: str) -> Check:
    """The events reach to the end of the test window, or as_of says that they do."""
    end = snapshot.test_time + snapshot.task.window_s
    missing_s = max(0, end - max(snapshot.max_time, snapshot.as_of or 0))
    return Check(
        "events reach to the end of the test window", missing_s == 0, missing_s,
        f"the window ends at {end}, the last event is at {snapshot.max_time}",
        hard=label_source == "sql", split="test",
        fix="move test_timestamp earlier or pass as_of, the moment up to which data is complete",
    )


def _rows(
    snapshot: Snapshot, split: str, seeds: SeedTable, interactions: Triples
) -> list[Check]:
    task = snapshot.task
    form = _well_formed(snapshot, split, seeds)
    if not form.ok:  # ids may point nowhere: nothing else can be looked up
        return [form]
    entity, item, time = interactions
    num_rows = len(seeds)
    repeated = int(((np.diff(seeds.time) == 0) & (np.diff(seeds.entity) == 0)).sum())
    item_seed_time = np.repeat(seeds.time, np.diff(seeds.item_ptr))
    unconfirmed = int((~confirmed_labels(seeds, interactions, task.window_s)).sum())
    new = int((_first_seen(item, time, snapshot.tables[task.item_table].num_rows)[seeds.item]
               > item_seed_time).sum())
    cold = int((_first_seen(entity, time, snapshot.tables[task.entity_table].num_rows)[seeds.entity]
                > seeds.time).sum())
    unborn = _num_later(snapshot, task.item_table, seeds.item, item_seed_time)
    early = _num_later(snapshot, task.entity_table, seeds.entity, seeds.time)
    return [
        form,
        Check("no (entity, time) occurs twice", not repeated, repeated,
              f"{repeated} of {num_rows} rows repeat the row before", hard=True, split=split,
              fix="merge the label rows of one entity and time into one"),
        Check("label items are confirmed by an interaction in (t, t + window_s]",
              not unconfirmed, unconfirmed, _share(unconfirmed, len(seeds.item), "label items have "
              "no such interaction along the split's routes"), split=split),
        Check("label items were seen before the seed time", not new, new,
              _share(new, len(seeds.item), "label items are new: first seen after t"), split=split),
        Check("label items exist at the seed time", not unborn, unborn,
              _share(unborn, len(seeds.item), "label items have a row later than t"), split=split),
        Check("entities have a history at the seed time", not cold, cold,
              _share(cold, num_rows, "rows have an entity without any interaction <= t"),
              split=split),
        Check("entities exist at the seed time", not early, early,
              _share(early, num_rows, "rows have an entity whose own row is later than t"),
              split=split),
    ]


def _well_formed(snapshot: Snapshot, split: str, seeds: SeedTable) -> Check:
    """Rows and their items are in order and name rows that exist."""
    task, length = snapshot.task, np.diff(seeds.item_ptr)
    same_row = np.repeat(np.arange(len(seeds)), length)
    same_row = same_row[1:] == same_row[:-1]
    bad = sum(int(fault.sum()) for fault in (
        np.diff(seeds.time) < 0,
        (np.diff(seeds.time) == 0) & (np.diff(seeds.entity) < 0),
        same_row & (np.diff(seeds.item) <= 0),
        length == 0,
        (seeds.entity < 0) | (seeds.entity >= snapshot.tables[task.entity_table].num_rows),
        (seeds.item < 0) | (seeds.item >= snapshot.tables[task.item_table].num_rows),
    ))
    return Check(
        "rows are sorted by (time, entity), items distinct and ascending, ids known", not bad, bad,
        f"{bad} rows or items are not", hard=True, split=split, fix="ingest the dataset again",
    )


def _first_seen(row: np.ndarray, time: np.ndarray, num_rows: int) -> np.ndarray:
    """Time of the first interaction of every row, int64 [num_rows]; the maximum if none."""
    first = np.full(num_rows, np.iinfo(np.int64).max)
    first[row[::-1]] = time[::-1]  # sorted by time: the earliest is written last
    return first


def _num_later(snapshot: Snapshot, table: str, row: np.ndarray, time: np.ndarray) -> int:
    """How many of the rows have an own time later than ``time``."""
    own = snapshot.times(table)
    return 0 if own is None else int((own[row] > time).sum())


def _share(count: int, total: int, what: str) -> str:
    return f"{count} of {total} ({count / max(total, 1):.2%}) {what}"
