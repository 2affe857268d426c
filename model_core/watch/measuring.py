"""Measure a snapshot: one pass over every column, never more than one column in memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from model_core.split.seeds import Split
from model_core.tables.interactions import find_interactions
from model_core.tables.snapshot import ColumnKind, Snapshot, TableSchema, to_seconds
from model_core.watch.columns import drift_between, gatherer
from model_core.watch.statistics import SCHEMA_VERSION, ColumnStatistics, DataStatistics, TableStatistics

#: Label windows that are searched for the longest usual gap, and the rows it takes to speak of one.
GAP_WINDOWS, MIN_GAPS = 8, 20
_BATCH_ROWS = 1 << 16
_DAY_S = 86_400

# Of a row: in no period, in the period before the recent one, in the recent one.
_OUTSIDE, _BEFORE, _RECENT = 0, 1, 2


def measure(snapshot: Snapshot, split: Split, max_categories: int = 1_000) -> DataStatistics:
    """Statistics of a snapshot and its split. The same snapshot always gives the same.

    Args:
        snapshot: Validated tables.
        split: Its seed rows; the test window's tell who and what is cold.
        max_categories: A string column with more distinct values counts as text.
    """
    window_s = snapshot.task.window_s
    moment = snapshot.as_of if snapshot.as_of is not None else snapshot.test_time + window_s
    clocks = {name: _Clock(snapshot, schema, moment) for name, schema in snapshot.tables.items()}
    newest = max(clock.newest for clock in clocks.values() if clock.newest is not None)
    entity, item, _ = find_interactions(snapshot, snapshot.test_time, split.routes)
    return DataStatistics(
        schema_version=SCHEMA_VERSION, dataset=snapshot.dataset, task=snapshot.task.name,
        as_of=snapshot.as_of, moment=moment, window_s=window_s, newest=newest,
        num_users=split.num_entities, num_items=split.num_items,
        num_test_users=len(split.test), num_test_targets=len(split.test.item),
        cold_user_share=_cold(split.test.entity, entity, split.num_entities),
        cold_item_share=_cold(split.test.item, item, split.num_items),
        tables={name: _table(snapshot, schema, clocks[name], newest, max_categories)
                for name, schema in snapshot.tables.items()},
    )


def _cold(rows: np.ndarray, warm: np.ndarray, number: int) -> float:
    known = np.zeros(number, dtype=bool)
    known[warm] = True
    return float(1 - known[rows].mean()) if len(rows) else 0.0


class _Clock:
    """When a table's rows happened, as far as they count at the moment of the run.

    A table without time is a catalogue, and so are users and items and every table that links
    to no other. Of a catalogue few rows are new, but all of them matter.
    """

    def __init__(self, snapshot: Snapshot, schema: TableSchema, moment: int) -> None:
        self.snapshot, self.schema, self.moment = snapshot, schema, moment
        task = snapshot.task
        self.is_catalogue = (schema.time_col is None or not schema.fkeys
                             or schema.name in (task.entity_table, task.item_table))
        self.rows, self.newest, self.longest_gap_s = schema.num_rows, None, None
        if schema.time_col is None:
            return
        self.rows, lately = 0, []
        for times in self._batches():
            times = times[times <= moment]
            self.rows += len(times)
            if len(times):
                self.newest = max(self.newest or int(times.max()), int(times.max()))
            lately.append(np.unique(times[times > moment - GAP_WINDOWS * snapshot.task.window_s]))
        gaps = np.diff(np.unique(np.concatenate([np.zeros(0, dtype=np.int64), *lately])))
        if len(gaps) >= MIN_GAPS:
            self.longest_gap_s = int(gaps.max())

    def _batches(self) -> Iterator[np.ndarray]:
        assert self.schema.time_col is not None
        for values in _batches(self.snapshot, self.schema.name, self.schema.time_col, None):
            yield to_seconds(pa.chunked_array([values]))

    def periods(self, end: int) -> np.ndarray:
        """Period of every row, int8 [num_rows]; all that count are recent in a catalogue."""
        if self.schema.time_col is None:
            return np.full(self.schema.num_rows, _RECENT, dtype=np.int8)
        window_s = self.snapshot.task.window_s
        parts = [np.zeros(0, dtype=np.int8)]
        for times in self._batches():
            period = np.full(len(times), _OUTSIDE, dtype=np.int8)
            if self.is_catalogue:
                period[times <= self.moment] = _RECENT
            else:
                period[(times > end - 2 * window_s) & (times <= end - window_s)] = _BEFORE
                period[(times > end - window_s) & (times <= end)] = _RECENT
            parts.append(period)
        return np.concatenate(parts)


def _batches(snapshot: Snapshot, table: str, column: str, wanted: np.ndarray | None) -> Iterator[pa.Array]:
    """One column in row order; row groups without a wanted row come as null arrays, unread."""
    file = pq.ParquetFile(snapshot.record.file(f"db/{table}.parquet"), memory_map=True)
    first = 0
    for group in range(file.num_row_groups):
        rows = file.metadata.row_group(group).num_rows
        if wanted is not None and not wanted[first : first + rows].any():
            yield pa.nulls(rows)
        else:
            for batch in file.iter_batches(_BATCH_ROWS, row_groups=[group], columns=[column]):
                yield batch.column(0)
        first += rows


def _table(
    snapshot: Snapshot, schema: TableSchema, clock: _Clock, newest: int, max_categories: int
) -> TableStatistics:
    periods = clock.periods(newest)
    recent_rows = int((periods == _RECENT).sum())
    return TableStatistics(
        pkey=schema.pkey, time_col=schema.time_col, fkeys=dict(schema.fkeys), rows=clock.rows,
        recent_rows=recent_rows,
        rows_per_day=recent_rows * _DAY_S / snapshot.task.window_s if not clock.is_catalogue else None,
        newest=clock.newest, longest_gap_s=clock.longest_gap_s,
        columns={name: _column(snapshot, schema.name, name, kind, periods,
                               None if clock.is_catalogue else newest, max_categories)
                 for name, kind in schema.columns.items()},
    )


def _column(
    snapshot: Snapshot, table: str, column: str, kind: ColumnKind, periods: np.ndarray,
    end: int | None, max_categories: int,
) -> ColumnStatistics:
    window_s = snapshot.task.window_s
    # Ages are counted from the end of a row's own period: a later snapshot has the same ages.
    gatherers = {_RECENT: gatherer(kind, max_categories, end),
                 _BEFORE: gatherer(kind, max_categories, None if end is None else end - window_s)}
    rows, missing = dict.fromkeys(gatherers, 0), dict.fromkeys(gatherers, 0)
    first = 0
    for values in _batches(snapshot, table, column, periods > _OUTSIDE):
        here = periods[first : first + len(values)]
        first += len(values)
        for period, gathered in gatherers.items():
            if (mine := here == period).any():
                part = values.filter(pa.array(mine))
                rows[period] += len(part)
                missing[period] += part.null_count
                gathered.add(part.drop_null())
    recent, before = (gatherers[period].result(rows[period], missing[period])
                      for period in (_RECENT, _BEFORE))
    if rows[_BEFORE]:
        recent = replace(recent, missing_before=missing[_BEFORE] / rows[_BEFORE])
    if recent.measure != before.measure or not before.known:
        return recent
    return replace(recent, usual_drift=drift_between(before, recent)[0])
