"""The broker's contract on every engine that we have.

memory      SQLite in memory
disk        SQLite on disk, two connections of one process
processes   SQLite on disk: calls go by turns to this process and to another one
moto        botocore over HTTP to moto's server
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from fnqueue.broker.base import Broker
from fnqueue.broker.sqs import SqsBroker
from fnqueue.clock import Clock, SystemClock
from tests.conformance.broker import BrokerContract, PassTime

ENGINES = [pytest.param("moto", marks=pytest.mark.aws)]


@dataclass
class Engine:
    broker: Broker
    other: Broker
    clock: Clock
    pass_time: PassTime


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    name = str(request.param)
    for mark in request.node.iter_markers("wrong_in"):
        engine, row, why = mark.args
        if engine == name:
            request.applymarker(pytest.mark.xfail(reason=f"{engine} has {row} wrong: {why}", strict=True))
    if name == "moto" and request.node.get_closest_marker("turned"):
        pytest.skip("moto keeps its own time")
    made: Engine = request.getfixturevalue(name)
    yield made
    for queue in made.broker.queues():
        made.broker.drop(queue)


@pytest.fixture(scope="session")
def moto(moto_endpoint: str) -> Iterator[Engine]:
    url = f"sqs://us-east-1/contract-?endpoint={moto_endpoint}"
    clock = SystemClock()
    broker, other = SqsBroker(url, clock=clock), SqsBroker(url, clock=clock)
    yield Engine(broker, other, clock, time.sleep)
    broker.close()
    other.close()


@pytest.fixture
def broker(engine: Engine) -> Broker:
    return engine.broker


@pytest.fixture
def other(engine: Engine) -> Broker:
    return engine.other


@pytest.fixture
def clock(engine: Engine) -> Clock:
    return engine.clock


@pytest.fixture
def pass_time(engine: Engine) -> PassTime:
    return engine.pass_time


@pytest.fixture
def real_clock() -> Clock:
    return SystemClock()


@pytest.fixture
def live_broker(engine: Engine) -> Broker:
    return engine.broker


@pytest.fixture
def live_other(engine: Engine) -> Broker:
    return engine.other


class TestBroker(BrokerContract):
    pass
