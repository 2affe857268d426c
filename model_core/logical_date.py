"""The logical date of a run: the moment up to which its data are known, whenever it runs.

It comes as text from a person or a scheduler, moves the windows of the split, and names
the run, the resume states and the model version.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

from model_core.errors import ConfigError

_FIX = "pass a date such as 2011-11-25, a time such as 2011-11-25T00:00:00Z, or epoch seconds"

#: What no date holds but every macro does: {{ds}}, [[ScheduledTime]], $(date), ${DATE}, %DATE%, <date>.
_MACRO = re.compile(r"[{}\[\]$%<>()]")

_DAY_S = 86_400


def parse_as_of(text: str, *, required: bool = False) -> int | None:
    """UTC seconds of a logical date; None for an empty text.

    A time without zone is taken as UTC; fractions of a second are dropped. Schedulers are
    known to hand over macros that they did not expand, the epoch, or nothing; all are
    refused here, before any data is read.

    Args:
        text: ISO 8601 or RFC 3339 date or time, or epoch seconds.
        required: Refuse an empty text, too: the dataset's own windows are no answer to a
            scheduler that forgot the date.

    Example:
        >>> parse_as_of("2011-11-25"), parse_as_of("2011-11-25T01:30:00.5+01:30"), parse_as_of("")
        (1322179200, 1322179200, None)

    Raises:
        ConfigError: Not a date, an unexpanded macro, a date before 1971, or no date where one
            is required.
    """
    text = text.strip()
    if not text:
        if required:
            raise ConfigError("as_of", "the logical date of a scheduled run", "an empty text",
                              "check that the scheduler hands over its time, or " + _FIX)
        return None
    if _MACRO.search(text):
        raise ConfigError("as_of", "a date", f"the unexpanded macro {text!r}",
                          "check that the scheduler fills it in (Kubeflow Pipelines does from 2.16 on), or "
                          + _FIX)
    try:
        if text.lstrip("-").isdigit() and len(text.lstrip("-")) > 8:
            seconds = int(text)
            datetime.fromtimestamp(seconds, UTC)
        else:
            moment = datetime.fromisoformat(text.upper())
            moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
            seconds = int(moment.timestamp())
    except (ValueError, OverflowError, OSError) as error:
        raise ConfigError("as_of", "a date", repr(text), _FIX) from error
    if seconds < 365 * _DAY_S:
        raise ConfigError("as_of", "a date after 1970", repr(text),
                          "check the scheduler, which gives such a date when it has none, or " + _FIX)
    return seconds


def date_name(seconds: int) -> str:
    """A logical date as it stands in names of runs and model versions.

    Midnight is the plain day; another time of day is kept, so that two runs of one day have
    two names. Sorted as text, names are in order of time.

    Example:
        >>> date_name(1322179200), date_name(1322202600)
        ('20111125', '20111125T063000')
    """
    moment = datetime.fromtimestamp(seconds, UTC)
    return moment.strftime("%Y%m%dT%H%M%S" if seconds % _DAY_S else "%Y%m%d")


def date_text(seconds: int) -> str:
    """A logical date for a person or another program, in RFC 3339.

    Example:
        >>> date_text(1322179200)
        '2011-11-25T00:00:00Z'
    """
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
