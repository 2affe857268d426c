"""Dates are refused up front exactly where ingest would refuse them."""

import pytest

from model_core.errors import DataError
from model_core.tables.cutting import MIN_WINDOWS
from model_core.tables.demo import DEMO_TASK
from model_core.tables.logical_dates import check_logical_dates


def test_the_ends_are_those_of_ingest(demo_dataset, demo_snapshot):
    window_s = demo_snapshot.task.window_s
    first = demo_snapshot.min_time + MIN_WINDOWS * window_s
    last = demo_snapshot.max_time + window_s
    check_logical_dates(str(demo_dataset), DEMO_TASK, [first, (first + last) // 2, last])
    for date in (first - 1, last + 1):
        with pytest.raises(DataError, match="last event \\+ one window"):
            check_logical_dates(str(demo_dataset), DEMO_TASK, [first, date])


def test_no_dataset_and_no_task(demo_dataset, tmp_path):
    with pytest.raises(DataError, match="no-such-task"):
        check_logical_dates(str(demo_dataset), "no-such-task", [0])
    with pytest.raises(DataError):
        check_logical_dates(str(tmp_path / "none"), DEMO_TASK, [0])
