"""An application whose calls are sealed under data keys of AWS KMS: who asks KMS for what, and when KMS is away.

Web and worker are two applications on one file, each with its own ring and its own way to moto's KMS, which counts.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from fnqueue import FnQueue, Principal, current_task
from fnqueue.broker.base import Entry
from fnqueue.broker.names import dead_letter
from fnqueue.cli.dead_letters import Visit
from fnqueue.clock import ManualClock
from fnqueue.errors import KmsUnavailable, QueueMissing, SomeNotSent
from fnqueue.events import MessageRefused, TaskRescheduled
from fnqueue.execution.delivery import Delivery
from fnqueue.security.keyring import KeyRecord, KeyRing
from fnqueue.security.keystrings import new_key
from fnqueue.security.kms.arn import parse_kms_key
from fnqueue.security.kms.client import KmsClient
from fnqueue.security.kms.datakeys import Kms
from fnqueue.testing import Drain
from tests.broker.sqs_proxy import Proxy, fail, lose_request
from tests.security.rings import given, kms_key
from tests.servers import moto_server

RUNS: list[tuple[str, int]] = []


class Side:
    """An application, its ring, and what stands between it and KMS. `clock` turns for all of it."""

    def __init__(self, url: str, keys: str, role: str, clock: ManualClock, **settings: Any) -> None:
        self.kms, self.clock = Proxy(moto_server()), clock
        records = [self._under_clock(record) for record in KeyRing.from_text(given(keys, role))]
        self.ring_of_now = KeyRing(records)
        self.fn = FnQueue(url=url, default_policy="public", **settings)

        @self.fn.task(name="shop.pay")
        def pay(cents: int) -> int:
            RUNS.append((f"pay {cents}", current_task.attempt))
            return cents

        self.pay = pay
        runtime = self.fn.runtime()
        runtime.clock, runtime.keys_override = clock, self
        self.told: list[Any] = []
        self.fn.on(MessageRefused, self.told.append)
        self.fn.on(TaskRescheduled, self.told.append)

    def _under_clock(self, record: KeyRecord) -> KeyRecord:
        if not isinstance(record.sealing, Kms):
            return record
        key = replace(parse_kms_key(ARN[0]), endpoint=self.kms.endpoint)
        return replace(record, sealing=Kms(key.key_id, KmsClient(key), self.clock))

    def ring(self) -> KeyRing:
        return self.ring_of_now

    def drain(self) -> None:
        Drain(self.fn.runtime)()

    def left(self, queue: str = "default") -> int:
        try:
            found = self.fn.runtime().engine.broker.attributes(queue)
        except QueueMissing:
            return 0
        return found.visible + found.in_flight + found.delayed

    def close(self) -> None:
        self.fn.close()
        self.kms.close()


ARN: list[str] = [""]


@pytest.fixture
def clock() -> ManualClock:
    RUNS.clear()
    return ManualClock()


@pytest.fixture
def key() -> str:
    ARN[0] = kms_key()
    return new_key("5", kms=ARN[0])


@pytest.fixture(params=["with a store", "without"])
def store(request: pytest.FixtureRequest) -> dict[str, str]:
    return {} if request.param == "with a store" else {"store_url": "none"}


@pytest.fixture
def sides(tmp_path: Any, key: str, clock: ManualClock, store: dict[str, str]) -> Iterator[tuple[Side, Side]]:
    url = f"sqlite:///{tmp_path}/fnqueue.db"
    made = Side(url, key, "web", clock, **store), Side(url, key, "worker", clock, **store)
    yield made
    for side in made:
        side.close()


@pytest.fixture
def web(sides: tuple[Side, Side]) -> Side:
    return sides[0]


@pytest.fixture
def worker(sides: tuple[Side, Side]) -> Side:
    return sides[1]


def test_web_asks_only_to_make_data_keys_and_a_worker_only_to_open_them(web: Side, worker: Side) -> None:
    for cents in range(20):
        web.pay.defer(cents)
    worker.drain()
    assert [(f"pay {cents}", 1) for cents in range(20)] == RUNS
    assert web.kms.operations() == ["GenerateDataKey"]
    assert worker.kms.operations() == ["Decrypt"]


# ------------------------------------------------------------------ KMS is away from a worker

AWAY = {
    "gone": [lose_request] * 2,
    "throttled": [fail(400, "ThrottlingException")] * 2,
    "denied": [fail(400, "AccessDeniedException")],
    "disabled": [fail(400, "DisabledException")],
}


@pytest.mark.parametrize("how", AWAY)
def test_a_message_waits_for_kms_and_then_runs_as_at_its_first_attempt(
    web: Side, worker: Side, clock: ManualClock, how: str, store: dict[str, str]
) -> None:
    """Without a store every delivery counts, as for all that waits."""
    web.pay.defer(7)
    for _ in range(5):
        worker.kms.then("Decrypt", *AWAY[how])
        worker.drain()
        assert RUNS == []
        assert worker.left() == 1
        clock.advance(seconds=20)
        worker.kms._spoils.clear()
    asked = len(worker.kms.requests("Decrypt"))
    assert 5 <= asked <= 10
    assert {(event.error_type, "kms" in event.error_message) for event in worker.told} == {("KmsUnavailable", True)}
    worker.drain()
    assert [("pay 7", 6 if store else 1)] == RUNS
    assert worker.left() == 0
    assert worker.left(dead_letter("default")) == 0


def test_a_receive_does_not_wait_for_kms(web: Side, worker: Side) -> None:
    """What opens a whole receive ahead asks nobody: a KMS that hangs would keep all that is received from its turn."""
    for cents in (1, 2):
        web.pay.defer(cents)
    runtime = worker.fn.runtime()
    executor = runtime.executor(worker="w")
    received = [
        Delivery(message, received_at=runtime.clock.monotonic())
        for message in runtime.engine.broker.receive("default", max_messages=10, visibility_seconds=60)
    ]
    executor.open_ahead(received)
    assert worker.kms.asked == []
    assert [delivery.opened for delivery in received] == [None, None]
    executor.execute(received[0])
    executor.open_ahead(received[1:])
    assert received[1].opened is not None, "once its data key is there, it is opened ahead as all others"
    assert worker.kms.operations() == ["Decrypt"]


def test_a_call_that_waited_for_kms_belongs_to_who_made_it(
    web: Side, worker: Side, clock: ManualClock, store: dict[str, str]
) -> None:
    """Its record was begun before anybody could read whose it is."""
    if store:
        return  # no records
    with web.fn.as_principal(Principal("42")):
        handle = web.pay.defer(7)
    worker.fn.load_principal(lambda id: Principal(id))
    worker.kms.then("Decrypt", fail(400, "AccessDeniedException"))
    worker.drain()
    assert handle.state == "RETRY"
    clock.advance(seconds=30)
    worker.drain()
    assert RUNS == [("pay 7", 1)]
    results = web.fn.runtime().results
    assert results is not None
    record = results.read(handle.id)
    assert record is not None
    assert (record.state, record.principal) == ("SUCCESS", "user:42")


def test_a_call_that_kms_never_opens_again_is_given_up_an_hour_after_it_expired(
    web: Side, worker: Side, clock: ManualClock, store: dict[str, str]
) -> None:
    """Its KMS key was deleted, say. It ends as expired, and whose it was nobody can tell any more."""
    handle = web.pay.using(expires_seconds=3600).defer(7)
    for _ in range(10):
        worker.kms.then("Decrypt", fail(400, "KMSInvalidStateException"))
        worker.drain()
        assert worker.left() == 1
        worker.kms._spoils.clear()
        clock.advance(seconds=720)
    clock.advance(seconds=1000)
    worker.kms.then("Decrypt", fail(400, "KMSInvalidStateException"))
    worker.drain()
    assert worker.left() == 0
    assert [(event.code, event.id) for event in worker.told if isinstance(event, MessageRefused)] == [
        ("EXPIRED", handle.id)
    ]
    assert RUNS == []
    assert store or handle.state == "EXPIRED"


def test_calls_of_another_key_run_while_kms_is_away(
    tmp_path: Any, key: str, clock: ManualClock, web: Side, worker: Side
) -> None:
    """During a change from suite local, say: and in one receive with those that wait."""
    local = new_key()
    both = [*worker.ring_of_now, *KeyRing.from_text(local)]
    worker.ring_of_now = KeyRing([both[0], replace(both[1], state="accept")])
    kms_ring = web.ring_of_now
    for cents in range(6):
        web.ring_of_now = KeyRing.from_text(local) if cents % 2 else kms_ring
        web.pay.defer(cents)
    worker.kms.then("Decrypt", fail(400, "AccessDeniedException"))
    worker.drain()
    assert [run for run, _ in RUNS] == ["pay 1", "pay 3", "pay 5"]
    assert len(worker.kms.asked) == 1, "of three that wait, one asks"
    clock.advance(seconds=30)
    worker.drain()
    assert sorted(run for run, _ in RUNS) == [f"pay {cents}" for cents in range(6)]


def test_a_data_key_that_kms_does_not_know_is_hostile_and_the_worker_goes_on(web: Side, worker: Side) -> None:
    """Sealed for another queue's encryption context, by somebody who may sign."""
    web.pay.defer(1)
    own, other = web.ring_of_now.primary, web.ring_of_now.primary.sealing

    class Moved:
        key_id, opens = own.sealing.key_id, True  # type: ignore[union-attr]

        def to_seal(self, environment: str, queue: str) -> Any:
            return other.to_seal(environment, "mail")  # type: ignore[union-attr]

    web.ring_of_now = KeyRing([replace(own, sealing=Moved())])  # type: ignore[arg-type]
    for cents in (2, 3, 4):
        web.pay.defer(cents)
    web.ring_of_now = KeyRing([own])
    web.pay.defer(5)
    worker.drain()
    assert [run for run, _ in RUNS] == ["pay 1", "pay 5"]
    assert [(event.code, event.fate) for event in worker.told] == [("UNSEAL", "dead-lettered")] * 3
    assert len(worker.kms.asked) == 2, "one that is good, one that is not"


def test_what_a_stranger_puts_into_the_queue_makes_no_worker_ask_kms(web: Side, worker: Side) -> None:
    web.pay.defer(1)
    broker = web.fn.runtime().engine.broker
    (message,) = broker.receive("default", visibility_seconds=0)
    dk = message.body.partition('"dk":"')[2].partition('"')[0]
    for n in range(30):
        forged = message.body.replace(dk, dk[: -3 - n] + "A" * (n + 3))
        broker.send("default", [Entry(id=str(n), body=forged)])
    worker.drain()
    assert {event.code for event in worker.told} == {"BAD_TAG"}
    assert len(worker.kms.asked) == 1
    assert [run for run, _ in RUNS] == ["pay 1"]


def test_who_may_not_open_data_keys_can_throw_dead_letters_away(web: Side, worker: Side, clock: ManualClock) -> None:
    web.pay.defer(7)
    broker = worker.fn.runtime().engine.broker
    (message,) = broker.receive("default", visibility_seconds=60)
    broker.send(dead_letter("default"), [Entry(id="0", body=message.body)])
    clock.advance(days=5)  # the call has expired: only then its large arguments are looked for
    worker.kms.then("Decrypt", fail(400, "AccessDeniedException"))
    visit = Visit(worker.fn.runtime(), dead_letter("default"))
    for batch in visit.walk():
        visit.throw_away(batch)
    visit.close()
    assert len(worker.kms.asked) == 1
    assert worker.left(dead_letter("default")) == 0


# ------------------------------------------------------------------ KMS is away from a producer


def test_a_call_that_kms_gave_no_data_key_for_is_not_sent_and_can_be_made_again(
    web: Side, worker: Side, clock: ManualClock
) -> None:
    web.kms.then("GenerateDataKey", fail(400, "AccessDeniedException"))
    with pytest.raises(KmsUnavailable, match="allow kms:GenerateDataKey on it to this process") as refused:
        web.pay.defer(1)
    assert refused.value.retryable
    with pytest.raises(KmsUnavailable):
        web.fn.defer_many(web.pay, [(2,), (3,)])
    clock.advance(seconds=6)
    web.pay.defer(4)
    worker.drain()
    assert [run for run, _ in RUNS] == ["pay 4"]


def test_a_dedupe_key_is_not_held_by_a_call_that_could_not_be_sealed(
    web: Side, worker: Side, clock: ManualClock, store: dict[str, str]
) -> None:
    if store:
        return  # dedupe= needs one
    web.kms.then("GenerateDataKey", *[lose_request] * 2)
    with pytest.raises((KmsUnavailable, SomeNotSent)):
        web.pay.using(dedupe="invoice:42").defer(1)
    clock.advance(seconds=2)
    web.pay.using(dedupe="invoice:42").defer(2)
    worker.drain()
    assert [run for run, _ in RUNS] == ["pay 2"]
