"""Every mishap gives its one finding; an ordinary next day gives none."""

import json

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from model_core.config import WatchConfig
from model_core.tables.demo import write_demo_dataset
from model_core.watch.compare import compare
from model_core.watch.measuring import measure
from model_core.watch.statistics import DataStatistics
from tests.watch.shops import DAY, MISHAPS, WINDOW, Shop, stop_events


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    return Shop(write_demo_dataset(tmp_path_factory.mktemp("watch") / "shop", scale=0.25))


@pytest.fixture(scope="module")
def yesterday(shop, tmp_path_factory):
    return measure(*shop.freeze(tmp_path_factory.mktemp("yesterday"), shop.last_day))


def alarms(findings):
    return [(finding.rule, finding.table, finding.column, finding.level)
            for finding in findings if finding.level != "ok"]


@pytest.mark.parametrize("mishap", MISHAPS, ids=lambda mishap: mishap.__name__)
def test_a_mishap_gives_exactly_its_finding(mishap, shop, yesterday, tmp_path):
    broken = shop.copy(tmp_path / "shop")
    mishap(broken)
    today = measure(*broken.freeze(tmp_path, shop.last_day + DAY))
    findings = compare(today, yesterday, WatchConfig())
    assert alarms(findings) == [MISHAPS[mishap]]
    assert findings[0].message.endswith(".")


def test_an_ordinary_next_day_gives_none(shop, yesterday, tmp_path):
    today = measure(*shop.freeze(tmp_path, shop.last_day + DAY))
    findings = compare(today, yesterday, WatchConfig())
    assert alarms(findings) == []
    assert {finding.rule for finding in findings} >= {
        "freshness", "row_change", "missing_change", "category_drift", "number_drift", "cold_users",
        "cold_users_change", "missing_keys"}


def test_the_datasets_own_windows_are_compared_with_a_dated_run(shop, yesterday, tmp_path):
    own = measure(*shop.freeze(tmp_path, None))
    assert own.moment == yesterday.moment
    assert alarms(compare(own, yesterday, WatchConfig())) == []
    assert own.tables == yesterday.tables, "rows after the test window do not count"


def test_dates_of_events_are_compared_by_their_age(shop, tmp_path):
    """A date that goes with time is no drift; one that is a year off is."""
    dated = shop.copy(tmp_path / "shop")
    orders = dated.read("orders")
    delivery = pc.add(orders.column("time"), pa.scalar(3 * DAY * 10**9, pa.duration("ns")))
    dated.write("orders", orders.append_column("delivery", delivery))
    earlier = measure(*dated.freeze(tmp_path / "a", shop.last_day - WINDOW))
    later = measure(*dated.freeze(tmp_path / "b", shop.last_day))
    assert later.tables["orders"].columns["delivery"].usual_drift < 0.3
    assert alarms(compare(later, earlier, WatchConfig())) == []
    year = pa.scalar(365 * DAY * 10**9, pa.duration("ns"))
    dated.edit("orders", "delivery", lambda dates: pc.add(dates, year))
    off = measure(*dated.freeze(tmp_path / "c", shop.last_day))
    assert alarms(compare(off, earlier, WatchConfig())) == [("number_drift", "orders", "delivery", "fail")]


def test_without_a_reference_absolute_rules_hold(shop, tmp_path):
    broken = shop.copy(tmp_path / "shop")
    stop_events(broken)
    late = measure(*broken.freeze(tmp_path, shop.last_day + DAY))
    assert alarms(compare(late, None, WatchConfig())) == [MISHAPS[stop_events]]


def test_statistics_survive_json_and_repeat(shop, yesterday, tmp_path):
    again = measure(*shop.freeze(tmp_path, shop.last_day))
    assert again == yesterday
    text = json.dumps(yesterday.to_json())
    assert DataStatistics.from_json(json.loads(text)) == yesterday
    assert len(text) < 200_000
    assert yesterday.tables["orders"].rows_per_day == yesterday.tables["orders"].recent_rows / (WINDOW / DAY)
