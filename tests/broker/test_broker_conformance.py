"""The broker's contract on every engine that we have.

memory      SQLite in memory
disk        SQLite on disk, two connections of one process
processes   SQLite on disk: calls go by turns to this process and to another one
moto        botocore over HTTP to moto's server
emulator    botocore over HTTP to our own, whose clock is turned
"""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from fnqueue.broker.base import Broker
from fnqueue.broker.embedded import EmbeddedBroker
from fnqueue.broker.sqs import SqsBroker
from fnqueue.clock import Clock, ManualClock, SystemClock, TurnableClock
from fnqueue.database import Database
from tests.broker.two_processes import ByTurns, Elsewhere
from tests.conformance.broker import BrokerContract, PassTime

ENGINES = ["memory", "disk", "processes", "moto", "emulator"]


@dataclass
class Engine:
    broker: Any
    other: Any
    clock: Clock
    pass_time: PassTime


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    out = {mark.args[0] for mark in metafunc.definition.iter_markers("not_on")}
    marks = {"moto": [pytest.mark.aws], "emulator": [pytest.mark.aws]}
    engines = [pytest.param(name, marks=marks.get(name, ())) for name in ENGINES if name not in out]
    metafunc.parametrize("name", engines, indirect=True)


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    name = str(request.param)
    for mark in request.node.iter_markers("wrong_in"):
        engine, row, why = mark.args
        if engine == name:
            request.applymarker(pytest.mark.xfail(reason=f"{engine} has {row} wrong: {why}", strict=True))
    return name


@pytest.fixture
def engine(name: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    clock = ManualClock()
    yield from _engine(name, request, tmp_path, clock, lambda seconds: clock.advance(seconds=seconds))


@pytest.fixture
def live(name: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    yield from _engine(name, request, tmp_path, SystemClock(), time.sleep)


def _engine(
    name: str, request: pytest.FixtureRequest, tmp_path: Path, clock: Clock, pass_time: PassTime
) -> Iterator[Engine]:
    if name in ("moto", "emulator"):
        yield from _emptied(request.getfixturevalue(name))
    elif name == "processes":
        yield from _processes(str(tmp_path / "queue.db"), request.getfixturevalue("elsewhere"), clock, pass_time)
    else:
        yield from _one_process(tmp_path / "queue.db" if name == "disk" else None, clock, pass_time)


def _one_process(path: Path | None, clock: Clock, pass_time: PassTime) -> Iterator[Engine]:
    first = Database(path, durability="relaxed", clock=clock)
    second = first if path is None else Database(path, durability="relaxed", clock=clock)
    yield Engine(EmbeddedBroker(first, clock=clock), EmbeddedBroker(second, clock=clock), clock, pass_time)
    second.close()
    first.close()


def _processes(path: str, elsewhere: Elsewhere, clock: Clock, pass_time: PassTime) -> Iterator[Engine]:
    database = Database(path, durability="relaxed", clock=clock)
    here = EmbeddedBroker(database, clock=clock)
    elsewhere.open(path, clock)
    # A poll under way would hold up the child's turn: live tests poll there and act here.
    broker = ByTurns(here, elsewhere) if isinstance(clock, ManualClock) else here
    yield Engine(broker, elsewhere, clock, pass_time)
    database.close()


@pytest.fixture(scope="session")
def elsewhere() -> Iterator[Elsewhere]:
    made = Elsewhere()
    yield made
    made.end()


def _emptied(engine: Engine) -> Iterator[Engine]:
    yield engine
    for queue in engine.broker.queues():
        engine.broker.drop(queue)


@pytest.fixture(scope="session")
def moto(moto_endpoint: str) -> Iterator[Engine]:
    url = f"sqs://us-east-1/contract-?endpoint={moto_endpoint}"
    clock = SystemClock()
    broker, other = SqsBroker(url, clock=clock), SqsBroker(url, clock=clock)
    yield Engine(broker, other, clock, time.sleep)
    broker.close()
    other.close()


@pytest.fixture(scope="session")
def emulator(emulator_endpoint: str) -> Iterator[Engine]:
    url = f"sqs://us-east-1/contract-?endpoint={emulator_endpoint}"
    clock = TurnableClock()

    def turn(seconds: float) -> float:
        """The emulator's time after it."""
        body = b'{"advance_seconds": %f}' % seconds
        with urllib.request.urlopen(f"{emulator_endpoint}/_clock", data=body) as answer:
            return float(json.load(answer)["now"])

    def pass_time(seconds: float) -> None:
        turn(seconds)
        clock.advance(seconds)

    clock.advance(max(0.0, turn(0) - clock.now()))  # other tests of this run turn it, too
    broker, other = SqsBroker(url, clock=clock), SqsBroker(url, clock=clock)
    yield Engine(broker, other, clock, pass_time)
    broker.close()
    other.close()


@pytest.fixture
def broker(engine: Engine) -> Broker:
    broker: Broker = engine.broker
    return broker


@pytest.fixture
def other(engine: Engine) -> Broker:
    other: Broker = engine.other
    return other


@pytest.fixture
def clock(engine: Engine) -> Clock:
    return engine.clock


@pytest.fixture
def pass_time(engine: Engine) -> PassTime:
    return engine.pass_time


@pytest.fixture
def live_broker(live: Engine) -> Broker:
    broker: Broker = live.broker
    return broker


@pytest.fixture
def live_other(live: Engine) -> Broker:
    other: Broker = live.other
    return other


@pytest.fixture
def live_clock(live: Engine) -> Clock:
    return live.clock


class TestBroker(BrokerContract):
    pass
