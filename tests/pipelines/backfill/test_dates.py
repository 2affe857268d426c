"""Which logical dates a backfill has."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_core.errors import ConfigError
from model_core.logical_date import date_text
from pipelines.backfill.dates import MAX_DATES, logical_dates


def test_both_ends_are_included():
    dates = logical_dates("2011-11-24", "2011-11-26")
    assert [date.text for date in dates] == [
        "2011-11-24T00:00:00Z", "2011-11-25T00:00:00Z", "2011-11-26T00:00:00Z"]
    assert dates[0].short == "2011-11-24"


def test_hours_and_offsets():
    dates = logical_dates("2011-11-24T23:00:00+01:00", "2011-11-25T10:00:00Z", "6h")
    assert [date.name for date in dates] == ["20111124T220000", "20111125T040000", "20111125T100000"]
    assert dates[0].short == "2011-11-24 22:00:00"


def test_a_last_step_that_does_not_fit_is_left_out():
    assert [date.name for date in logical_dates("2011-11-01", "2011-11-20", "2w")] == ["20111101", "20111115"]


def test_a_day_has_24_hours_also_where_clocks_change():
    dates = logical_dates("2011-03-25", "2011-03-29", "1d")
    assert {later.seconds - sooner.seconds for sooner, later in pairwise(dates)} == {86_400}


@given(st.integers(400 * 86_400, 2_000_000_000), st.integers(0, 40), st.integers(1, 90),
       st.sampled_from([("h", 3_600), ("d", 86_400), ("w", 604_800)]))
@settings(max_examples=40, deadline=None)
def test_distance_and_ends(first, count, number, unit):
    step = number * unit[1]
    last = first + count * step
    dates = logical_dates(date_text(first), date_text(last + step - 1), f"{number}{unit[0]}")
    assert [date.seconds for date in dates] == [first + place * step for place in range(count + 1)]
    assert len({date.name for date in dates}) == len(dates)


@pytest.mark.parametrize(("start", "end", "every", "message"), [
    ("2011-11-25", "2011-11-24", "1d", "exchange"), ("2011-11-25", "2011-11-26", "1M", "4w"),
    ("2011-11-25", "2011-11-26", "1mo", "4w"), ("2011-11-25", "2011-11-26", "0d", "such as 6h"),
    ("2011-11-25", "2011-11-26", "-1d", "such as 6h"), ("2011-11-25", "2011-11-26", "", "such as 6h"),
    ("", "2011-11-26", "1d", "--from"), ("2011-11-25", "{{ds}}", "1d", "--to: .*macro"),
    ("1970-01-01", "2011-11-26", "1d", "--from"),
    ("2001-01-01", "2026-01-01", "1h", f"at most {MAX_DATES:,}"),
])
def test_refused(start, end, every, message):
    with pytest.raises(ConfigError, match=message):
        logical_dates(start, end, every)
