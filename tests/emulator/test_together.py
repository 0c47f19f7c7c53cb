"""What many ask at once is done in one transaction: each sees what those before it did, and only that."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import pytest

from fnqueue.broker.base import Entry
from fnqueue.broker.embedded import EmbeddedBroker
from fnqueue.broker.embedded.service import Address, QueueService
from fnqueue.broker.embedded.service.entries import Outgoing, Value
from fnqueue.broker.embedded.service.service import Batch, Sent
from fnqueue.clock import ManualClock
from fnqueue.database import Connection, Database
from fnqueue.emulator import members
from fnqueue.emulator.call import Call
from fnqueue.emulator.desk import Desk, Outcome, Share
from fnqueue.emulator.receiving import receive_message
from fnqueue.errors import BrokerRefused
from tests.emulator.clients import row

ORDERS = Address("us-east-1", "1" * 12, "orders")
A = Outgoing(body="a")
T = TypeVar("T")


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


@pytest.mark.parametrize("fifo", [False, True])
def test_of_those_who_send_in_the_same_moment_each_hears_of_their_own(bench: Bench, fifo: bool) -> None:
    """Also where one of them is refused, and another's is more than a body."""
    address = ORDERS._replace(name="orders.fifo") if fifo else ORDERS
    bench.service.create(address, {"FifoQueue": "true"} if fifo else {}, {})

    def message(body: str, **more: Any) -> Outgoing:
        return Outgoing(body=body, **({"group": "g", "dedupe": body[:9]} if fifo else {}), **more)

    told = message("told", attributes={"a": Value("String", "b")})
    for together in ([message("a"), message("b")], [message("c"), message(""), told, message("d\x01"), message("e")]):
        sent = bench.service.send_each(address, together)
        assert [isinstance(one, BrokerRefused) for one in sent] == [one.body in ("", "d\x01") for one in together]
        good = [one for one in sent if isinstance(one, Sent)]
        assert len({one.message_id for one in good}) == len(good)
        assert all((one.sequence_number is not None) == fifo for one in good)
    received = bench.service.receive(address, count=10, visibility_seconds=None, attempt=None)
    assert [body for *_, body in received.messages] == ["a", "b", "c", "told", "e"]


def test_of_batches_sent_in_the_same_moment_a_bad_one_takes_nothing_of_the_others(bench: Bench) -> None:
    bench.service.create(ORDERS, {}, {})
    sent = bench.service.send_batches(
        ORDERS,
        [
            Batch(["1", "2"], [A, Outgoing(body="b")]),
            Batch(["1", "1"], [A, A]),
            Batch(["x"], [Outgoing(body="c", attributes={"a": Value("String", "b")})]),
            Batch([], []),
            Batch(["1", "2"], [Outgoing(body="d"), Outgoing(body="")]),
            Batch(["1"], [Outgoing(body="e")]),
        ],
    )
    shown = [one.code if isinstance(one, BrokerRefused) else [type(each).__name__ for each in one] for one in sent]
    assert shown == [
        ["Sent", "Sent"],
        "BatchEntryIdsNotDistinct",
        ["Sent"],
        "EmptyBatchRequest",
        ["Sent", "Fault"],
        ["Sent"],
    ]
    ids = [each.message_id for one in sent if isinstance(one, list) for each in one if isinstance(each, Sent)]
    received = bench.service.receive(ORDERS, count=10, visibility_seconds=None, attempt=None)
    message_id = received.queue.message_ids()
    bodies = {message_id(row): body for row, *_, body in received.messages}
    assert [bodies[id_] for id_ in ids] == ["a", "b", "c", "d", "e"]


def test_what_is_wrong_with_all_is_told_to_each(bench: Bench) -> None:
    async def use(desk: Desk) -> list[Any]:
        missing, there = Address("us-east-1", "1" * 12, "none"), Share(bench.service.send_each, ORDERS, A)
        works: list[Any] = [Share(bench.service.send_each, missing, A)] * 2 + [there] * 3
        told: list[Outcome] = []
        for work in works:
            desk.ask(work, told.append)
        await desk.idle()
        return [getattr(one.error, "code", None) or one.value.message_id for one in told]

    bench.service.create(ORDERS, {}, {})
    told = at_a_desk(bench, use)
    assert told[:2] == ["QueueDoesNotExist"] * 2
    assert len(set(told[2:])) == 3


def test_what_follows_an_error_that_ended_the_transaction_is_not_kept_and_told_as_failed(tmp_path: Path) -> None:
    """SQLite may roll back all when a disk fails; what came after that would be committed by itself."""
    database = Database(tmp_path / "q.db")
    bench = Bench(database, QueueService(database, clock=ManualClock()), ManualClock())
    bench.service.create(ORDERS, {}, {})

    def fails() -> None:
        database.write(lambda connection: connection.rollback())
        raise OSError("the disk failed")

    async def use(desk: Desk) -> list[Outcome]:
        told: list[Outcome] = []
        for work in (fails, lambda: bench.service.send(ORDERS, A), lambda: bench.service.send(ORDERS, A)):
            desk.ask(work, told.append)
        with contextlib.suppress(OSError):  # the same moment, or the next
            await desk.idle()
        return told

    told = at_a_desk(bench, use)
    assert [type(one.error) for one in told] == [OSError] * 3
    assert service_bodies(bench) == []
    database.close()


def test_one_answer_that_fails_keeps_nobody_elses_back(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    bench.service.create(ORDERS, {}, {})

    def fails(outcome: Outcome) -> None:
        raise RuntimeError("planted")

    async def use(desk: Desk) -> list[Outcome]:
        told: list[Outcome] = []
        desk.ask(lambda: 1, fails)
        desk.ask(lambda: 2, told.append)
        await desk.idle()
        await desk.idle()
        return told

    assert [one.value for one in at_a_desk(bench, use)] == [2]
    assert "planted" in caplog.text


def test_a_receive_does_not_wait_for_the_disk_and_what_is_asked_for_beside_it_does(tmp_path: Path) -> None:
    """A message that was given is not lost when the power fails: it comes again, a little sooner."""
    asked: list[bool] = []

    class Watched(Database):
        def write(self, work: Any, *, bell: bool = False, durable: bool = True) -> Any:
            if threading.current_thread().name == "fnqueue-emulator-engine" and self._here.writing is None:
                asked.append(durable)
            return super().write(work, bell=bell, durable=durable)

    database = Watched(tmp_path / "q.db")
    bench = Bench(database, QueueService(database, clock=ManualClock()), ManualClock())
    bench.service.create(ORDERS, {}, {})

    async def use(desk: Desk) -> None:
        call = Call(bench.service, desk, *ORDERS[:2], "http://q", None, asyncio.get_running_loop().create_future)
        asked_for = members.ReceiveMessage(queue_url="orders")
        await receive_message(call, asked_for)
        sending = asyncio.create_task(desk.do(lambda: bench.service.send(ORDERS, A)))
        await asyncio.gather(sending, receive_message(call, asked_for))

    at_a_desk(bench, use)
    database.close()
    assert asked == [False, True]


@row("R3")
@pytest.mark.parametrize("said", ["by the client", "by the queue"])
def test_a_poll_that_waits_gives_back_what_was_there_for_a_client_that_has_gone(bench: Bench, said: str) -> None:
    by_client = said == "by the client"
    bench.service.create(ORDERS, {} if by_client else {"ReceiveMessageWaitTimeSeconds": "20"}, {})
    bench.service.send(ORDERS, A)

    async def use(desk: Desk) -> None:
        def gone() -> asyncio.Future[None]:
            done = asyncio.get_running_loop().create_future()
            done.set_result(None)
            return done

        call = Call(bench.service, desk, *ORDERS[:2], "http://q", None, gone)
        asked_for = members.ReceiveMessage(queue_url="orders", wait_time_seconds=20 if by_client else None)
        assert await receive_message(call, asked_for) == {}

    at_a_desk(bench, use)
    assert service_bodies(bench) == ["a"]


def at_a_desk(bench: Bench, use: Callable[[Desk], Awaitable[T]]) -> T:
    async def run() -> T:
        desk = Desk(bench.database, bench.service, bench.clock)
        try:
            return await use(desk)
        finally:
            await asyncio.get_running_loop().run_in_executor(None, desk.close)

    return asyncio.run(run())


def service_bodies(bench: Bench) -> list[str]:
    received = bench.service.receive(ORDERS, count=10, visibility_seconds=None, attempt=None)
    return [body for *_, body in received.messages]
