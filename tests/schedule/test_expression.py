"""What the vectors do not say: faults' texts, bounds, long gaps, words."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta, timezone
from itertools import islice
from zoneinfo import ZoneInfo

import pytest

from fnqueue.errors import ExpressionInvalid, OptionInvalid
from fnqueue.schedule.expression import parse

NEW_YEAR = datetime(2026, 1, 1, tzinfo=UTC)


def firsts(text, count=3, zone="UTC", after=NEW_YEAR, **bounds):
    return list(islice(parse(text, zone, **bounds).after(after), count))


@pytest.mark.parametrize(
    ("text", "field", "why"),
    [
        ("cron(71 8 1 * ? *)", "minutes", "71 is not in 0 to 59"),
        (
            "cron(0 8 1 * ?)",
            "fields",
            "there are six (minutes hours day-of-month month day-of-week year), and here are 5",
        ),
        ("cron(0  8 1 * ? *)", "fields", "with one blank between"),
        ("cron(0 8 1 jan ? *)", "month", "'jan': names are in capitals, write JAN"),
        ("cron(0 8 1 FOO ? *)", "month", "'FOO' is no number from 1 to 12 or JAN to DEC"),
        (
            "cron(0 8 * * * *)",
            "day-of-week",
            "exactly one of day-of-month and day-of-week is '?', and here '*' and '*'",
        ),
        (
            "cron(0 8 ? * ? *)",
            "day-of-week",
            "exactly one of day-of-month and day-of-week is '?', and here both are '?'",
        ),
        ("cron(0 8 15W,L * ? *)", "day-of-month", "'15W,L': L, LW or a day with W (15W) stands alone"),
        ("cron(0 8 32W * ? *)", "day-of-month", "32 is not in 1 to 31"),
        ("cron(0 8 ? * 6#6 *)", "day-of-week", "'6#6': after '#' comes 1 to 5"),
        ("cron(0 8 ? * 6#1,2 *)", "day-of-week", "a day with # stands alone"),
        ("cron(0 8 ? * 8L *)", "day-of-week", "'8L' is no number from 1 to 7 or SUN to SAT"),
        ("cron(0/0 8 1 * ? *)", "minutes", "'0/0': after '/' comes a step, a whole number from 1"),
        ("cron(0,,5 8 1 * ? *)", "minutes", "a value is missing"),
        ("cron(0 8 1 * ? 1969)", "year", "1969 is not in 1970 to 2199"),
        ("cron(٣ 8 1 * ? *)", "minutes", "'٣' is no number from 0 to 59"),
        ("rate(5  minutes)", "rate", "must be a whole number from 1, one blank"),
        ("rate(0 minutes)", "rate", "must be a whole number from 1"),
        ("rate(99999999999999 days)", "rate", "longer than any calendar"),
        ("at(2026-02-30T00:00:00)", "time", "'2026-02-30T00:00:00': day"),
        ("at(2026-03-01T00:00:00Z)", "time", "without zone"),
        ("", "text", "1 to 256 characters"),
        ("cron(0 8 1 * ? *" + " " * 300 + ")", "text", "1 to 256 characters"),
        ("Cron(0 8 1 * ? *)", "text", "must be rate"),
        ("cron(0 8 1 * ? *) ", "text", "must be rate"),
    ],
)
def test_a_fault_names_the_field_and_says_why(text, field, why):
    with pytest.raises(ExpressionInvalid) as caught:
        parse(text)
    assert (caught.value.field, why in caught.value.why) == (field, True), caught.value


@pytest.mark.parametrize("zone", ["Mars/Olympus", "", "../etc/passwd", "America", "x" * 51, "Europe/Berlin\0", 5])
def test_an_unknown_zone_is_refused(zone):
    with pytest.raises(ExpressionInvalid, match="is no time zone that this machine knows"):
        parse("rate(1 day)", zone)


def test_a_time_that_the_clocks_skip_is_no_time_for_at():
    with pytest.raises(ExpressionInvalid, match="does not exist in Europe/Berlin: clocks are put forward over it"):
        parse("at(2026-03-29T02:30:00)", "Europe/Berlin")


@pytest.mark.parametrize(
    ("text", "zone"), [("at(0001-01-01T00:00:00)", "Asia/Tokyo"), ("at(9999-12-31T23:59:59)", "America/New_York")]
)
def test_a_time_that_is_in_no_year_of_the_calendar_is_no_time_for_at(text, zone):
    with pytest.raises(ExpressionInvalid, match=f"in {zone} it is not within the years 1 to 9999 of UTC"):
        parse(text, zone)


@pytest.mark.parametrize("zone", ["America/New_York", "UTC", "Asia/Tokyo"])
def test_at_both_ends_of_the_calendar_no_cron_fires(zone):
    ends = [datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)]
    assert [parse("cron(* * * * ? *)", zone).is_occurrence(end) for end in ends] == [False, False]
    assert firsts("cron(* * * * ? *)", 1, zone, after=ends[1]) == []
    (first,) = firsts("cron(0 0 1 * ? *)", 1, zone, after=ends[0])
    assert first.astimezone(ZoneInfo(zone)) == datetime(1970, 1, 1, tzinfo=ZoneInfo(zone))


@pytest.mark.parametrize(
    ("text", "after", "expected"),
    [
        ("cron(0 9 ? 2 6#5 *)", 2064, 2092),
        ("cron(0 9 ? 2 7#5 *)", 2076, 2116),  # 40 years: 2100 is no leap year
        ("cron(0 0 29 2 ? *)", 2097, 2104),
    ],
)
def test_a_gap_of_decades_is_crossed(text, after, expected):
    (found,) = firsts(text, 1, after=datetime(after, 3, 1, tzinfo=UTC))
    assert found.year == expected


@pytest.mark.parametrize(
    "text", ["cron(0 0 30 2 ? *)", "cron(0 0 31 4,6 ? *)", "cron(0 0 31W 2 ? *)", "cron(0 0 1 1 ? 1999)"]
)
def test_an_expression_that_never_fires_ends(text):
    assert firsts(text) == []


def test_the_search_for_nothing_is_short():
    started = time.perf_counter()
    for _ in range(20):
        assert firsts("cron(* * 30 2 ? *)") == []
    assert time.perf_counter() - started < 10  # far off, unless it walks minutes


def test_start_and_end_are_inclusive():
    hour = timedelta(hours=1)
    bounds = {"start": NEW_YEAR + hour, "end": NEW_YEAR + 3 * hour}
    assert firsts("cron(0 * * * ? *)", 9, **bounds) == [NEW_YEAR + n * hour for n in (1, 2, 3)]
    assert firsts("rate(1 hour)", 9, **bounds) == [NEW_YEAR + n * hour for n in (1, 2, 3)]
    assert firsts("at(2026-01-01T12:00:00)", 9, **bounds) == [NEW_YEAR + 12 * hour]


def test_an_end_before_the_start_is_refused():
    with pytest.raises(ExpressionInvalid, match="end: .* is before the start"):
        parse("rate(1 day)", start=NEW_YEAR, end=NEW_YEAR - timedelta(days=1))


def test_instants_without_a_zone_are_refused_and_those_of_other_zones_are_understood():
    expression = parse("cron(0 9 * * ? *)")
    with pytest.raises(OptionInvalid, match=r"must be a datetime with a time zone, as datetime.now\(UTC\)"):
        expression.after(datetime(2026, 1, 1))
    tokyo = timezone(timedelta(hours=9))
    assert next(expression.after(datetime(2026, 1, 1, 17, 59, tzinfo=tokyo))) == NEW_YEAR + timedelta(hours=9)
    assert expression.is_occurrence(datetime(2026, 1, 1, 18, tzinfo=tokyo))


def test_a_rate_without_a_start_counts_from_where_one_looks_and_knows_no_occurrence():
    assert firsts("rate(90 minutes)", 2) == [NEW_YEAR + timedelta(minutes=90), NEW_YEAR + timedelta(minutes=180)]
    with pytest.raises(OptionInvalid, match="has no start"):
        parse("rate(90 minutes)").is_occurrence(NEW_YEAR)


def test_a_rate_ends_with_the_calendar():
    assert firsts("rate(1000000 days)", 5, after=datetime(9999, 1, 1, tzinfo=UTC)) == []


def test_an_instant_beside_an_occurrence_is_none():
    expression = parse("cron(0 9 * * ? *)", start=NEW_YEAR, end=NEW_YEAR + timedelta(days=2))
    nine = NEW_YEAR + timedelta(hours=9)
    assert expression.is_occurrence(nine)
    for beside in (timedelta(seconds=1), timedelta(microseconds=1), timedelta(minutes=1), timedelta(days=3)):
        assert not expression.is_occurrence(nine + beside)


def test_the_second_of_two_equal_wall_times_is_no_occurrence():
    expression = parse("cron(30 1 * * ? *)", "America/New_York")
    first = datetime(2026, 11, 1, 5, 30, tzinfo=UTC)
    assert expression.is_occurrence(first)
    assert not expression.is_occurrence(first + timedelta(hours=1))


@pytest.mark.parametrize(
    ("text", "zone", "words"),
    [
        ("cron(0 9 ? * MON-FRI *)", "Europe/Berlin", "at 09:00, Monday to Friday (Europe/Berlin)"),
        ("cron(0,30 9,17 * * ? *)", "UTC", "at 09:00, 09:30, 17:00 and 17:30, every day (UTC)"),
        (
            "cron(0/10 8-17 L 1 ? *)",
            "UTC",
            "every 10 minutes from 08:00 to 17:50, on the last day of the month, in January (UTC)",
        ),
        ("cron(* * * * ? *)", "UTC", "every minute, every day (UTC)"),
        ("cron(15 * * * ? *)", "UTC", "15 minutes past the hour, every day (UTC)"),
        ("cron(0 0/2 * * ? *)", "UTC", "on the hour, every 2 hours from 00:00, every day (UTC)"),
        ("cron(1/10 * * * ? *)", "UTC", "every 10 minutes from minute 1 on, every day (UTC)"),
        ("cron(0 9 15W * ? *)", "UTC", "at 09:00, on the weekday nearest to the 15th of the month (UTC)"),
        ("cron(0 9 LW * ? *)", "UTC", "at 09:00, on the last weekday of the month (UTC)"),
        ("cron(0 9 ? * 6L 2026-2027)", "UTC", "at 09:00, on the last Friday of the month, in 2026 to 2027 (UTC)"),
        ("cron(0 9 ? JAN,JUL 7#3 *)", "UTC", "at 09:00, on the third Saturday of the month, in January and July (UTC)"),
        ("cron(0 9 1,2,3 * ? 2026)", "UTC", "at 09:00, on the 1st, 2nd and 3rd of the month, in 2026 (UTC)"),
        ("cron(0 9 1/10 * ? *)", "UTC", "at 09:00, on the 1st, 11th, 21st and 31st of the month (UTC)"),
        ("rate(1 day)", "UTC", "every day"),
        ("rate(5 minutes)", "UTC", "every 5 minutes"),
        ("at(2026-07-04T09:00:00)", "America/New_York", "once, on 4 July 2026 at 09:00:00 (America/New_York)"),
    ],
)
def test_an_expression_is_described_in_plain_english(text, zone, words):
    assert parse(text, zone).describe() == words


def test_a_rate_whose_start_is_ahead_begins_with_it():
    start = NEW_YEAR + timedelta(seconds=90)
    assert firsts("rate(1 minute)", 2, start=start) == [start, start + timedelta(minutes=1)]
