"""A simulated year of many schedules in twelve zones, several tickers, crashes: every time takes effect once.

The clock is turned to what falls due next. Each tick is done by one, two or three tickers, and at the points before and
after each of their writes they die, are overtaken by one another, or stop for days and go on. On some days nobody is
there. With FNQUEUE_TEST_FULL=1 there are 1,000 schedules, else 60; FNQUEUE_TEST_SEED says which.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import takewhile
from typing import Any

import pytest

from fnqueue import FnQueue
from fnqueue.clock import ManualClock
from fnqueue.policies import from_schedule
from fnqueue.schedule import SCHEDULE_NAME, SCHEDULED_TIME, parse
from fnqueue.scheduling.ticking import LEASE_SECONDS
from fnqueue.testing import Drain
from tests.scheduling.mortals import POINTS, Mortals

FULL = os.environ.get("FNQUEUE_TEST_FULL", "") not in ("", "0")
SCHEDULES = 1000 if FULL else 60
TICKS_MAX = 400_000
SEED = int(os.environ.get("FNQUEUE_TEST_SEED") or 20261126)
START = datetime(2026, 1, 1, tzinfo=UTC)
YEAR = timedelta(days=365)
DAY = 86_400
ZONES = (
    "UTC",
    "America/New_York",
    "America/Santiago",
    "America/St_Johns",
    "Europe/London",
    "Europe/Berlin",
    "Africa/Casablanca",
    "Asia/Tehran",
    "Asia/Kolkata",
    "Australia/Lord_Howe",
    "Pacific/Chatham",
    "Pacific/Apia",
)


def drawn(chance: random.Random) -> tuple[str, str]:
    """An expression that fires some hundred times a year at most, and its zone."""
    hour, minute = chance.choice([0, 1, 2, 3, chance.randrange(24)]), chance.choice([0, 30, chance.randrange(60)])
    day = START + timedelta(days=chance.randrange(1, 364), hours=hour, minutes=minute)
    forms = (
        f"cron({minute} {hour} * * ? *)",
        f"cron({minute} {hour} ? * MON-FRI *)",
        f"cron({minute} {hour} L * ? *)",
        f"cron({minute} {hour} 15W * ? *)",
        f"cron({minute} {hour} ? * {chance.randint(1, 7)}#{chance.randint(1, 5)} *)",
        f"cron({minute} 1,2,3 ? * SUN *)",
        f"rate({chance.randint(1, 9)} days)",
        f"at({day:%Y-%m-%dT%H:%M:%S})",
    )
    return chance.choice(forms), chance.choice(ZONES)


def put(fn: FnQueue, task: Any, name: str, expression: str, zone: str, **options: Any) -> list[str]:
    """Puts a schedule whose every time is to fire. The times of the year, as its calls get them."""
    once = expression.startswith("at")
    fn.schedules.put(
        name,
        expression,
        task,
        timezone=zone,
        args=(SCHEDULE_NAME, SCHEDULED_TIME),
        misfire="catch_up",
        misfire_within_seconds=3 * DAY,
        delete_after_completion=once,
        **options,
    )
    times = parse(expression, zone, start=START if expression.startswith("rate") else None)
    until = takewhile(lambda time: time < START + YEAR, times.after(START - timedelta(microseconds=1)))
    return [f"{time:%Y-%m-%dT%H:%M:%SZ}" for time in until]


@pytest.mark.timeout(1800)
def test_every_time_of_a_year_takes_effect_once_whoever_ticks_and_whoever_dies(
    fn: FnQueue, clock: ManualClock, drain: Drain
) -> None:
    chance = random.Random(SEED)
    effects: Counter[tuple[str, str]] = Counter()

    @fn.task(name="note", policy=from_schedule)
    def note(name: str, time: str) -> None:
        effects[name, time] += 1

    runtime = fn.runtime()
    mortals = Mortals(runtime, chance)
    expected: Counter[tuple[str, str]] = Counter()
    for number in range(SCHEDULES):
        flexible = chance.choice([0, 0, 0, 15])
        times = put(fn, note, f"s{number}", *drawn(chance), flexible_minutes=flexible)
        expected.update((f"s{number}", time) for time in times)
    nobody = sorted(chance.sample(range(5, 360), 6))  # the days on which nobody is there
    end, drained_at = (START + YEAR).timestamp(), 0.0
    assert runtime.schedules is not None
    while True:
        due = runtime.schedules.next_due()
        if due is None or (due > clock.now() and due >= end):
            break
        if due > clock.now():
            clock.advance(seconds=due - clock.now() + 0.001)
        if nobody and clock.now() > START.timestamp() + nobody[0] * DAY:
            nobody.pop(0)
            clock.advance(days=1)
        mortals.all_tick()
        assert mortals.ticks < TICKS_MAX
        if clock.now() > drained_at + DAY / 4:
            drained_at = clock.now()
            drain()
    clock.advance(minutes=15)  # the last windows
    mortals.end()
    drain()
    fates = Counter[str]()
    for (kind, _), times_of_it in mortals.befallen.items():
        fates[kind] += times_of_it
    print(
        f"seed {SEED}: {SCHEDULES} schedules, {expected.total():,} times, {mortals.ticks:,} ticks, "
        + ", ".join(f"{count:,} times one {kind}" for kind, count in sorted(fates.items()))
    )
    assert nobody == []
    within = Counter({each: count for each, count in effects.items() if each[1] < f"{START + YEAR:%Y-%m-%dT%H:%M:%SZ}"})
    assert within - expected == Counter()
    assert expected - within == Counter()
    for kind in ("dies", "is overtaken"):
        reached = {where for each, where in mortals.befallen if each == kind}
        assert reached >= POINTS - {"before delete", "after delete"}, kind


@pytest.mark.parametrize("kind", ["dies", "is overtaken", "stops"])
@pytest.mark.parametrize("deleted", [False, True])
@pytest.mark.parametrize("point", range(6))
def test_at_each_single_point_a_time_takes_effect_once_and_the_schedule_goes_on_or_is_gone(
    fn: FnQueue, clock: ManualClock, drain: Drain, kind: str, deleted: bool, point: int
) -> None:
    ran: list[str] = []

    @fn.task(name="note", policy=from_schedule)
    def note(name: str, time: str) -> None:
        ran.append(time)

    mortals = Mortals(fn.runtime(), random.Random(point))
    put(fn, note, "one", "at(2026-01-01T01:00:00)" if deleted else "cron(0 1 * * ? *)", "UTC")
    clock.advance(hours=1)
    mortals.tick(kind, point)
    write = ("claim", "send", "delete" if deleted else "put")[point // 2]
    assert mortals.befallen[kind, f"{'after' if point % 2 else 'before'} {write}"] == 1
    clock.advance(seconds=LEASE_SECONDS)
    mortals.tick()
    drain()
    mortals.end()
    drain()
    assert ran == ["2026-01-01T01:00:00Z"]
    left = [each.next_at for each in fn.schedules.list()]
    assert left == ([] if deleted else [datetime(2026, 1, 2, 1, tzinfo=UTC)])
