"""Logical dates from command lines and schedulers."""

import pytest

from model_core.errors import ConfigError
from model_core.tables.as_of import parse_as_of


@pytest.mark.parametrize(("text", "seconds"), [
    ("", None), ("  ", None),
    ("2011-11-25", 1322179200), ("2011-11-25T00:00:00Z", 1322179200),
    ("2011-11-25T01:00:00+01:00", 1322179200), ("1322179200", 1322179200),
])
def test_good(text, seconds):
    assert parse_as_of(text) == seconds


@pytest.mark.parametrize("text", [
    "[[ScheduledTime]]", "{{$.pipeline_job_schedule_time_utc}}", "1970-01-01", "1970-01-01T00:00:00Z",
    "0", "yesterday", "2011-13-01", "99999999999999999", "-5000000000",
])
def test_refused(text):
    with pytest.raises(ConfigError, match="as_of"):
        parse_as_of(text)
