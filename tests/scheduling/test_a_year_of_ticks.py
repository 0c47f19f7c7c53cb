"""A simulated year of many schedules in twelve zones, several tickers, crashes: every time takes effect once.

The clock is turned to what falls due next. Each tick is done by one, two or three tickers, and now and then one dies
before its send or after it, as a process would. With FNQUEUE_TEST_FULL=1 there are 1,000 schedules, else 60.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import takewhile

import pytest

from fnqueue.policies import from_schedule
from fnqueue.schedule import SCHEDULE_NAME, SCHEDULED_TIME, parse
from fnqueue.scheduling.ticking import ScheduleTicker

FULL = os.environ.get("FNQUEUE_TEST_FULL", "") not in ("", "0")
SCHEDULES = 1000 if FULL else 60
TICKS_MAX = 400_000
SEED = int(os.environ.get("FNQUEUE_TEST_SEED") or 20261126)
START = datetime(2026, 1, 1, tzinfo=UTC)
YEAR = timedelta(days=365)
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
    forms = (
        f"cron({minute} {hour} * * ? *)",
        f"cron({minute} {hour} ? * MON-FRI *)",
        f"cron({minute} {hour} L * ? *)",
        f"cron({minute} {hour} 15W * ? *)",
        f"cron({minute} {hour} ? * {chance.randint(1, 7)}#{chance.randint(1, 5)} *)",
        f"cron({minute} 1,2,3 ? * SUN *)",
        f"rate({chance.randint(1, 9)} days)",
    )
    return chance.choice(forms), chance.choice(ZONES)


class Killed(BaseException):
    pass


class Mortal(ScheduleTicker):
    """One that dies at the write with this number, counted from its making."""

    dies_at: int | None = None

    def _send(self, *args):
        self._count()
        return super()._send(*args)

    def _advance(self, *args):
        self._count()
        return super()._advance(*args)

    def _count(self) -> None:
        if self.dies_at is not None:
            self.dies_at -= 1
            if self.dies_at < 0:
                self.dies_at = None
                raise Killed


@pytest.mark.timeout(1800)
def test_every_time_of_a_year_takes_effect_once_whoever_ticks_and_whoever_dies(fn, clock, drain):
    chance = random.Random(SEED)
    effects: Counter[tuple[str, str]] = Counter()

    @fn.task(name="note", policy=from_schedule)
    def note(name: str, time: str) -> None:
        effects[name, time] += 1

    expected: Counter[tuple[str, str]] = Counter()
    for number in range(SCHEDULES):
        name, (expression, zone) = f"s{number}", drawn(chance)
        fn.schedules.put(
            name, expression, note, timezone=zone, args=(SCHEDULE_NAME, SCHEDULED_TIME), misfire="catch_up"
        )
        times = parse(expression, zone, start=START if expression.startswith("rate") else None)
        until = takewhile(lambda time: time < START + YEAR, times.after(START - timedelta(microseconds=1)))
        expected.update((name, f"{time:%Y-%m-%dT%H:%M:%SZ}") for time in until)

    runtime = fn.runtime()
    tickers = [Mortal(runtime) for _ in range(3)]
    ticks = killed = 0
    while True:
        due = runtime.schedules.next_due()
        assert due is not None
        if due > clock.now():
            if due >= (START + YEAR).timestamp():
                break
            clock.advance(seconds=due - clock.now() + 0.001)
        for ticker in chance.sample(tickers, chance.choice([1, 2, 3])):
            ticker.dies_at = chance.randrange(4) if chance.random() < 0.05 else None
            try:
                ticker.tick()
            except Killed:
                killed += 1
        ticks += 1
        assert ticks < TICKS_MAX
        if ticks % 50 == 0:
            drain()
    drain()
    print(f"seed {SEED}: {SCHEDULES} schedules, {expected.total():,} times, {ticks:,} ticks, {killed} tickers killed")
    assert killed > 10
    assert effects == expected
