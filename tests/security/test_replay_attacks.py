"""Attacks by whoever can copy messages and write to the store, and has no key: nothing runs that should not, and no
state or result says what is not so. What they can do all the same stands here, too, as what it is.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import msgspec
import pytest

from fnqueue import FnQueue, ResultTimeout
from fnqueue.broker.base import Entry
from fnqueue.clock import ManualClock
from fnqueue.errors import ResultUnreadable, TaskError, TaskFailed
from fnqueue.events import MessageRefused
from fnqueue.outcome import Refused, Succeeded
from fnqueue.policies import public
from fnqueue.quotas import FUTURE_SKEW_SECONDS
from fnqueue.state import results
from fnqueue.state.replay import KIND as ONCE
from fnqueue.state.replay import SKEW_SECONDS
from fnqueue.store.base import Record
from fnqueue.testing import Drain, in_memory
from tests.execution.helpers import executed, left, received

DAY = 86_400.0


@pytest.fixture
def runs():
    return []


@pytest.fixture
def told(fn):
    events: list[MessageRefused] = []
    fn.on(MessageRefused, events.append)
    return events


@pytest.fixture
def pay(fn, runs):
    @fn.task(name="pay", policy=public, once=True, retry=3, expires_seconds=DAY)
    def pay(amount: int) -> int:
        runs.append(amount)
        return amount

    return pay


@pytest.fixture
def note(fn, runs):
    @fn.task(name="note", policy=public, expires_seconds=DAY)
    def note(text: str) -> str:
        runs.append(text)
        return f"{text} {len(runs)}"

    return note


def body_of(fn: FnQueue) -> str:
    """What a reader of the queue has: the only message, which stays there."""
    (message,) = fn.runtime().engine.broker.receive("default", max_messages=1, visibility_seconds=0)
    return message.body


def replay(fn: FnQueue, body: str, times: int = 1, **attributes: str) -> None:
    """Put it into the queue again, as messages of its own."""
    for number in range(times):
        entry = Entry(id=f"copy{number}", body=body, attributes=attributes)
        assert fn.runtime().engine.broker.send("default", [entry]) == []


def stored(fn: FnQueue, kind: str, id: str) -> Record:
    store = fn.runtime().engine.store
    assert store is not None
    found = store.get(kind, id)
    assert found is not None
    return found


def write(fn: FnQueue, record: Record) -> None:
    """As whoever can write to the store, past all fences."""
    store = fn.runtime().engine.store
    assert store is not None
    store.put(record)


def edited(record: Record, **fields: Any) -> Record:
    return msgspec.structs.replace(record, fields={**record.fields, **fields})


# ---------------------------------------------------------------- copies of a message


def test_a_message_replayed_ten_times_after_its_success_runs_nothing(fn, drain, clock, pay, runs, told):
    handle = pay.defer(42)
    body = body_of(fn)
    drain()
    for _ in range(10):
        clock.advance(seconds=600)
        replay(fn, body)
        drain()
    assert (runs, handle.result(), left(fn)) == ([42], 42, (0, 0, 0))
    assert [(event.code, event.detail, event.fate) for event in told] == [("REPLAY", "SUCCESS", "deleted")] * 10


def test_ten_copies_at_once_run_one_after_the_other_until_one_succeeded(fn, drain, clock, pay, runs):
    handle = pay.defer(42)
    replay(fn, body_of(fn), 10)
    for _ in range(20):
        drain()
        clock.advance(seconds=120)
    assert (runs, handle.result(), left(fn)) == ([42], 42, (0, 0, 0))


def test_a_message_replayed_after_its_failure_for_good_runs_nothing(fn, drain, clock, runs, told):
    @fn.task(name="fails", policy=public, once=True)
    def fails() -> None:
        runs.append(1)
        raise ValueError

    handle = fails.defer()
    body = body_of(fn)
    drain()
    replay(fn, body, 10)
    drain()
    assert (runs, handle.state, left(fn)) == ([1], "FAILURE", (0, 0, 0))


def test_a_message_replayed_while_it_runs_waits_for_that_lease_and_then_runs_nothing(fn, clock, pay, runs):
    handle = pay.defer(42)
    body = body_of(fn)
    running = received(fn)
    outcome = executed(fn, running)  # and is not settled yet
    replay(fn, body, 3)
    settler = fn.runtime().settler(worker="w")
    visibility = fn.runtime().settings.visibility_seconds
    for _ in range(3):
        copy = received(fn)
        refused = executed(fn, copy)
        assert isinstance(refused, Refused)
        assert refused.code == "REPLAY"
        assert visibility - 1 < refused.retry_after_seconds <= visibility + SKEW_SECONDS
        settler.settle([(copy, refused)])
    settler.settle([(running, outcome)])
    clock.advance(seconds=visibility + 5)
    Drain(fn.runtime)()
    assert (runs, handle.result(), left(fn)) == ([42], 42, (0, 0, 0))


@pytest.mark.parametrize("once", [True, False])
def test_a_message_replayed_after_its_expiry_runs_nothing_and_changes_no_state(fn, drain, clock, runs, once):
    @fn.task(name="short", policy=public, once=once, expires_seconds=60, keep_result_seconds=DAY)
    def short() -> str:
        runs.append(1)
        return "done"

    handle = short.defer()
    body = body_of(fn)
    drain()
    clock.advance(seconds=61)
    replay(fn, body, 10)
    drain()
    assert (runs, handle.result(), left(fn)) == ([1], "done", (0, 0, 0))


def test_at_no_moment_between_a_success_and_long_after_its_expiry_does_a_copy_run(fn, drain, clock, pay, runs):
    """The record is kept for longer than the envelope opens, by any clock that may be trusted: there is no gap."""
    pay.defer(42)
    body, begun = body_of(fn), clock.now()
    drain()
    around = [
        -600.0,
        -1,
        -0.001,
        0,
        0.001,
        1,
        FUTURE_SKEW_SECONDS - 1,
        FUTURE_SKEW_SECONDS,
        FUTURE_SKEW_SECONDS + 1,
        DAY,
    ]
    for moment in around:
        clock.advance(seconds=begun + DAY + moment - clock.now())
        replay(fn, body)
        fn.runtime().engine.store.sweep()
        drain()
        assert runs == [42], moment
    assert left(fn) == (0, 0, 0)


@pytest.mark.parametrize("apart", [1, 60, FUTURE_SKEW_SECONDS - 1])
def test_machines_whose_clocks_are_minutes_apart_let_no_copy_run(fn, drain, clock, pay, runs, apart):
    """The one that is ahead sweeps the record early, by the other's time; that one still takes the envelope."""
    pay.defer(42)
    body, expires, ends = body_of(fn), clock.now() + DAY, FUTURE_SKEW_SECONDS - apart
    drain()
    for moment in (-apart - 1, -1, -0.5, 0.5, ends - 0.5, ends + 0.5, DAY):
        clock.advance(seconds=max(0.0, expires + moment - clock.now()))
        clock.jump(apart)
        fn.runtime().engine.store.sweep()
        clock.jump(-apart)
        replay(fn, body)
        drain()
        assert runs == [42], moment


def test_a_message_from_a_clock_that_is_far_ahead_waits_and_one_that_is_a_little_ahead_runs(
    fn, drain, clock, runs, told
):
    task = fn.task(name="tick", policy=public)(lambda: runs.append(1))
    sender = fn.make_runtime(*fn.given, base=".")
    for seconds, ran in ((FUTURE_SKEW_SECONDS - 1, 1), (FUTURE_SKEW_SECONDS + 60, 0)):
        runs.clear()
        ahead = ManualClock(clock.now() + seconds)
        body = _sealed_by(fn, sender, ahead, task)
        replay(fn, body)
        drain()
        assert len(runs) == ran
    assert told[-1].code == "FROM_FUTURE"
    assert told[-1].fate == "hidden"
    clock.advance(seconds=400)
    drain()
    assert len(runs) == 1


def _sealed_by(fn: FnQueue, sender: Any, clock: ManualClock, task: Any) -> str:
    sender.clock, sender.settings, sender.keys_override = clock, fn.runtime().settings, fn.runtime().keys
    sender.ask_again()
    return str(sender.dispatch.prepare(task, (), {}, fn.current_principal(), hint="").entry.body)


def test_a_copy_of_a_plain_call_is_a_redelivery_and_cannot_change_its_result(fn, drain, clock, note, runs):
    """What sealing cannot stop: `once=True`, or FNQUEUE_REPLAY=required, does."""
    handle = note.defer("a")
    body = body_of(fn)
    drain()
    replay(fn, body)
    drain()
    assert runs == ["a", "a"]
    assert handle.result() == "a 1"
    assert left(fn) == (0, 0, 0)


def test_a_copy_with_a_forged_generation_neither_runs_a_once_call_nor_stops_it(fn, drain, clock, pay, runs):
    handle = pay.defer(42)
    body = body_of(fn)
    replay(fn, body, 1, g="999999")
    for _ in range(5):
        drain()
        clock.advance(seconds=300)
    assert (runs, handle.result(), left(fn)) == ([42], 42, (0, 0, 0))


# ---------------------------------------------------------------- records of the store


def test_a_replay_record_made_without_a_key_ends_no_call(fn, drain, clock, pay, runs):
    handle = pay.defer(42)
    for state in ("done", "dead"):
        fields = {"state": state, "run": 1, "holder": "x", "delivery": "0.1", "mac": b"x" * 32}
        write(fn, Record(kind=ONCE, id=handle.id, fields=fields, expires_at=9e9, fence=(1, 1), final=True))
    for _ in range(5):
        drain()
        clock.advance(seconds=300)
    assert (runs, handle.result()) == ([42], 42)


def test_the_replay_record_of_one_call_moved_to_another_ends_it_not(fn, drain, clock, pay, runs):
    done = pay.defer(1)
    drain()
    live = pay.defer(2)
    write(fn, msgspec.structs.replace(stored(fn, ONCE, done.id), id=live.id, version=0))
    for _ in range(5):
        drain()
        clock.advance(seconds=300)
    assert (runs, live.result()) == ([1, 2], 2)


@pytest.mark.parametrize(
    "change", [{"state": "dead"}, {"state": "done", "run": 7}, {"mac": None}, {"call": b"x" * 32}], ids=str
)
def test_a_running_record_edited_into_an_end_ends_nothing(fn, drain, clock, pay, runs, change):
    handle = pay.defer(42)
    executed(fn, received(fn))  # it died before it settled
    runs.clear()
    write(fn, edited(stored(fn, ONCE, handle.id), **{"state": "done", **change}))
    for _ in range(5):
        clock.advance(seconds=300)
        drain()
    assert runs == [42]
    assert handle.result() == 42


@pytest.mark.parametrize("until", [9e12, 10 * DAY, "for ever"])
def test_a_lease_that_was_forged_holds_a_call_up_no_longer_than_a_message_may_be_hidden(fn, clock, pay, runs, until):
    handle = pay.defer(42)
    executed(fn, received(fn))
    runs.clear()
    until = clock.now() + until if until == 10 * DAY else until
    write(fn, edited(stored(fn, ONCE, handle.id), lease_until=until))
    clock.advance(seconds=100)
    outcome = executed(fn, received(fn))
    held = outcome.retry_after_seconds if isinstance(outcome, Refused) else 0
    assert held <= 43_200
    assert (runs == [42]) == (held == 0)


def test_a_replay_record_that_was_deleted_or_rolled_back_is_what_a_store_can_do(fn, drain, clock, pay, runs):
    """It needs both: a copy of the message, and the store. The call's own record still keeps its first result."""
    handle = pay.defer(42)
    body = body_of(fn)
    drain()
    fn.runtime().engine.store.delete(ONCE, handle.id)
    replay(fn, body)
    drain()
    assert runs == [42, 42]
    assert handle.result() == 42


def test_the_row_of_one_task_copied_over_anothers_is_neither_its_state_nor_its_result(fn, drain, note):
    secret, mine = note.defer("of ada"), note.defer("of bob")
    drain()
    write(fn, msgspec.structs.replace(stored(fn, results.KIND, secret.id), id=mine.id, version=0))
    assert mine.state == "PENDING"
    with pytest.raises(ResultTimeout):
        mine.result(timeout_seconds=0)
    assert secret.result() == "of ada 1"


def test_two_rows_that_were_swapped_tell_nothing(fn, drain, note):
    one, two = note.defer("a"), note.defer("b")
    drain()
    first, second = stored(fn, results.KIND, one.id), stored(fn, results.KIND, two.id)
    write(fn, msgspec.structs.replace(first, id=two.id, version=0))
    write(fn, msgspec.structs.replace(second, id=one.id, version=0))
    for handle in (one, two):
        assert handle.state == "PENDING"
        with pytest.raises(ResultTimeout):
            handle.result(timeout_seconds=0)


@pytest.mark.parametrize("change", [{"state": "FAILURE"}, {"attempts": 9}, {"crashes": 3}, {"task": "pay"}], ids=str)
def test_a_result_row_that_was_edited_is_no_word_of_ours(fn, drain, note, change):
    handle = note.defer("a")
    drain()
    write(fn, edited(stored(fn, results.KIND, handle.id), **change))
    assert handle.state == "PENDING"
    with pytest.raises(ResultTimeout):
        handle.result(timeout_seconds=0)


CLASS = b'{"$class":"os.system","$fields":{"command":"touch /tmp/owned"},"__reduce__":["os.system",["x"]]}'


@pytest.mark.parametrize(
    "value",
    [
        CLASS,
        b'{"__class__":"subprocess.Popen","args":["x"]}',
        b'{"py/object":"subprocess.Popen"}',
        b'{"$fields":{"__class__":"os.system"}}',
    ],
)
def test_a_result_with_a_class_name_in_it_stays_data_even_from_who_has_the_key(fn, drain, note, value):
    """Whoever holds the state key can write results. They can make no reader look a class up."""
    handle = note.defer("a")
    drain()
    runtime = fn.runtime()
    known = runtime.results.read(handle.id)
    record = runtime.results.succeeded(known, value, keep_seconds=DAY)
    write(fn, record)
    with suppress(ResultUnreadable):
        assert type(handle.result()) is dict


def test_an_error_with_a_class_name_in_it_stays_text_even_from_who_has_the_key(fn, drain, note):
    handle = note.defer("a")
    drain()
    runtime = fn.runtime()
    known = runtime.results.read(handle.id)
    write(fn, runtime.results.failed(known, TaskError("os.system", "touch /tmp/owned"), keep_seconds=DAY))
    with pytest.raises(TaskFailed) as caught:
        handle.result()
    assert type(caught.value) is TaskFailed
    assert caught.value.error.type == "os.system"
    assert caught.value.__cause__ is None


# ---------------------------------------------------------------- an old worker


@pytest.mark.parametrize("ends", ["SUCCESS", "FAILURE"])
def test_an_end_is_overwritten_by_no_later_delivery_of_whatever_fence(fn, clock, note, ends):
    handle = note.defer("a")
    delivery = received(fn)
    outcome = executed(fn, delivery)
    runtime = fn.runtime()
    known = delivery.record.changed(fence=delivery.fence)
    ended = runtime.results.failed(known, None, keep_seconds=DAY) if ends == "FAILURE" else None
    ended = ended or runtime.results.succeeded(known, b'"first"', keep_seconds=DAY)
    runtime.engine.store.put_many([ended], fenced=True)
    assert isinstance(outcome, Succeeded)
    later = known.changed(fence=(900_000, 900_000))
    for record in (
        runtime.results.retrying(later),
        runtime.results.started(later),
        runtime.results.succeeded(later, b'"second"', keep_seconds=DAY),
        runtime.results.ended(later, "EXPIRED", keep_seconds=DAY),
    ):
        assert runtime.engine.store.put_many([record], fenced=True) == [None]
    assert handle.state == ends


def test_a_task_can_give_its_fence_to_a_database_that_then_refuses_an_older_run(fn, clock):
    row = {"fence": (0, 0), "by": ""}

    @fn.task(name="save", policy=public, bind=True)
    def save(context) -> None:
        if context.fence >= row["fence"]:
            row.update(fence=context.fence, by=f"run {context.fence}")

    save.defer()
    late = received(fn)
    clock.advance(seconds=90)
    executed(fn, received(fn))
    executed(fn, late)  # woke up after its twin
    assert row == {"fence": (0, 2), "by": "run (0, 2)"}


def test_where_a_replay_record_is_required_no_copy_of_any_call_runs(clock, runs):
    with in_memory(FnQueue(replay="required"), clock) as fn:
        task = fn.task(name="plain", policy=public)(lambda: runs.append(1))
        task.defer()
        replay(fn, body_of(fn), 10)
        for _ in range(15):
            Drain(fn.runtime)()
            clock.advance(seconds=120)
        assert runs == [1]
