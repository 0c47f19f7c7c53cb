"""Against a scanner that looks at every minute: all zones round their clock changes, and long stretches of UTC.

With FNQUEUE_TEST_FULL=1 every change of 2020 to 2040 is looked at, else every fifth of each zone (about a minute less).
"""

from __future__ import annotations

import os
import zoneinfo
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from itertools import takewhile
from zoneinfo import ZoneInfo

import pytest

from fnqueue.schedule.expression import parse
from tests.schedule.scanner import Minute, drawn, scan, transitions, window

SEED = 20261126
PARTS = 4
EVERY = 1 if os.environ.get("FNQUEUE_TEST_FULL", "") not in ("", "0") else 5
DAY = timedelta(days=1)


def changes() -> list[tuple[str, list[datetime]]]:
    """Every zone with its changes of 2020 to 2040; of zones with the same ones, one."""
    alike: dict[tuple[object, ...], str] = {}
    for name in sorted(zoneinfo.available_timezones()):
        zone = ZoneInfo(name)
        days = list(transitions(zone, 2020, 2040))
        offsets = tuple(
            (day, day.astimezone(zone).utcoffset(), (day + DAY).astimezone(zone).utcoffset()) for day in days
        )
        alike.setdefault(offsets or (datetime(2020, 1, 1, tzinfo=UTC).astimezone(zone).utcoffset(),), name)
    return [(name, [each[0] for each in days if isinstance(each, tuple)]) for days, name in alike.items()]


def fires(expression: str, zone: str, minutes: list[Minute]) -> list[datetime]:
    begin, end = minutes[0].instant, minutes[-1].instant
    found = parse(expression, zone).after(begin - timedelta(microseconds=1))
    return list(takewhile(lambda each: each <= end, found))


@pytest.mark.parametrize("part", range(PARTS))
def test_round_every_clock_change_of_every_zone_it_fires_as_the_scanner_says(part):
    expressions, number, wrong = list(drawn(SEED, 400)), part, defaultdict(list)
    for zone, days in changes()[part::PARTS]:
        for day in days[number % EVERY :: EVERY] or days:
            minutes = window(ZoneInfo(zone), day - DAY, day + 2 * DAY)
            for expression in (expressions[number % 400], expressions[(number * 7 + 3) % 400], "cron(0/15 * * * ? *)"):
                if fires(expression, zone, minutes) != scan(expression, minutes):
                    wrong[expression].append((zone, day.date().isoformat()))
            number += 1
    assert number > part
    assert dict(wrong) == {}


def test_in_a_year_of_minutes_it_fires_as_the_scanner_says():
    minutes = window(ZoneInfo("UTC"), datetime(2027, 11, 1, tzinfo=UTC), datetime(2028, 4, 1, tzinfo=UTC))
    wrong = [each for each in drawn(SEED + 1, 60) if fires(each, "UTC", minutes) != scan(each, minutes)]
    assert wrong == []


def test_every_fire_is_an_occurrence_and_the_minutes_between_are_none():
    minutes = window(ZoneInfo("Europe/Berlin"), datetime(2026, 10, 23, tzinfo=UTC), datetime(2026, 10, 27, tzinfo=UTC))
    for text in drawn(SEED + 2, 40):
        expression = parse(text, "Europe/Berlin")
        assert [each.instant for each in minutes if expression.is_occurrence(each.instant)] == scan(text, minutes), text
