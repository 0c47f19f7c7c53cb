"""What many ask at once is done in one transaction: each sees what those before it did, and only that."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import pytest

from fnqueue.broker.base import Entry
from fnqueue.broker.embedded import EmbeddedBroker
from fnqueue.broker.embedded.service import Address, QueueService
from fnqueue.broker.embedded.service.entries import Outgoing
from fnqueue.clock import ManualClock
from fnqueue.database import Connection, Database
from fnqueue.errors import BrokerRefused
from tests.emulator.clients import row

ORDERS = Address("us-east-1", "1" * 12, "orders")
A = Outgoing(body="a")


class Bench(NamedTuple):
    database: Database
    service: QueueService
    clock: ManualClock


@pytest.fixture
def bench() -> Iterator[Bench]:
    database, clock = Database(None), ManualClock()
    yield Bench(database, QueueService(database, clock=clock), clock)
    database.close()


def test_who_comes_after_a_change_of_a_queue_in_the_same_transaction_has_the_queue_as_it_is_then(bench: Bench) -> None:
    service = bench.service

    def work(connection: Connection) -> None:
        with service.together():
            with pytest.raises(BrokerRefused):
                service.send(ORDERS, A)
            service.create(ORDERS, {}, {})
            service.send(ORDERS, A)
            service.set_attributes(ORDERS, {"VisibilityTimeout": "5", "MaximumMessageSize": "1024"})
            with pytest.raises(BrokerRefused, match="1024 bytes"):
                service.send(ORDERS, Outgoing(body="b" * 1025))
            received = service.receive(ORDERS, count=10, visibility_seconds=None, attempt=None)
            assert received.queue.visibility_seconds == 5
            service.delete_queue(ORDERS)
            with pytest.raises(BrokerRefused):
                service.send_batch(ORDERS, ["a"], [A])
            with pytest.raises(BrokerRefused):
                service.receive(ORDERS, count=1, visibility_seconds=None, attempt=None)
            service.create(ORDERS, {}, {})
            service.send(ORDERS, A)

    bench.database.write(work)
    assert len(service_bodies(bench)) == 1


def test_what_is_known_of_a_queue_is_forgotten_with_the_transaction(bench: Bench) -> None:
    service = bench.service
    service.create(ORDERS, {}, {})

    def work(connection: Connection) -> None:
        with service.together():
            service.send(ORDERS, A)
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="full"):
        bench.database.write(work)
    other = QueueService(bench.database, clock=bench.clock)
    other.set_attributes(ORDERS, {"VisibilityTimeout": "7"})
    assert service.receive(ORDERS, count=1, visibility_seconds=None, attempt=None).queue.visibility_seconds == 7
    assert service_bodies(bench) == []


@row("M1")
@pytest.mark.parametrize("count", [1, 9, 10, 11, 59, 60, 137])
def test_however_many_are_sent_at_once_each_has_its_own_id_and_its_place(bench: Bench, count: int) -> None:
    broker = EmbeddedBroker(bench.database, clock=bench.clock)
    ids = broker.send_each("orders", [Entry(id=str(n), body=f"body {n}") for n in range(count)])
    assert len(set(map(str, ids))) == count
    found = broker.receive("orders", max_messages=count)
    while more := broker.receive("orders", max_messages=count):
        found += more
    assert [(message.message_id, message.body) for message in found] == [
        (id_, f"body {n}") for n, id_ in enumerate(ids)
    ]


def test_among_many_those_that_differ_keep_what_is_theirs(bench: Bench) -> None:
    broker = EmbeddedBroker(bench.database, clock=bench.clock)
    differing = [
        Entry(id="1", body="later", delay_seconds=5),
        Entry(id="2", body="grouped", group="g"),
        Entry(id="3", body="told", attributes={"a": "b"}),
    ]
    for one in differing:
        broker.send("orders", [*[Entry(id="x", body="plain")] * 12, one])
    found = {message.body: message for message in broker.receive("orders", max_messages=100)}
    assert set(found) == {"plain", "grouped", "told"}
    assert (found["grouped"].group, found["told"].attributes) == ("g", {"a": "b"})
    bench.clock.advance(seconds=5)
    assert [message.body for message in broker.receive("orders", max_messages=100)] == ["later"]


def service_bodies(bench: Bench) -> list[str]:
    received = bench.service.receive(ORDERS, count=10, visibility_seconds=None, attempt=None)
    return [body for *_, body in received.messages]
