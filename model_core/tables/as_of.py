"""The logical date of a run, as text from a command line or a scheduler."""

from __future__ import annotations

from datetime import UTC, datetime

from model_core.errors import ConfigError

_FIX = "pass a date such as 2011-11-25, a time such as 2011-11-25T00:00:00Z, or epoch seconds"


def parse_as_of(text: str) -> int | None:
    """UTC seconds of a logical date; None for an empty text.

    A time without zone is taken as UTC. Schedulers are known to hand over macros they
    did not expand, or the epoch; both are refused here, before any data is read.

    Example:
        >>> parse_as_of("2011-11-25"), parse_as_of("")
        (1322179200, None)

    Raises:
        ConfigError: Not a date, an unexpanded macro, or a date before 1971.
    """
    text = text.strip()
    if not text:
        return None
    if "{{" in text or "[[" in text or "$." in text:
        raise ConfigError("as_of", "a date", f"the unexpanded macro {text!r}",
                          "check that the scheduler fills it in, or " + _FIX)
    try:
        if text.lstrip("-").isdigit() and len(text.lstrip("-")) > 8:
            seconds = int(text)
            datetime.fromtimestamp(seconds, UTC)
        else:
            moment = datetime.fromisoformat(text)
            moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
            seconds = int(moment.timestamp())
    except (ValueError, OverflowError, OSError) as error:
        raise ConfigError("as_of", "a date", repr(text), _FIX) from error
    if seconds < 365 * 86_400:
        raise ConfigError("as_of", "a date after 1970", repr(text), _FIX)
    return seconds
