"""The leakage certificate finds what it claims to look for."""

import pandas as pd
import pytest

from model_core.config import SplitConfig
from model_core.errors import DataError
from model_core.split.temporal import temporal_split
from tests.graph.snapshots import Frame, seconds, write_snapshot
from tests.graph.worlds import shop_snapshot

VAL, TEST, WINDOW = 50, 60, 10
EVENTS = [  # (time, user, item)
    (0, 0, 0), (10, 0, 1), (20, 0, 1), (21, 1, 2), (50, 1, 1), (51, 1, 2), (60, 1, 3), (61, 0, 0),
    (70, 0, 1), (70.5, 0, 2), (90, 2, 4),
]
LABELS = {"train": [(10, 0, [1]), (20, 1, [2])], "val": [(VAL, 1, [2, 3])], "test": [(TEST, 0, [0, 1])]}


def certificate(tmp_path, labels=LABELS, **kwargs):
    time, user, item = zip(*EVENTS, strict=True)
    tables = {
        "users": Frame(pd.DataFrame({"user_id": range(3), "age": [1, 2, 3]}), "user_id"),
        "items": Frame(pd.DataFrame({"item_id": range(5)}), "item_id"),
        "events": Frame(pd.DataFrame({"user_id": user, "item_id": item, "at": seconds(time)}),
                        None, "at", {"user_id": "users", "item_id": "items"}),
    }
    arguments = {"val_time": VAL, "test_time": TEST, "window_s": WINDOW, "labels": labels} | kwargs
    snapshot = write_snapshot(tmp_path / "snapshot", tables, **arguments)
    return temporal_split(snapshot, SplitConfig(), tmp_path / "split").certificate


def check(found, name, split=None):
    (only,) = [c for c in found["checks"] if c["name"].startswith(name) and c["split"] == split]
    return only


def test_rows_are_counted_per_period_with_closed_right_ends(tmp_path):
    found = certificate(tmp_path)
    assert found["tables"]["events"] == {
        "until_train_cutoff": 5, "in_val_window": 2, "between_windows": 0, "in_test_window": 2,
        "after": 2,
    }


def test_tables_without_time_are_named_as_unchecked(tmp_path):
    found = certificate(tmp_path)
    assert found["untimed_tables"]["users"] == {
        "rows": 3, "feature_columns": 1, "note": "cannot be checked: rows always visible"}
    assert check(found, "every table has a time")["count"] == 2


def test_labels_are_confirmed_in_the_half_open_window_only(tmp_path):
    """An event at t is history; one at t + window is a label; half a second later is not."""
    found = certificate(tmp_path, LABELS | {
        "train": [(10, 0, [1]), (20, 0, [1]), (20, 1, [2])],  # (20, 0, 1) happened at 20 itself
        "test": [(TEST, 0, [0, 1, 2])],  # item 2 comes at 70.5
    })
    assert check(found, "label items are confirmed", "train")["count"] == 1
    assert check(found, "label items are confirmed", "val")["count"] == 0
    assert check(found, "label items are confirmed", "test")["count"] == 1
    assert not check(found, "label items are confirmed", "test")["ok"]


def test_new_items_and_entities_without_history_are_counted(tmp_path):
    found = certificate(tmp_path, LABELS | {"test": [(TEST, 0, [0]), (TEST, 2, [4])]})
    assert check(found, "label items were seen", "train")["count"] == 1  # item 2 starts at 21
    assert check(found, "label items were seen", "val")["count"] == 1  # item 3 starts at 60
    assert check(found, "label items were seen", "test")["count"] == 1  # item 4 starts at 90
    assert check(found, "entities have a history", "test")["count"] == 1
    assert check(found, "entities have a history", "val")["count"] == 0


@pytest.mark.parametrize(("labels", "message"), [
    ({"train": [(41, 0, [1])]}, "training labels end by val_time"),
    ({"val": [(VAL - 1, 1, [1])]}, "val rows stand at val_time"),
    ({"test": [(TEST, 0, [1]), (TEST + 5, 0, [1])]}, "test rows stand at test_time"),
    ({"val": [(VAL, 1, [1]), (VAL, 1, [2])]}, "no .entity, time. occurs twice"),
    ({"train": [(20, 1, [1]), (10, 1, [1])]}, "rows are sorted"),
    ({"train": [(10, 1, [1, 1])]}, "items distinct"),
    ({"train": [(10, 1, [5])]}, "ids known"),
    ({"train": [(10, 3, [1])]}, "ids known"),
    ({"train": [(10, 1, []), (20, 1, [1])]}, "1 rows or items are not"),
])
def test_a_leaking_label_table_is_refused(tmp_path, labels, message):
    with pytest.raises(DataError, match=message):
        certificate(tmp_path, LABELS | labels)
    assert not (tmp_path / "split").exists()


def test_the_latest_allowed_training_row_passes(tmp_path):
    assert certificate(tmp_path, LABELS | {"train": [(40, 0, [1])]})["ok"]


def test_validation_labels_may_not_reach_into_the_test_window(tmp_path):
    with pytest.raises(DataError, match="validation labels end by test_time"):
        certificate(tmp_path, LABELS | {"test": [(59, 0, [1])]}, test_time=59)


def test_a_hidden_column_still_visible_is_refused(tmp_path):
    snapshot = shop_snapshot(tmp_path / "s")
    snapshot.tables["orders"].columns["secret"] = "number"
    with pytest.raises(DataError, match="remove_columns"):
        temporal_split(snapshot, SplitConfig(), tmp_path / "split")


def test_overlapping_training_windows_are_reported_not_refused(tmp_path):
    found = certificate(tmp_path, LABELS | {"train": [(10, 0, [1]), (15, 0, [1]), (25, 0, [1])]})
    overlap = check(found, "training windows do not overlap", "train")
    assert (overlap["ok"], overlap["count"]) == (False, 1)
    assert found["ok"]


def test_every_check_says_what_it_found(tmp_path):
    for entry in certificate(tmp_path)["checks"]:
        assert isinstance(entry["ok"], bool)
        assert isinstance(entry["count"], int)
        assert entry["name"]
        assert entry["detail"]
        assert entry["fix"] or not entry["hard"]
