"""Nobody ticks for a day on which clocks change somewhere; then each misfire policy does what it says, whoever dies.

What is to fire is counted here anew, from the times alone. Two tickers die in the first ticks after the day, at drawn
points before and after their writes; a third does the rest, and what those two held when their claims lapse.
"""

from __future__ import annotations

import os
import random
from collections import defaultdict
from datetime import UTC, datetime, timedelta

import pytest

from fnqueue import FnQueue
from fnqueue.clock import ManualClock
from fnqueue.policies import from_schedule
from fnqueue.schedule import SCHEDULE_NAME, SCHEDULED_TIME, parse
from fnqueue.scheduling.ticking import LEASE_SECONDS
from fnqueue.testing import Drain, in_memory
from tests.scheduling.mortals import Mortals
from tests.scheduling.test_a_year_of_ticks import ZONES

FULL = os.environ.get("FNQUEUE_TEST_FULL", "") not in ("", "0")
SEED = int(os.environ.get("FNQUEUE_TEST_SEED") or 20261126)
#: Each with the moment, at night or by day, at which somebody is there again: ten seconds after a full hour.
DAYS = {
    "an ordinary one": "2026-01-20T12:00:10",
    "Santiago falls back and Lord Howe, Chatham too": "2026-04-05T12:00:10",
    "New York springs forward": "2026-03-08T14:00:10",
    "Europe springs forward": "2026-03-29T12:00:10",
    "Santiago springs forward": "2026-09-06T12:00:10",
    "Lord Howe and Chatham spring forward": "2026-10-03T20:00:10",
    "Europe falls back": "2026-10-25T03:00:10",
    "New York falls back": "2026-11-01T12:00:10",
}
EXPRESSIONS = (
    "cron(0 * * * ? *)",
    "cron(0,30 1-3 * * ? *)",
    "cron(15 2 * * ? *)",
    "cron(0 12 ? * SUN *)",
    "rate(7 hours)",
)
ON_TIME = timedelta(seconds=60)


def to_fire(misfire: str, missed: list[datetime], back_at: datetime) -> list[datetime]:
    on_time = [time for time in missed if time >= back_at - ON_TIME]
    if misfire == "catch_up":
        return missed
    return on_time if misfire == "skip" or on_time else missed[-1:]


@pytest.mark.parametrize("number", range(8 if FULL else 1))
@pytest.mark.parametrize("day", DAYS)
def test_after_a_day_without_anybody_each_policy_fires_what_it_says_and_nothing_twice(day: str, number: int) -> None:
    chance = random.Random(f"{SEED} {day} {number}")
    back_at = datetime.fromisoformat(DAYS[day]).replace(tzinfo=UTC)
    left_at = back_at - timedelta(days=1)
    clock = ManualClock(left_at.timestamp())
    ran: defaultdict[str, list[str]] = defaultdict(list)
    with in_memory(FnQueue(), clock) as fn:

        @fn.task(name="note", policy=from_schedule)
        def note(name: str, time: str) -> None:
            ran[name].append(time)

        mortals = Mortals(fn.runtime(), chance)
        expected: dict[str, list[str]] = {}
        for zone in ZONES:
            for expression in EXPRESSIONS:
                for misfire in ("skip", "run_once", "catch_up"):
                    name = f"{zone} {expression} {misfire}".translate(str.maketrans(" /(),*?", "_-_____"))
                    fn.schedules.put(
                        name, expression, note, timezone=zone, misfire=misfire, args=(SCHEDULE_NAME, SCHEDULED_TIME)
                    )
                    times = parse(expression, zone, left_at if expression.startswith("rate") else None).after(left_at)
                    missed = [next(times)]
                    while missed[-1] <= back_at:
                        missed.append(next(times))
                    chosen = to_fire(misfire, missed[:-1], back_at)
                    expected[name] = [f"{time:%Y-%m-%dT%H:%M:%SZ}" for time in chosen]
        mortals.tick()  # what a rate fires when it is made
        Drain(fn.runtime)()
        ran.clear()

        clock.advance(days=1)
        for _ in range(2):
            mortals.tick("dies", chance.randrange(250))
        mortals.tick()
        clock.advance(seconds=LEASE_SECONDS)
        mortals.tick()
        mortals.tick()
        Drain(fn.runtime)()
    died = sum(count for (kind, _), count in mortals.befallen.items() if kind == "dies")
    assert died == 2
    assert {name: sorted(ran[name]) for name in expected} == expected
