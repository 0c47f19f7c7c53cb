"""Tickers as real processes, killed in the middle of their ticks: every time takes effect once."""

from __future__ import annotations

import random
import sys
import time
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

from fnqueue.schedule import SCHEDULE_NAME, SCHEDULED_TIME
from fnqueue.scheduling.ticking import LEASE_SECONDS
from tests.system.fleet import WORKER, Fleet

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]
TICKER = [sys.executable, "-m", "fnqueue", "schedule", "run", "--app", "tests.system.effects:fn"]


def test_three_tickers_that_are_killed_again_and_again_make_each_time_take_effect_once(
    fleet: Fleet, dice: random.Random, full: bool
) -> None:
    rounds, schedules = (12, 300) if full else (3, 120)
    fleet.settings["FNQUEUE_DURABILITY"] = "relaxed"
    fleet.start(program=[*WORKER, "--no-schedule"])
    tickers = [fleet.start(program=TICKER) for _ in range(3)]
    fleet.wait(lambda: fleet.said().count("firing schedules of") >= 3, 60, "the tickers are there")
    expected: Counter[tuple[str, str]] = Counter()
    killed = in_the_middle = 0
    for number in range(rounds):
        due = datetime.fromtimestamp(time.time(), UTC).replace(microsecond=0) + timedelta(seconds=3)
        for each in range(schedules):
            name = f"round{number}-{each}"
            fleet.fn.schedules.put(
                name,
                f"at({due:%Y-%m-%dT%H:%M:%S})",
                fleet.task("scheduled"),
                args=(SCHEDULE_NAME, SCHEDULED_TIME),
                misfire="catch_up",
                delete_after_completion=each % 2 == 0,
            )
            expected[name, f"{due:%Y-%m-%dT%H:%M:%SZ}"] += 1
        before = number * schedules
        fleet.wait(lambda before=before: len(fleet.lines("scheduled")) > before, 60, "the round has begun")
        for _ in range(2):
            time.sleep(dice.uniform(0, 0.1))
            in_the_middle += len(fleet.lines("scheduled")) < len(expected)
            fleet.kill(tickers.pop(dice.randrange(len(tickers))))
            killed += 1
            tickers.append(fleet.start(program=TICKER))
    with fleet.timed(f"{killed} tickers killed, {in_the_middle} in the middle of {expected.total()} fires; the rest"):
        seconds = 2 * LEASE_SECONDS + 60
        fleet.wait(lambda: len(fleet.lines("scheduled")) >= len(expected), seconds, "every time took effect")
    time.sleep(1)  # a second effect would come now
    assert Counter((line.call, line.word) for line in fleet.lines("scheduled")) == expected
    assert in_the_middle > 0
    kept = {name for name, _ in expected if int(name.rpartition("-")[2]) % 2}
    # One that was killed between the send and the deletion holds its claim until that lapses.
    fleet.wait(lambda: {each.name for each in fleet.fn.schedules.list()} == kept, seconds, "the others are deleted")
