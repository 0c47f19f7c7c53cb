"""A client of boto3 per test, in an account of its own, so that no test meets another's queues."""

from __future__ import annotations

import secrets
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.emulator.clients import CLIENTS, client

botocore = pytest.importorskip("botocore")


@pytest.fixture(autouse=True)
def closed_clients() -> Iterator[None]:
    yield
    while CLIENTS:
        CLIENTS.pop().close()


@pytest.fixture
def account() -> str:
    return str(10**11 + secrets.randbelow(9 * 10**11))


@pytest.fixture
def sqs(emulator_endpoint: str, account: str) -> Any:
    return client(emulator_endpoint, account)


@pytest.fixture
def turn(emulator_endpoint: str) -> Callable[[float], None]:
    """Turns the emulator's clock forward, by seconds."""

    def advance(seconds: float) -> None:
        urllib.request.urlopen(f"{emulator_endpoint}/_clock", data=b'{"advance_seconds": %f}' % seconds).close()

    return advance


@pytest.fixture
def queue(sqs: Any) -> str:
    return str(sqs.create_queue(QueueName="orders")["QueueUrl"])


@pytest.fixture
def fifo(sqs: Any) -> str:
    return str(sqs.create_queue(QueueName="orders.fifo", Attributes={"FifoQueue": "true"})["QueueUrl"])
