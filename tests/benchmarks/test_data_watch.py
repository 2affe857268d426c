"""The benchmark of the data watch compares the dates that it says."""

from datetime import UTC, datetime, timedelta

from benchmarks.data_watch import compare_dates
from model_core.tables.demo import DEMO_TASK
from tests.watch.shops import Shop


def test_dates_and_lags(demo_dataset):
    last = datetime.fromtimestamp(Shop(demo_dataset).last_day, UTC).date()
    days = [last - timedelta(14), last - timedelta(7), last]
    found, seconds = compare_dates(str(demo_dataset), DEMO_TASK, days, [7, 14, 5])
    assert {lag: [day for day, _ in compared] for lag, compared in found.items()} == {
        7: days[1:], 14: days[2:], 5: []}
    assert all(findings for compared in found.values() for _, findings in compared)
    assert len(seconds) == 3
