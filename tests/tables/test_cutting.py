"""Runs at a logical date: rows after it are gone, keys stay sound, labels are made anew."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from model_core.errors import DataError
from model_core.tables.ingest import ingest
from model_core.tables.snapshot import Snapshot
from model_core.tables.sql import run_task_sql
from tests.tables.shop import (
    DAY,
    NUM_ITEMS,
    NUM_WEEKS,
    SQL,
    START,
    TASK,
    WEEK,
    Draft,
    good_draft,
    label_rows,
    stamps,
)

AS_OF = START + 6 * WEEK + 3 * DAY


def taken(draft: Draft, tmp_path: Path, as_of: int = AS_OF) -> Snapshot:
    return ingest(str(draft.write(tmp_path / "data")), TASK, tmp_path / "snapshot", as_of=as_of)


def test_windows_rows_and_labels(tmp_path: Path):
    draft = good_draft()
    snapshot = taken(draft, tmp_path)
    assert (snapshot.test_time, snapshot.val_time) == (AS_OF - WEEK, AS_OF - 2 * WEEK)
    assert not snapshot.has_labels()
    events = draft.tables["events"]
    time = events["time"].cast(pa.int64()).to_numpy() // 10**6
    assert (snapshot.times("events") == time[time <= AS_OF]).all()
    assert snapshot.counts["events"] == {"rows_after_as_of": int((time > AS_OF).sum())}
    made = run_task_sql(snapshot, snapshot.task, [snapshot.test_time])
    expected = label_rows(time, events["user_id"].to_numpy(), events["item_id"].to_numpy(),
                          [snapshot.test_time])
    assert [tuple(row.values()) for row in made.to_pylist()] == expected


def test_rows_at_the_logical_date_stay(tmp_path: Path):
    draft = good_draft()
    time = draft.tables["events"]["time"].cast(pa.int64()).to_numpy() // 10**6
    assert taken(draft, tmp_path, as_of=int(time[250])).max_time == time[250]


def test_unsorted_table_is_renumbered_and_keys_follow(tmp_path: Path):
    draft = good_draft()
    rng = np.random.default_rng(1)
    born = START + rng.permutation(np.arange(NUM_ITEMS)) * WEEK
    draft.tables["items"] = draft.tables["items"].append_column("born", stamps(born))
    draft.manifest["tables"]["items"]["time_col"] = "born"
    snapshot = taken(draft, tmp_path)
    kept = np.flatnonzero(born <= AS_OF)
    assert 0 < len(kept) < NUM_ITEMS
    assert kept[-1] != len(kept) - 1
    items = snapshot.table("items")
    assert items["item_id"].to_pylist() == list(range(len(kept)))
    assert items["title"].to_pylist() == [f"item {i}" for i in kept]
    former = pq.read_table(snapshot.record.file("former_rows/items.parquet"))
    assert snapshot.source_keys("items").tolist() == former.column("row").to_pylist()
    assert snapshot.source_keys("users").tolist() == list(range(snapshot.tables["users"].num_rows))
    assert former["row"].to_pylist() == kept.tolist()

    events = draft.tables["events"]
    old = events["item_id"].to_numpy()[: snapshot.tables["events"].num_rows]
    new = snapshot.fkey("events", "item_id")
    stays = np.isin(old, kept)
    assert (kept[new[stays]] == old[stays]).all()
    assert (new[~stays] == -1).all()
    assert snapshot.counts["events.item_id"] == {"cut_by_as_of": int((~stays).sum())}

    # An item that appears after the test seed time is left out of the labels, as in relbench.
    made = run_task_sql(snapshot, snapshot.task, [snapshot.test_time])
    known = np.flatnonzero(born[kept] <= snapshot.test_time)
    assert set(made["items"].combine_chunks().flatten().to_pylist()) <= set(known.tolist())


def test_hidden_foreign_key_follows_too(tmp_path: Path):
    draft = good_draft()
    born = START + np.arange(NUM_ITEMS)[::-1] * WEEK
    draft.tables["items"] = draft.tables["items"].append_column("born", stamps(born))
    draft.tables["events"] = draft.tables["events"].append_column("gift", draft.tables["events"]["item_id"])
    draft.manifest["tables"]["items"]["time_col"] = "born"
    draft.manifest["tables"]["events"]["fkeys"]["gift"] = "items"
    draft.task |= {"remove_columns": [["events", "gift"]], "sql": SQL.replace("e.item_id", "e.gift")}
    snapshot = taken(draft, tmp_path)
    hidden = pq.read_table(snapshot.record.file("hidden/events.parquet"))
    assert hidden["gift"] == snapshot.table("events")["item_id"]
    assert "gift" not in snapshot.tables["events"].fkeys


@pytest.mark.parametrize("as_of", [START + 2 * WEEK, START + (NUM_WEEKS + 2) * WEEK, 86_400, -5])
def test_dates_outside_the_data_are_refused(tmp_path: Path, as_of: int):
    with pytest.raises(DataError, match=r"as_of: expected a time from 2020-01-27 .* to 2020-03-24"):
        taken(good_draft(), tmp_path, as_of)
    assert not (tmp_path / "snapshot").exists()


def test_task_without_sql_is_refused(tmp_path: Path):
    draft = good_draft()
    draft.task["kind"] = "external"
    del draft.task["sql"]
    with pytest.raises(DataError, match="SQL that makes the labels anew, found stored labels only"):
        taken(draft, tmp_path)


def test_same_data_same_digest_whatever_comes_after(tmp_path: Path):
    """A run in the past must not know what came later."""
    whole = taken(good_draft(), tmp_path / "whole")
    draft = good_draft()
    time = draft.tables["events"]["time"].cast(pa.int64()).to_numpy() // 10**6
    draft.tables["events"] = draft.tables["events"].filter(pa.array(time <= AS_OF))
    short = taken(draft, tmp_path / "short")
    names = [name for name in whole.record.files if name.startswith("db/")]
    assert {name: whole.record.files[name] for name in names} == {
        name: short.record.files[name] for name in names}
    assert (whole.val_time, whole.test_time) == (short.val_time, short.test_time)
