"""The step's work: reference or none, record, page, and what a failure does."""

import dataclasses
import json
from html.parser import HTMLParser

import pytest

from model_core.config import WatchConfig
from model_core.errors import DataError
from model_core.records import json_bytes, write_record
from model_core.storage.champion import KIND, SCHEMA_VERSION, ChampionRecord
from model_core.watch.measuring import measure
from model_core.watch.record import DataWatch
from model_core.watch.watch import require_no_failure, watch_data
from tests.watch.shops import DAY, Shop, rename_category


@pytest.fixture(scope="module")
def days(demo_dataset, tmp_path_factory):
    """Statistics of one day; snapshot and split of the next, with a category renamed."""
    folder = tmp_path_factory.mktemp("days")
    shop = Shop(demo_dataset)
    yesterday = measure(*shop.freeze(folder / "yesterday", shop.last_day))
    broken = shop.copy(folder / "broken")
    rename_category(broken)
    return yesterday, broken.freeze(folder / "today", shop.last_day + DAY)


def champion(path, state="loaded", data=None):
    with write_record(path, KIND, SCHEMA_VERSION) as (folder, meta):
        meta.update(state=state, version="20230601-0123abcd" if state != "none" else None,
                    logical_date=None, promoted_at=None, problem=None)
        if data is not None:
            (folder / "data.json").write_bytes(data)
    return ChampionRecord.open(path)


def watch(days, tmp_path, *args, config=None, **kwargs):
    return watch_data(*days[1], champion(tmp_path / "champion", *args, **kwargs), config or WatchConfig(),
                      tmp_path / "watch", html=tmp_path / "page.html")


class Page(HTMLParser):
    """Notes what a page would fetch, and whether its tags match."""

    def __init__(self, text):
        super().__init__()
        self.open, self.fetched = [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.fetched += [value for name, value in attributes if name in ("src", "href")]
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        pass

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_findings_record_and_page(days, tmp_path):
    watched = watch(days, tmp_path, data=json_bytes(days[0].to_json()))
    (failure,) = watched.failures
    assert (failure.rule, failure.place) == ("category_drift", "sessions.device")
    assert "“phone”" in failure.message
    assert "is gone" in failure.message
    assert DataWatch.open(tmp_path / "watch") == watched
    assert watched.reference == "20230601-0123abcd"
    assert watched.reference_statistics == days[0]
    assert watched.statistics == measure(*days[1])
    text = (tmp_path / "page.html").read_text()
    page = Page(text)
    assert page.open == []
    assert page.fetched == []
    assert failure.message in text
    assert text.count("<svg") == 1
    assert "1 failure," in text


def test_the_first_run_has_nothing_to_compare_with(days, tmp_path):
    watched = watch(days, tmp_path, "none")
    assert watched.reference is None
    assert not watched.failures
    assert not watched.warnings
    assert "Nothing to compare with" in (tmp_path / "page.html").read_text()


@pytest.mark.parametrize(("data", "said"), [
    (None, "none"), (b"{half", "Expecting"), (b'{"schema_version": 99}', "version 99"),
    (b'{"schema_version": 1, "dataset": 5}', "dataset"), (b"[]", "version None"),
])
def test_a_reference_that_cannot_be_read_is_a_warning(days, tmp_path, data, said):
    watched = watch(days, tmp_path, data=data)
    (warning,) = watched.warnings
    assert warning.rule == "reference"
    assert said in warning.found
    assert watched.reference is None


def test_a_reference_with_nan_is_a_warning_and_not_a_crash(days, tmp_path):
    data = json.dumps(days[0].to_json() | {"cold_user_share": float("nan")}).encode()
    watched = watch(days, tmp_path, data=data)
    assert [finding.rule for finding in watched.warnings] == ["reference"]
    assert watched.reference is None


@pytest.mark.parametrize("change", [
    {"sketch": []}, {"sketch": [1.0, 2.0]}, {"buckets": [1]}, {"missing": 10**9}, {"missing": -1},
    {"categories": []},
])
def test_a_reference_that_contradicts_itself_is_a_warning_and_not_a_crash(change, days, tmp_path):
    data = json.loads(json.dumps(days[0].to_json()))
    data["tables"]["sessions"]["columns"]["device"] |= change
    watched = watch(days, tmp_path, data=json.dumps(data).encode())
    (warning,) = watched.warnings
    assert (warning.rule, "sessions.device" in warning.found) == ("reference", True)


def test_a_reference_of_no_time_is_a_warning_and_not_a_crash(days, tmp_path):
    watched = watch(days, tmp_path, data=json_bytes(days[0].to_json() | {"moment": 10**18}))
    assert [finding.rule for finding in watched.warnings] == ["reference"]


def test_statistics_serve_where_the_bundle_is_damaged(days, tmp_path):
    watched = watch(days, tmp_path, "unreadable", json_bytes(days[0].to_json()))
    assert len(watched.failures) == 1


def test_stop_ends_the_run_and_names_the_fault(days, tmp_path):
    data = json_bytes(days[0].to_json())
    require_no_failure(watch(days, tmp_path, data=data))
    stopping = watch(days, tmp_path, data=data, config=WatchConfig(on_failure="stop"))
    with pytest.raises(DataError, match=r"category_drift of sessions\.device.*phone"):
        require_no_failure(stopping)
    require_no_failure(watch(days, tmp_path, data=data, config=WatchConfig(
        on_failure="stop", ignore=("sessions.device",))))


def test_values_that_look_like_markup_are_shown_as_text(days, tmp_path):
    yesterday = json.loads(json.dumps(days[0].to_json()))
    device = yesterday["tables"]["sessions"]["columns"]["device"]
    device["categories"] = [["<script>alert(1)</script>", rows] if name == "phone" else [name, rows]
                            for name, rows in device["categories"]]
    watch(days, tmp_path, data=json_bytes(yesterday))
    text = (tmp_path / "page.html").read_text()
    assert "<script" not in text
    assert "&lt;script" in text


def test_equal_inputs_give_equal_records(days, tmp_path):
    data = json_bytes(days[0].to_json())
    first = watch(days, tmp_path / "a", data=data)
    second = watch(days, tmp_path / "b", data=data)
    assert first.record.digest == second.record.digest
    assert dataclasses.asdict(first)["findings"] == dataclasses.asdict(second)["findings"]
