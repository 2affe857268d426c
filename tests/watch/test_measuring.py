"""Statistics of a snapshot against what pandas says of the same tables."""

import dataclasses

import pandas as pd
import pyarrow.parquet as pq
import pytest

from model_core.watch.drift import sketch
from model_core.watch.measuring import MIN_GAPS, measure
from tests.watch.shops import WINDOW, Shop


@pytest.fixture(scope="module")
def measured(demo_dataset, tmp_path_factory):
    shop = Shop(demo_dataset)
    snapshot, split = shop.freeze(tmp_path_factory.mktemp("measured"), shop.last_day)
    tables = {name: snapshot.table(name).to_pandas() for name in snapshot.tables}
    return snapshot, split, tables, measure(snapshot, split)


def seconds(times):
    return times.astype("datetime64[s]").astype("int64")


def test_recent_period_of_events(measured):
    _, _, tables, found = measured
    newest = max(int(seconds(tables[name]["time"]).max()) for name in ("sessions", "views", "order_lines"))
    assert found.newest == newest
    views = tables["views"]
    recent = views[seconds(views["time"]) > newest - WINDOW]
    before = views[seconds(views["time"]).between(newest - 2 * WINDOW, newest - WINDOW, inclusive="right")]
    table = found.tables["views"]
    assert (table.rows, table.recent_rows) == (len(views), len(recent))
    assert table.rows_per_day == pytest.approx(len(recent) / 14)
    assert table.newest == int(seconds(views["time"]).max())
    column = table.columns["seconds"]
    assert (column.rows, column.missing) == (len(recent), int(recent["seconds"].isna().sum()))
    assert column.missing_before == before["seconds"].isna().mean()
    assert column.sketch == tuple(sketch(recent["seconds"].dropna().to_numpy()))
    assert column.distinct == recent["seconds"].nunique()
    assert column.usual_drift == pytest.approx(max(
        abs((recent["seconds"] <= x).sum() / recent["seconds"].count()
            - (before["seconds"] <= x).sum() / before["seconds"].count())
        for x in views["seconds"].dropna().unique()), abs=1 / 128)
    assert table.columns["product_id"].distinct == recent["product_id"].nunique()


def test_catalogues_are_described_whole(measured):
    _, _, tables, found = measured
    for name, timed in (("customers", False), ("products", True)):
        table = found.tables[name]
        assert table.rows == table.recent_rows == len(tables[name])
        assert table.rows_per_day is None
        assert (table.newest is not None) == timed
    regions = tables["customers"]["region"].value_counts()
    assert dict(found.tables["customers"].columns["region"].categories) == regions.to_dict()
    assert found.tables["customers"].columns["age"].usual_drift == 0
    assert found.tables["customers"].columns["age"].missing_before is None


def test_gaps(measured):
    _, _, tables, found = measured
    times = pd.Series(sorted(set(seconds(tables["sessions"]["time"]))))
    lately = times[times > found.moment - 8 * WINDOW]
    assert len(lately) > MIN_GAPS
    assert found.tables["sessions"].longest_gap_s == int(lately.diff().max())
    assert found.tables["products"].longest_gap_s is None, "too few products are new"


def test_cold_shares(measured):
    snapshot, split, tables, found = measured
    touched = pd.concat([
        tables["orders"].drop(columns="time").merge(tables["order_lines"], on="order_id"),
        tables["sessions"].drop(columns="time").merge(tables["views"], on="session_id")])
    known = touched[seconds(touched["time"]) <= snapshot.test_time]
    users, items = set(known["customer_id"].dropna()), set(known["product_id"])
    shares = (sum(user not in users for user in split.test.entity) / len(split.test),
              sum(item not in items for item in split.test.item) / len(split.test.item))
    assert (found.cold_user_share, found.cold_item_share) == pytest.approx(shares)
    assert (found.num_test_users, found.num_test_targets) == (len(split.test), len(split.test.item))
    assert found.cold_user_share > 0


def test_row_groups_that_are_skipped_change_nothing(measured, tmp_path):
    snapshot, split, _, found = measured
    for name in snapshot.tables:
        path = tmp_path / "db" / f"{name}.parquet"
        path.parent.mkdir(exist_ok=True)
        pq.write_table(snapshot.table(name), path, row_group_size=37)
    record = dataclasses.replace(snapshot.record, path=tmp_path)
    assert measure(dataclasses.replace(snapshot, record=record), split) == found
