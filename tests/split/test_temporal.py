"""Seed rows: which windows, which rows, and what was dropped."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_core.config import SplitConfig
from model_core.errors import DataError
from model_core.split.seeds import Split
from model_core.split.temporal import temporal_split, train_seed_times
from model_core.tables.snapshot import SPLITS, Snapshot
from tests.canary import shuffle_after
from tests.graph.snapshots import DAY, Frame, seconds, write_snapshot
from tests.graph.worlds import TEST_TIME, VAL_TIME, WINDOW_S, shop_snapshot

VAL, TEST, WINDOW = 50, 60, 10


def tiny(tmp_path, labels, *, num_items=4, last=75, **kwargs) -> Snapshot:
    tables = {
        "users": Frame(pd.DataFrame({"user_id": range(3)}), "user_id"),
        "items": Frame(pd.DataFrame({"item_id": range(num_items)}), "item_id"),
        "events": Frame(pd.DataFrame({"user_id": [0, 1, 2], "item_id": [0, 1, 2],
                                      "at": seconds([0, 55, last])}),
                        None, "at", {"user_id": "users", "item_id": "items"}),
    }
    return write_snapshot(tmp_path / "snapshot", tables, val_time=VAL, test_time=TEST,
                          window_s=WINDOW, labels=labels, **kwargs)


GOOD = {"train": [(10, 0, [1]), (20, 0, [1, 2]), (40, 1, [0])], "val": [(VAL, 1, [1])],
        "test": [(TEST, 2, [2, 3])]}


def rows_of(seeds):
    return [(int(seeds.time[i]), int(seeds.entity[i]), seeds.items_of(i).tolist())
            for i in range(len(seeds))]


def test_stored_labels_are_taken_as_they_are(tmp_path):
    split = temporal_split(tiny(tmp_path, GOOD), SplitConfig(), tmp_path / "split")
    assert rows_of(split.train) == GOOD["train"]
    assert rows_of(split.val) == GOOD["val"]
    assert rows_of(split.test) == GOOD["test"]
    assert split.label_source == "stored"
    assert (split.val_time, split.test_time, split.train_cutoff) == (VAL, TEST, VAL)
    assert (split.num_entities, split.num_items, split.window_s) == (3, 4, WINDOW)
    assert split.certificate["ok"]


def test_what_was_treated_in_labels_made_by_sql_is_counted(tmp_path):
    sql = """SELECT t.timestamp, o.user_id, LIST(l.item_id) AS item_id FROM timestamps t
             JOIN orders o ON o.at > t.timestamp AND o.at <= t.timestamp + INTERVAL '{timedelta}'
             JOIN lines l ON l.order_id = o.order_id GROUP BY t.timestamp, o.user_id"""
    snapshot = shop_snapshot(tmp_path / "s", stored=False)
    plain = temporal_split(snapshot, SplitConfig(), tmp_path / "plain")
    sloppy = dataclasses.replace(snapshot, task=dataclasses.replace(snapshot.task, sql=sql))
    cleaned = temporal_split(sloppy, SplitConfig(), tmp_path / "cleaned")
    for split in SPLITS:
        assert rows_of(getattr(cleaned, split)) == rows_of(getattr(plain, split))
    assert cleaned.counts["train"]["duplicate_items"] > 0
    assert cleaned.counts["train"]["missing_entities"] > 0  # orders without a user


def test_only_the_newest_windows_are_kept(tmp_path):
    split = temporal_split(tiny(tmp_path, GOOD, eval_k=2), SplitConfig(num_train_windows=2), tmp_path / "s")
    assert rows_of(split.train) == GOOD["train"][1:]
    assert split.counts["train"]["rows_in_older_windows"] == 1
    assert split.counts["warnings"] == ["only 2 training window(s); at least 3 are advised"]


@pytest.mark.parametrize("empty", SPLITS)
def test_an_empty_split_is_an_error_and_nothing_is_written(tmp_path, empty):
    labels = GOOD | {empty: []}
    with pytest.raises(DataError, match=f"{empty} labels.*at least one entity"):
        temporal_split(tiny(tmp_path, labels), SplitConfig(), tmp_path / "split")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["snapshot"]


def test_k_larger_than_the_catalogue_is_allowed_and_said(tmp_path):
    split = temporal_split(tiny(tmp_path, GOOD, eval_k=10), SplitConfig(), tmp_path / "split")
    assert "eval_k 10 is larger than the catalogue (4)" in split.counts["warnings"]


@settings(max_examples=50, deadline=None)
@given(window=st.integers(1, 40), val=st.integers(0, 300), first=st.integers(0, 300))
def test_training_seed_times_are_those_of_relbench(window, val, first):
    class Fake:
        val_time, min_time = val * DAY, first * DAY

        class task:
            name, window_s = "t", window * DAY

    delta = pd.Timedelta(days=window)
    expected = pd.date_range(start=pd.Timestamp(val * DAY, unit="s") - delta,
                             end=pd.Timestamp(first * DAY, unit="s"), freq=-delta)
    if not len(expected):
        with pytest.raises(DataError, match="at least one label window"):
            train_seed_times(Fake)
        return
    assert train_seed_times(Fake) == [int(t.timestamp()) for t in expected]
    assert train_seed_times(Fake, 2) == [int(t.timestamp()) for t in expected][:2]


def test_labels_from_sql_equal_the_stored_ones(tmp_path):
    stored = temporal_split(shop_snapshot(tmp_path / "a"), SplitConfig(), tmp_path / "a_split")
    made = temporal_split(shop_snapshot(tmp_path / "b", stored=False), SplitConfig(),
                          tmp_path / "b_split")
    assert (stored.label_source, made.label_source) == ("stored", "sql")
    for split in SPLITS:
        assert rows_of(getattr(stored, split)) == rows_of(getattr(made, split))
    assert set(np.diff(np.unique(made.train.time))) == {WINDOW_S}
    assert made.train.time.max() == VAL_TIME - WINDOW_S
    assert set(made.test.time) == {TEST_TIME}


def test_neither_labels_nor_sql_is_an_error(tmp_path):
    with pytest.raises(DataError, match="SQL that makes its labels"):
        temporal_split(tiny(tmp_path, None), SplitConfig(), tmp_path / "split")


def test_a_query_that_looks_past_its_window_sees_nothing_there(tmp_path):
    """Training labels cannot know rows after the cutoff, whatever the SQL asks for."""
    greedy = """SELECT t.timestamp, o.user_id, LIST(DISTINCT l.item_id) AS item_id
                FROM timestamps t JOIN orders o ON o.at > t.timestamp
                JOIN lines l ON l.order_id = o.order_id
                WHERE o.user_id IS NOT NULL GROUP BY t.timestamp, o.user_id"""
    snapshot = shop_snapshot(tmp_path / "s", stored=False)
    snapshot = dataclasses.replace(snapshot, task=dataclasses.replace(snapshot.task, sql=greedy))
    before = temporal_split(snapshot, SplitConfig(), tmp_path / "a").train
    shuffle_after(tmp_path / "s", VAL_TIME, tmp_path / "t")
    shuffled = dataclasses.replace(snapshot, record=Snapshot.open(tmp_path / "t").record)
    after = temporal_split(shuffled, SplitConfig(), tmp_path / "b").train
    assert rows_of(before) == rows_of(after)


def test_the_same_input_gives_the_same_bytes(tmp_path):
    snapshot = shop_snapshot(tmp_path / "snapshot")
    first = temporal_split(snapshot, SplitConfig(), tmp_path / "a")
    again = temporal_split(snapshot, SplitConfig(), tmp_path / "b")
    assert first.record.digest == again.record.digest
    assert Split.open(tmp_path / "a", verify="digest").locality == first.locality
