"""Cron expressions: checked, converted, and fired when a minute-by-minute reading says so."""

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_core.errors import ConfigError
from pipelines.targets.kubeflow.cron import converted, parse_cron, parse_zone

NOW = datetime(2026, 11, 22, 1, 30, tzinfo=UTC)
BERLIN, KOLKATA, TOKYO = ZoneInfo("Europe/Berlin"), ZoneInfo("Asia/Kolkata"), ZoneInfo("Asia/Tokyo")


def slowly(text, zone, after, days):
    """Every minute whose clock fits every field."""
    minute, hour, day, month, weekday = (_values(word, *bounds) for word, bounds in zip(
        text.split(), [(0, 59), (0, 23), (1, 31), (1, 12), (0, 6)], strict=True))
    free = [word == "*" for word in text.split()]
    found, moment = [], after.replace(second=0) + timedelta(minutes=1)
    while moment <= after + timedelta(days=days):
        clock = moment.astimezone(zone)
        in_month, in_week = clock.day in day, (clock.weekday() + 1) % 7 in weekday
        fits = in_month and in_week if free[2] or free[4] else in_month or in_week
        if fits and clock.minute in minute and clock.hour in hour and clock.month in month and not clock.fold:
            found.append(moment)
        moment += timedelta(minutes=1)
    return found


def _values(word, low, high):
    values = set()
    for part in word.split(","):
        span, _, step = part.partition("/")
        first, _, last = span.partition("-")
        start, stop = (low, high) if span == "*" else (int(first), int(last or (high if step else first)))
        values |= set(range(start, stop + 1, int(step or 1)))
    return values


def words(low, high, stars=3):
    number = st.integers(low, high).map(str)
    pair = st.tuples(st.integers(low, high), st.integers(low, high)).map(sorted)
    return st.one_of(*[st.just("*")] * stars, number, pair.map(lambda p: f"{p[0]}-{p[1]}"),
                     pair.map(lambda p: f"{p[0]},{p[1]}"), st.integers(2, 9).map(lambda n: f"*/{n}"),
                     pair.map(lambda p: f"{p[0]}-{p[1]}/2"))


EXPRESSIONS = st.tuples(words(0, 59, 1), words(0, 23, 1), words(1, 28), words(1, 12), words(0, 6)).filter(
    lambda parts: not ("/" in parts[2] + parts[4] and parts[2] != "*" != parts[4])).map(" ".join)


@settings(max_examples=25, deadline=None)
@given(EXPRESSIONS, st.sampled_from(["UTC", "Europe/Berlin", "Asia/Kolkata"]),
       st.sampled_from([NOW, datetime(2027, 3, 27, 12, tzinfo=UTC), datetime(2026, 10, 24, 12, tzinfo=UTC)]))
def test_it_fires_when_the_clock_fits(text, zone, after):
    cron = parse_cron(text)
    end = after + timedelta(days=3)
    fires = []
    for moment in cron.fires(ZoneInfo(zone), after):
        if moment > end:
            break
        fires.append(moment)
    assert fires == slowly(text, ZoneInfo(zone), after, 3)


@settings(max_examples=40, deadline=None)
@given(EXPRESSIONS, st.sampled_from([KOLKATA, TOKYO, BERLIN]), st.sampled_from(["UTC", "America/New_York"]))
def test_converted_means_the_same_moments_until_it_says_otherwise(text, zone, cluster):
    cron, there = parse_cron(text), ZoneInfo(cluster)
    with suppress(ConfigError):  # crosses midnight; test_bad_zones_and_midnight has its message
        compare(cron, zone, there, *converted(cron, zone, there, NOW))


def compare(cron, zone, there, moved, off_from):
    if zone.key.startswith("Asia") and there.key == "UTC":
        assert off_from is None
    for ours, theirs, _ in zip(cron.fires(zone, NOW), moved.fires(there, NOW), range(200), strict=False):
        if off_from is not None and min(ours, theirs) >= off_from:
            break
        assert ours == theirs


@pytest.mark.parametrize(("text", "six", "utc"), [
    ("0 3 * * *", "0 0 3 * * *", "0 0 2 * * *"),
    ("30 0 * * 1", "0 30 0 * * 1", "0 30 23 * * 0"),
    ("*/15 8-18 * * MON-FRI", "0 */15 8-18 * * mon-fri", "0 */15 7-17 * * mon-fri"),
    ("0 3 1 * *", "0 0 3 1 * *", "0 0 2 1 * *"),
    ("0 3 * * 7", "0 0 3 * * 0", "0 0 2 * * 0"),
    ("0 0,12 * * *", "0 0 0,12 * * *", "0 0 11,23 * * *"),
    ("0 3 * * 5-7", "0 0 3 * * 0,5-6", "0 0 2 * * 0,5-6"),
    ("0 3 * * sun,1-7/3", "0 0 3 * * sun,0-1,4", "0 0 2 * * sun,0-1,4"),
    ("30 0 * * 6-7", "0 30 0 * * 0,6", "0 30 23 * * 5-6"),
])
def test_known_expressions(text, six, utc):
    assert parse_cron(text).six_fields == six
    moved, off_from = converted(parse_cron(text), BERLIN, ZoneInfo("UTC"), NOW)
    assert moved.six_fields == utc
    assert off_from is not None
    assert datetime(2027, 3, 28, tzinfo=UTC) <= off_from < datetime(2027, 4, 5, tzinfo=UTC)
    assert converted(parse_cron(text), BERLIN, BERLIN, NOW) == (parse_cron(text), None)


def test_a_step_from_a_day_ends_with_saturday_as_in_the_cluster():
    cron = parse_cron("0 3 * * 5/2")
    assert (cron.six_fields, cron.fields[4]) == ("0 0 3 * * 5/2", {5})
    assert parse_cron("0 3 * * 7/2").fields[4] == {0}


def test_times_half_an_hour_apart_may_need_two_expressions():
    with pytest.raises(ConfigError, match="more than one expression"):
        converted(parse_cron("0,30 9 * * *"), KOLKATA, ZoneInfo("UTC"), NOW)


def test_a_time_that_a_day_does_not_have_is_left_out():
    fires = parse_cron("30 2 * * *").fires(BERLIN, datetime(2027, 3, 27, 12, tzinfo=UTC))
    assert next(fires) == datetime(2027, 3, 29, 0, 30, tzinfo=UTC)


@pytest.mark.parametrize(("text", "message"), [
    ("0 3 * *", "five fields"), ("0 0 3 * * *", "leave out the seconds"), ("", "five fields"),
    ("60 * * * *", "field minute"), ("0 24 * * *", "field hour"), ("0 3 0 * *", "day of month"),
    ("0 3 * 13 *", "field month"), ("0 3 * * 8", "day of week"), ("0 3 * * someday", "day of week"),
    ("5-1 * * * *", "minute"), ("*/0 * * * *", "minute"), ("1,, * * * *", "minute"), ("@daily", "five"),
    ("0 3 31 2 *", "date that exists"), ("0 -3 * * *", "hour"), ("0 \u0663 * * *", "hour"),
    ("1_0 3 * * *", "minute"), ("0 22-2 * * *", "hour"), ("0 3 * * sat-sun", "day of week"),
    ("0 3 L * *", "day of month"), ("0 3 * * 1#1", "day of week"), ("CRON_TZ=UTC 0 3 * * *", "five fields"),
])
def test_bad_expressions(text, message):
    with pytest.raises(ConfigError, match=message):
        parse_cron(text)


def test_a_star_in_a_list_is_a_star():
    days = [moment.date().isoformat() for moment, _ in zip(
        parse_cron("0 3 5,* * 1").fires(ZoneInfo("UTC"), NOW), range(2), strict=False)]
    assert days == ["2026-11-23", "2026-11-30"], "Mondays, as for the cluster"
    assert parse_cron("0 3 1 * */7").six_fields == "0 0 3 1 * */7", "and stays one where 7 is no Sunday"


@pytest.mark.parametrize(("text", "now", "off_from"), [
    # The last firing was before the clocks change, the next one is after it.
    ("0 3 * * 0", datetime(2026, 10, 18, 12, tzinfo=UTC), datetime(2027, 3, 28, 1, tzinfo=UTC)),
    ("0 3 * * *", datetime(2026, 10, 24, 12, tzinfo=UTC), datetime(2027, 3, 28, 1, tzinfo=UTC)),
    ("30 2 * * *", datetime(2027, 3, 27, 12, tzinfo=UTC), datetime(2027, 3, 28, 0, 30, tzinfo=UTC)),
    ("15 * * * *", NOW, None),
])
def test_only_what_is_to_come_can_be_off(text, now, off_from):
    cron = parse_cron(text)
    assert converted(cron, BERLIN, ZoneInfo("UTC"), now)[1] == off_from


def test_bad_zones_and_midnight():
    for name in ("Berlin", "", "../etc/passwd", "/etc/localtime"):
        with pytest.raises(ConfigError, match="Europe/Berlin"):
            parse_zone(name, "--timezone")
    for text in ("0 0 1 * *", "0 0,12 * * 1", "0 0 * 2 *"):
        with pytest.raises(ConfigError, match="crosses midnight"):
            converted(parse_cron(text), BERLIN, ZoneInfo("UTC"), NOW)
