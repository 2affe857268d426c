"""Logical dates from command lines and schedulers."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_core.errors import ConfigError
from model_core.logical_date import date_name, date_text, parse_as_of


@pytest.mark.parametrize(("text", "seconds"), [
    ("", None), ("  ", None),
    ("2011-11-25", 1322179200), ("20111125", 1322179200), ("2011-11-25T00:00:00Z", 1322179200),
    ("2011-11-25T01:00:00+01:00", 1322179200), ("2011-11-24T19:00:00-05:00", 1322179200),
    ("1322179200", 1322179200), ("2011-11-25 00:00:00", 1322179200),
    ("2011-11-25T00:00:00.999999999Z", 1322179200), ("2011-11-25t00:00:00z", 1322179200),
    ("2011-11-25T06:30:15+00:00", 1322202615),
])
def test_good(text, seconds):
    assert parse_as_of(text) == seconds


MACROS = ["[[ScheduledTime]]", "[[CurrentTime]]", "{{$.pipeline_job_schedule_time_utc}}",
          "{{workflow.creationTimestamp}}", "{{=sprig.now()}}", "{{ ds }}", "$(date -I)", "${AS_OF}",
          "$AS_OF", "%DATE%", "{{ execution_date }}T00:00:00Z", "<date>"]


@pytest.mark.parametrize("text", MACROS)
def test_a_macro_is_called_one(text):
    with pytest.raises(ConfigError, match="as_of: expected a date, found the unexpanded macro") as caught:
        parse_as_of(text)
    assert text in str(caught.value)
    assert "2011-11-25" in caught.value.fix


@pytest.mark.parametrize("text", ["1970-01-01", "1970-01-01T00:00:00Z", "0001-01-01T00:00:00Z",
                                  "1969-12-31T23:59:59Z", "-5000000000", "000000000"])
def test_the_epoch_is_refused(text):
    with pytest.raises(ConfigError, match="after 1970"):
        parse_as_of(text)


@pytest.mark.parametrize("text", [
    "0", "yesterday", "None", "null", "2011-13-01", "99999999999999999", "1322179200000000", "2011-11",
    "2011-11-25T25:00:00Z",
])
def test_no_date(text):
    with pytest.raises(ConfigError, match="as_of: expected a date"):
        parse_as_of(text)


@pytest.mark.parametrize("text", ["", "  \n"])
def test_a_scheduler_must_give_one(text):
    with pytest.raises(ConfigError, match="logical date of a scheduled run"):
        parse_as_of(text, required=True)


TIMES = st.integers(365 * 86_400, 4_000_000_000) | st.integers(5_000, 40_000).map(lambda day: day * 86_400)


@given(st.lists(TIMES, max_size=20))
@settings(max_examples=50, deadline=None)
def test_names_sort_by_time_and_texts_parse_back(times):
    assert sorted(times, key=date_name) == sorted(times)
    assert len({date_name(time) for time in times}) == len(set(times))
    assert [parse_as_of(date_text(time)) for time in times] == times
