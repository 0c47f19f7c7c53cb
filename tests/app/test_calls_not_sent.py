"""Calls that were prepared and not sent leave nothing behind that keeps the next one from being sent."""

from __future__ import annotations

import asyncio
from contextvars import Context
from dataclasses import replace

import pytest

from fnqueue import ArgumentError, FnQueue, PolicyDenied, SomeNotSent
from fnqueue.errors import BrokerError, DatabaseError, NotYetSent, OptionInvalid, SettingsInvalid
from fnqueue.middleware import Middleware
from fnqueue.policies import custom
from fnqueue.state.dedupe import Dedupe
from fnqueue.state.parked import Parked
from tests.execution.helpers import Failing


@pytest.fixture
def seen(fn):
    return []


@pytest.fixture
def note(fn, seen):
    @fn.task(name="note")
    def note(n: int) -> None:
        seen.append(n)

    return note


def once_and_then_gone(real):
    answers = iter([real])

    def call(*args, **options):
        for answer in answers:
            return answer(*args, **options)
        raise DatabaseError("the store is gone")

    return call


def test_a_batch_that_fails_holds_no_dedupe_key(fn, drain, note, seen):
    with pytest.raises(RuntimeError), fn.batch():
        note.using(dedupe="k").defer(1)
        raise RuntimeError
    note.using(dedupe="k").defer(2)
    drain()
    assert seen == [2]


def test_a_wrong_call_among_many_leaves_the_others_keys_free(fn, drain, note, seen):
    with pytest.raises(ArgumentError):
        fn.defer_many(note.using(dedupe="k"), [(1,), ("one",)])
    note.using(dedupe="k").defer(2)
    drain()
    assert seen == [2]


@pytest.fixture
def sending(fn):
    """What the queue does when it is sent something: `sending["send"] = ...`."""
    runtime = fn.runtime()
    broker = Failing(runtime.engine.broker)
    runtime.__dict__["engine"] = replace(runtime.engine, broker=broker)
    return broker.on


def full(*_):
    raise BrokerError("the disk is full")


def test_a_send_that_fails_leaves_its_key_free(fn, drain, note, seen, sending):
    sending["send"] = full
    with pytest.raises(BrokerError):
        note.using(dedupe="k").defer(1)
    sending.clear()
    note.using(dedupe="k").defer(2)
    drain()
    assert seen == [2]


def test_a_refused_option_leaves_its_key_free(fn, drain, note, seen):
    with pytest.raises(OptionInvalid):
        note.using(queue="orders.fifo", dedupe="k").defer(1)  # no group
    note.using(dedupe="k").defer(2)
    drain()
    assert seen == [2]


def test_a_middleware_that_fails_after_the_seal_leaves_its_key_free(fn, drain, note, seen):
    class Fails(Middleware):
        def send(self, call, call_next):
            call_next(call)
            raise RuntimeError

    fn.middleware.append(Fails())
    with pytest.raises(RuntimeError):
        note.using(dedupe="k").defer(1)
    fn.middleware.clear()
    fn.runtime().__dict__.pop("dispatch")
    note.using(dedupe="k").defer(2)
    drain()
    assert seen == [2]


def test_a_middleware_cannot_put_in_what_the_policy_refuses(fn, drain, seen):
    class Changes(Middleware):
        def send(self, call, call_next):
            call.args = (666,)
            return call_next(call)

    @custom
    def small(ctx):
        return ctx.args["n"] < 10

    @fn.task(name="pay", policy=small)
    def pay(n: int) -> None:
        seen.append(n)

    fn.middleware.append(Changes())
    with pytest.raises(PolicyDenied):
        pay.defer(1)
    assert drain() == 0


def test_what_outlives_a_batch_that_it_was_started_in_sends_for_itself(fn, drain, note, seen):
    async def later() -> None:
        await asyncio.sleep(0)
        note.defer(2)

    async def main() -> None:
        with fn.batch():
            note.defer(1)
            task = asyncio.ensure_future(later())
        await task

    asyncio.run(main())
    drain()
    assert seen == [1, 2]


def test_a_batch_inside_a_batch_that_fails_takes_only_its_own_calls_with_it(fn, drain, note, seen):
    with fn.batch() as outer:
        note.defer(1)
        with pytest.raises(RuntimeError), fn.batch():
            note.defer(2)
            raise RuntimeError
        with fn.batch() as inner:
            note.defer(3)
        assert drain() == 0
    drain()
    assert seen == [1, 3]
    assert [len(batch.handles) for batch in (outer, inner)] == [2, 1]


@pytest.mark.parametrize("calls", [1, 2])
def test_the_handles_of_a_batch_that_could_not_be_sent_say_so(fn, drain, note, seen, sending, calls):
    sending["send"] = full
    with pytest.raises(BrokerError), fn.batch() as batch:
        for n in range(calls):
            note.defer(n)
    sending.clear()
    assert drain() == 0
    for handle in batch.handles:
        assert not handle.held
        with pytest.raises(NotYetSent, match="after that the call could not be sent"):
            handle.result(0)


def test_of_a_batch_that_is_sent_in_part_the_lost_say_so_and_the_others_are_waited_for(fn, drain, note, seen, sending):
    first = note.using(dedupe="k").defer(1)
    real = fn.runtime().engine.broker.real.send
    sending["send"] = lambda queue, entries: full() if queue == "gone" else real(queue, entries)
    with pytest.raises(SomeNotSent) as raised, fn.batch() as batch:
        sent = note.defer(2)
        lost = note.using(queue="gone").defer(3)
        again = note.using(dedupe="k").defer(4)
    drain()
    assert (sorted(seen), again.id) == ([1, 2], first.id)
    assert [handle.state for handle in (sent, again)] == ["SUCCESS", "SUCCESS"]
    assert [call.id for call, _ in raised.value.failed] == [lost.id]
    with pytest.raises(NotYetSent, match="after that the call could not be sent"):
        lost.result(0)
    assert len(batch.handles) == 3


def test_what_an_outer_batch_could_not_send_the_handles_of_the_inner_one_know(fn, drain, note, sending):
    sending["send"] = full
    with pytest.raises(BrokerError), fn.batch():
        with fn.batch():
            inner = note.defer(1)
        assert inner.held
    sending.clear()
    with pytest.raises(NotYetSent, match="after that the call could not be sent"):
        inner.result(0)


def test_of_calls_with_a_long_delay_those_that_the_store_took_before_it_failed_are_told_apart(
    fn, drain, note, seen, clock
):
    runtime = fn.runtime()
    store = Failing(runtime.engine.store)
    runtime.__dict__["parked"] = Parked(store, runtime.clock, runtime.settings.environment)
    store.on["put_many"] = once_and_then_gone(store.real.put_many)
    later = note.using(delay_seconds=3600)
    with pytest.raises(SomeNotSent) as raised:
        fn.defer_many(later, [(1,), (2,), (3,)])
    with pytest.raises(DatabaseError):
        later.defer(4)
    store.on.clear()
    clock.advance(hours=2)
    drain()
    assert seen == [1]
    assert [handle.state for handle in raised.value.sent] == ["SUCCESS"]
    assert len(raised.value.failed) == 2


def test_a_batch_that_takes_longer_than_a_key_is_claimed_for_asks_again_and_its_handle_is_the_winners(
    fn, drain, note, seen, clock
):
    with fn.batch():
        late = note.using(dedupe="k").defer(1)
        note.defer(2)
        clock.advance(seconds=61)
        first = Context().run(note.using(dedupe="k").defer, 3)  # another request
    drain()
    assert sorted(seen) == [2, 3]
    assert late.id == first.id
    assert late.state == "SUCCESS"


def test_a_key_that_a_long_batch_has_claimed_again_is_kept_from_those_who_come_after_it(fn, drain, note, seen, clock):
    with fn.batch():
        first = note.using(dedupe="k").defer(1)
        clock.advance(minutes=5)
    later = note.using(dedupe="k").defer(2)
    drain()
    assert (seen, later.id) == ([1], first.id)


def test_a_call_that_is_sent_is_no_failure_because_the_store_cannot_keep_its_dedupe_key(fn, drain, note, seen, caplog):
    runtime = fn.runtime()
    store = Failing(runtime.engine.store)
    runtime.__dict__["dedupe"] = Dedupe(store, runtime.clock, runtime.sealing.signs, runtime.settings.environment)
    store.on["put"] = once_and_then_gone(store.real.put)  # the claim, and not what comes after the send
    handle = note.using(dedupe="k").defer(1)
    store.on.clear()
    again = note.using(dedupe="k").defer(2)
    drain()
    assert seen == [1]
    assert again == handle
    assert "in 60 s at most the next call with such a key is sent" in caplog.text
    assert "the store is gone" in caplog.text


def test_a_hint_about_options_repeats_no_value(fn, note):
    with pytest.raises(ArgumentError) as raised:
        note.defer(1, group="ada@example.org")
    assert "using(group=...)" in str(raised.value)
    assert "ada" not in str(raised.value)


def test_a_call_that_nobody_ran_in_time_is_said_to_be_expired(fn, drain, clock, note, seen):
    handle = note.defer(1)
    clock.advance(days=5)
    drain()
    assert handle.state == "EXPIRED"
    assert seen == []


@pytest.mark.parametrize("made_up", ["nope", "caf\udce9", "", "x" * 5000, None, 7])
def test_an_id_that_somebody_made_up_is_unknown_and_can_be_cancelled_in_vain(fn, made_up):
    handle = fn.handle(made_up)
    assert handle.state == "UNKNOWN"
    handle.cancel()
    assert not fn.runtime().control.snapshot().any


@pytest.mark.parametrize("option", ["dedupe", "group", "tenant"])
def test_an_option_that_utf_8_cannot_say_is_refused_by_name(note, option):
    with pytest.raises(OptionInvalid, match=f"^{option}="):
        note.using(**{option: "caf\udce9"})


def test_a_time_that_is_none_is_refused_by_name(note):
    with pytest.raises(OptionInvalid, match="must be a datetime"):
        note.using(not_before="2026-12-24")


@pytest.mark.parametrize(
    ("url", "said"), [("redis://ada:hunter2@cache/0", "redis://...@cache/0"), ("sqlite:///", "names no file")]
)
def test_a_url_that_is_none_is_refused_without_its_password(url, said):
    with pytest.raises(SettingsInvalid) as raised:
        FnQueue(url=url).runtime().check()
    assert said in str(raised.value)
    assert "hunter2" not in str(raised.value)
