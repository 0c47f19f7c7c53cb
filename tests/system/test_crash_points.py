"""Killed before and after every write of a settlement: nothing is lost, and what was stored is not run again."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fnqueue import FnQueue
from fnqueue.broker.names import dead_letter
from fnqueue.clock import ManualClock
from fnqueue.errors import QueueMissing
from fnqueue.security.keyfile import load_or_create
from fnqueue.testing import Drain
from tests.system.crashing import application
from tests.system.fleet import ROOT

pytestmark = [pytest.mark.system, pytest.mark.timeout(120)]

#: How often the function runs, the state at the end, and the copies in the dead-letter queue, when nobody dies.
OUTCOMES = {
    "success": (1, "SUCCESS", 0),
    "once": (1, "SUCCESS", 0),
    "failure": (1, "FAILURE", 1),
    "letter": (1, "FAILURE", 1),
    "retry": (2, "SUCCESS", 0),
    "once_retry": (2, "SUCCESS", 0),
    "park": (2, "SUCCESS", 0),
}
ENGINES = ["one file", "two files", pytest.param("sqs", marks=pytest.mark.aws)]


class Crasher:
    def __init__(self) -> None:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("FNQUEUE_")}
        environment |= {"PYTHONPATH": str(ROOT), "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.system.crashing"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=environment,
        )

    def __call__(self, place: Place, queue: str, point: int) -> dict[str, Any]:
        """Run the message of this queue, and die at this point; -1: at none."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        job = {"settings": place.settings, "log": place.log, "queue": queue, "point": point}
        self.process.stdin.write(json.dumps(job) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())


@pytest.fixture(scope="module")
def crasher() -> Iterator[Crasher]:
    made = Crasher()
    yield made
    made.process.stdin.close()
    made.process.stdout.close()
    made.process.wait(10)


class Place:
    """An engine with a queue for each crash."""

    def __init__(self, folder: Path, engine: str, endpoint: str | None) -> None:
        load_or_create(folder / "fnqueue.keys")
        self.log = str(folder / "effects.log")
        self.settings: dict[str, Any] = {"keys_file": str(folder / "fnqueue.keys"), "durability": "relaxed"}
        if engine == "sqs":
            self.settings["url"] = f"sqs://us-east-1/{secrets.token_hex(5)}-?endpoint={endpoint}"
        else:
            self.settings["url"] = f"sqlite:///{folder}/queue.db"
        if engine != "one file":
            self.settings |= {"store_url": f"sqlite:///{folder}/store.db", "default_policy": "public"}
        self.fn = application(self.settings, self.log)

    def defer(self, outcome: str, queue: str) -> str:
        return self.fn.registry.get(outcome).using(queue=queue).defer().id

    def let_time_pass(self) -> None:
        """All leases run out. On SQS the queue's own time has to pass, too."""
        self.fn.close()
        self.fn = application(self.settings, self.log)
        self.fn.runtime().clock = ManualClock(time.time() + 100)

    def runs(self, call: str) -> int:
        lines = Path(self.log).read_text().splitlines() if os.path.exists(self.log) else []
        return sum(line.startswith(call) for line in lines)


def count(fn: FnQueue, queue: str) -> int:
    try:
        found = fn.runtime().engine.broker.attributes(queue)
    except QueueMissing:
        return 0
    return found.visible + found.in_flight + found.delayed


def goes_on(fn: FnQueue, drain: Drain, queue: str, call: str) -> bool:
    drain(queue)
    record = fn.runtime().results.read(call)
    return record is None or not record.final or count(fn, queue) > 0


def finish(fn: FnQueue, calls: dict[str, str], *, pause: float) -> None:
    """Others take over, and the time passes that is waited for."""
    drain, working = Drain(fn.runtime), dict(calls)
    for _ in range(12):
        working = {queue: call for queue, call in working.items() if goes_on(fn, drain, queue, call)}
        if not working:
            return
        fn.runtime().clock.advance(seconds=2500)
        time.sleep(pause)


@pytest.mark.parametrize("outcome", OUTCOMES)
@pytest.mark.parametrize("engine", ENGINES)
def test_killed_at_every_point_of_the_settlement(
    engine: str, outcome: str, crasher: Crasher, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    endpoint = request.getfixturevalue("moto_endpoint") if engine == "sqs" else None
    runs_alone, state, copies = OUTCOMES[outcome]
    place = Place(tmp_path, engine, endpoint)
    place.defer(outcome, "alive")
    answer = crasher(place, "alive", -1)
    points: list[str] = answer["points"]
    assert not answer["killed"]
    assert len(points) >= 7
    calls: dict[str, str] = {}
    ran: dict[str, int] = {}
    for number, point in enumerate(points):
        queue = f"q{number}"
        calls[queue] = place.defer(outcome, queue)
        answer = crasher(place, queue, number)
        assert answer["killed"], f"{point}: {answer}"
        ran[queue] = place.runs(calls[queue])
    place.let_time_pass()
    finish(place.fn, calls, pause=1.1 if engine == "sqs" else 0)
    durable = "after settlement" if engine == "one file" else "after store.put_many"
    for number, (queue, call) in enumerate(calls.items()):
        where = f"killed at {points[number]!r} after {points[:number]}: {ran[queue]} runs, then {place.runs(call)}"
        again = 0 if durable in points[:number] or not ran[queue] else 1
        assert place.fn.runtime().results.read(call).state == state, where
        assert runs_alone <= place.runs(call) <= runs_alone + again, where
        assert count(place.fn, queue) == 0, where
        dead = count(place.fn, dead_letter(queue))
        assert copies <= dead <= copies * (1 if engine == "one file" else 2), where
    print(f"{engine}, {outcome}: killed at each of {len(points)} points")
    place.fn.close()
