"""Two true sealings of one id: the same call is a copy, another call is hostile, whichever of them comes again."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from fnqueue import Principal, RetryLater
from fnqueue.broker.base import Entry
from fnqueue.clock import ManualClock
from fnqueue.events import MessageRefused, TaskSucceeded
from fnqueue.security.envelope import seal
from fnqueue.security.ids import new_id
from fnqueue.security.keyfile import add, promote
from fnqueue.security.keyring import make_record, new_key, parse_key
from fnqueue.security.keys import FixedKeys
from fnqueue.state import results
from fnqueue.store.base import Record
from tests.execution.helpers import dead_letters, dies_running, left

ID = new_id(ManualClock().now())


@pytest.fixture
def runs():
    return []


@pytest.fixture
def told(fn):
    events = []
    fn.on(MessageRefused, events.append)
    return events


@pytest.fixture(params=[False, True], ids=["plain", "once"])
def pay(fn, runs, request):
    @fn.task(name="pay", once=request.param)
    def pay(amount: int) -> int:
        runs.append(amount)
        return amount

    return pay


def sealed(fn, amount: int, *, task: str = "pay", who: str = "1", **header: Any) -> str:
    runtime = fn.runtime()
    now = runtime.clock.now()
    given = {"id": ID, "created_at": now, "expires_at": now + 100_000} | header
    wire = {"args": [amount], "kwargs": {}, "p": Principal(who).to_wire()}
    return seal(
        keyring=runtime.ring(),
        environment=runtime.settings.environment,
        queue="default",
        task=task,
        principal_kind="user",
        sealed=wire,
        **given,
    )


def send(fn, body: str, *, again: bool = False) -> None:
    """`again`: as a later send of the message, so that it looks for what earlier ones wrote."""
    entry = Entry(id=ID, body=body, attributes={"g": "1"} if again else {})
    assert fn.runtime().engine.broker.send("default", [entry]) == []


def codes(told) -> list[tuple[str, str]]:
    return [(event.code, event.fate) for event in told]


def test_another_call_under_the_id_of_one_that_is_done_is_kept_as_a_dead_letter(fn, drain, pay, runs, told):
    send(fn, sealed(fn, 1))
    drain()
    forged = sealed(fn, 1_000_000)
    send(fn, forged, again=True)
    drain()
    assert runs == [1]
    assert codes(told) == [("ID_CONFLICT", "dead-lettered")]
    assert (told[0].id, told[0].task, len(told[0].body_sha256)) == (ID, "pay", 64)
    (dead,) = fn.runtime().engine.broker.receive("default__dead", visibility_seconds=0)
    assert dead.body == forged, "whole"
    assert fn.runtime().results.read(ID).state == "SUCCESS", "and the record of the first stands"
    assert left(fn) == (0, 0, 0)


@pytest.mark.parametrize("other", [{"task": "refund"}, {"who": "2"}], ids=["task", "principal"])
def test_another_task_or_principal_is_another_call(fn, drain, pay, runs, told, other):
    @fn.task(name="refund")
    def refund(amount: int) -> None:
        runs.append(-amount)

    send(fn, sealed(fn, 1))
    drain()
    send(fn, sealed(fn, 1, **other), again=True)
    drain()
    assert runs == [1]
    assert codes(told) == [("ID_CONFLICT", "dead-lettered")]


def test_the_same_call_sealed_twice_is_a_copy(fn, drain, pay, runs, told):
    first, second = sealed(fn, 1), sealed(fn, 1)
    assert first != second
    send(fn, first)
    drain()
    send(fn, second, again=True)
    drain()
    assert runs == [1]
    assert codes(told) == [("REPLAY", "deleted")]
    assert dead_letters(fn) == []


def test_a_rotation_between_the_two_sealings_changes_neither_answer(fn, drain, pay, runs, told):
    old, new = new_key(), new_key()
    both = add(add("", old), new)

    def keys(text: str) -> None:
        fn.runtime().keys_override = FixedKeys(text)
        fn.runtime().__dict__.pop("keys", None)

    keys(both)
    send(fn, sealed(fn, 1))
    drain()
    keys(promote(both, make_record(parse_key(new)).key_id))
    for amount in (1, 2):
        send(fn, sealed(fn, amount), again=True)
        drain()
    assert runs == [1]
    assert codes(told) == [("REPLAY", "deleted"), ("ID_CONFLICT", "dead-lettered")]


def test_a_call_that_waits_for_its_next_try_is_not_taken_over_by_another(fn, drain, clock, runs, told):
    @fn.task(name="pay")
    def pay(amount: int) -> int:
        runs.append(amount)
        if len(runs) == 1:
            raise RetryLater(60)
        return amount

    send(fn, sealed(fn, 1))
    drain()
    send(fn, sealed(fn, 2), again=True)
    drain()
    assert runs == [1]
    assert codes(told) == [("ID_CONFLICT", "dead-lettered")]
    clock.advance(seconds=61)
    drain()
    assert runs == [1, 1]
    assert fn.runtime().results.read(ID).state == "SUCCESS"


def test_a_once_call_that_runs_elsewhere_or_failed_keeps_its_id(fn, drain, clock, runs, told):
    @fn.task(name="pay", once=True, retry=1)
    def pay(amount: int) -> None:
        runs.append(amount)

    send(fn, sealed(fn, 1))
    dies_running(fn, clock)  # its lease is over, and no end is written
    fn.runtime().engine.broker.purge("default")
    send(fn, sealed(fn, 2))
    drain()
    assert codes(told) == [("ID_CONFLICT", "dead-lettered")]
    assert runs == [1]


def test_two_first_deliveries_both_run_and_the_second_to_end_is_told(fn, drain, runs, told):
    """To compare them sooner would cost every call a read; `once=True` does."""
    done = []
    fn.on(TaskSucceeded, done.append)

    @fn.task(name="pay")
    def pay(amount: int) -> int:
        runs.append(amount)
        return amount

    send(fn, sealed(fn, 1))
    send(fn, sealed(fn, 2))
    drain()
    assert sorted(runs) == [1, 2]
    assert codes(told) == [("ID_CONFLICT", "dead-lettered")]
    assert len(done) == 1
    assert fn.runtime().results.read(ID).value_json == str(runs[0]).encode()
    assert left(fn) == (0, 0, 0)


def test_conflicts_are_kept_at_a_bounded_rate(fn, drain, pay, runs, told):
    send(fn, sealed(fn, 0))
    drain()
    for amount in range(1, 16):
        send(fn, sealed(fn, amount), again=True)
    drain()
    assert [fate for _, fate in codes(told)] == ["dead-lettered"] * 10 + ["deleted"] * 5
    assert all(len(event.body_sha256) == 64 for event in told)
    assert runs == [0]


def test_a_record_from_before_there_were_digests_is_compared_with_nothing(fn, drain, runs, told):
    @fn.task(name="pay")
    def pay(amount: int) -> int:
        runs.append(amount)
        return amount

    send(fn, sealed(fn, 1))
    drain()
    without_digest(fn)
    assert fn.runtime().results.read(ID).readable
    send(fn, sealed(fn, 2), again=True)
    drain()
    assert codes(told) == [("REPLAY", "deleted")]
    assert runs == [1]


def without_digest(fn) -> None:
    """Rewrites the task's record as the version before wrote it: four things in its sealed part."""
    runtime = fn.runtime()
    store = runtime.engine.store
    found = store.get(results.KIND, ID)
    purpose = results._purpose(ID, dict(found.fields), found.fence)
    value, error, message, principal, *_ = msgspec.msgpack.decode(
        runtime.sealing.unseal_result(purpose, found.fields["sealed"])
    )
    fields = dict(found.fields)
    fields["sealed"] = runtime.sealing.seal_result(purpose, msgspec.msgpack.encode([value, error, message, principal]))
    store.put(
        Record(
            kind=found.kind,
            id=ID,
            fields=fields,
            fence=found.fence,
            final=found.final,
            expires_at=found.expires_at,
            bucket=found.bucket,
            sort=found.sort,
        ),
        if_version=found.version,
    )


def test_whoever_can_only_write_to_the_store_makes_no_conflict(fn, drain, clock, runs, told):
    @fn.task(name="pay", once=True)
    def pay(amount: int) -> None:
        runs.append(amount)

    send(fn, sealed(fn, 1))
    forged = {"state": "failed", "run": 1, "retry_at": 0, "call": b"x" * 32, "mac": b"y" * 32}
    fn.runtime().engine.store.put(Record(kind="once", id=ID, fields=forged, fence=(1, 1), expires_at=9e9))
    drain()
    assert (runs, told) == ([1], [])
