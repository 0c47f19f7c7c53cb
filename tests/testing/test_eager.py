"""Eager mode: a call runs before `defer` returns, through the whole pipe, and cannot be left on."""

from __future__ import annotations

import asyncio
import threading
from itertools import pairwise

import pytest

from fnqueue import ArgumentError, Backoff, DeadLetter, FnQueue, PolicyDenied, TaskFailed
from fnqueue.errors import FnQueueError, OptionInvalid, SettingsInvalid
from fnqueue.policies import service
from fnqueue.settings import Settings
from fnqueue.testing import Chaos, in_memory
from tests.app.test_held_calls import Transactions


@pytest.fixture
def ran():
    return []


def test_a_call_has_run_when_defer_returns(fn, eager):
    @fn.task(name="add")
    def add(a: int, b: int) -> int:
        return a + b

    handle = add.defer(1, 2)
    assert (handle.state, handle.result()) == ("SUCCESS", 3)
    assert [name for name, _ in eager.outcomes] == ["add"]


def test_arguments_are_checked_and_converted_as_on_their_way_through_a_queue(fn, eager, ran):
    @fn.task(name="note")
    def note(things: list[int]) -> None:
        ran.append(things)

    given = [1, 2]
    note.defer(given)
    assert ran == [given]
    assert ran[0] is not given
    with pytest.raises(ArgumentError):
        note.defer("x")  # type: ignore[arg-type]


def test_the_policy_is_asked_at_defer_and_again_before_the_run(fn, eager, ran):
    from fnqueue.policies import custom

    phases = []

    @custom
    def watched(ctx) -> bool:
        phases.append(ctx.phase)
        return ctx.phase == "defer"

    @fn.task(name="guarded", policy=watched)
    def guarded() -> None:
        ran.append(1)

    assert guarded.defer().state == "DENIED"
    assert (phases, ran) == (["defer", "execute"], [])

    @fn.task(name="closed", policy=service("billing"))
    def closed() -> None: ...

    with pytest.raises(PolicyDenied):
        closed.defer()


def test_a_failure_is_the_handles_as_in_production(fn, eager):
    @fn.task(name="fails")
    def fails() -> None:
        raise ValueError("no")

    handle = fails.defer()
    assert handle.state == "FAILURE"
    with pytest.raises(TaskFailed, match="no"):
        handle.result()


def test_a_failure_comes_out_of_defer_where_that_is_asked_for(clock):
    with in_memory(FnQueue(), clock, eager="raise") as fn:

        @fn.task(name="fails")
        def fails() -> None:
            raise ValueError("no")

        @fn.task(name="buried")
        def buried() -> None:
            raise DeadLetter("no such account")

        with pytest.raises(ValueError, match="no") as caught:
            fails.defer()
        assert caught.traceback[-1].name == "fails"
        with pytest.raises(TaskFailed, match="no such account"):
            buried.defer()


def test_a_task_that_fails_and_then_succeeds_has_been_tried_again_with_its_waits(fn, eager, clock, ran):
    eager.propagate = True

    @fn.task(name="flaky", retry=Backoff(attempts=3, first_seconds=10, jitter=False))
    def flaky() -> str:
        ran.append(clock.now())
        if len(ran) < 3:
            raise OSError("disk full")
        return "done"

    assert flaky.defer().result() == "done"
    assert [round(b - a) for a, b in pairwise(ran)] == [10, 20]


def test_a_delayed_call_waits_for_its_time(fn, eager, ran, advance, clock):
    @fn.task(name="note")
    def note() -> None:
        ran.append(clock.now())

    started = clock.now()
    note.using(delay_seconds=60).defer()
    assert ran == []
    advance(minutes=1)
    assert ran == [started + 60]


def test_what_a_task_defers_runs_after_it_and_a_thousand_deep_is_not_too_deep(fn, eager, ran):
    @fn.task(name="down")
    def down(n: int) -> None:
        ran.append(f"{n} begins")
        if n:
            down.defer(n - 1)
        ran.append(f"{n} ends")

    down.defer(1000)
    assert ran[:4] == ["1000 begins", "1000 ends", "999 begins", "999 ends"]
    assert len(ran) == 2002


def test_a_held_call_runs_after_the_commit_and_a_dropped_one_never(fn, eager, ran):
    transactions = Transactions()
    fn.hooks.transaction = transactions.current
    eager.propagate = True

    @fn.task(name="note")
    def note(n: int) -> None:
        ran.append(n)
        if n == 3:
            raise ValueError("after the commit")

    transactions.begin()
    note.defer(1)
    assert ran == []
    transactions.commit()
    assert ran == [1]
    transactions.begin()
    note.defer(2)
    transactions.rollback()
    transactions.begin()
    note.defer(3)
    with pytest.raises(ValueError, match="after the commit"):
        transactions.commit()
    assert ran == [1, 3]


def test_a_batch_runs_at_its_end(fn, eager, ran):
    @fn.task(name="note")
    def note(n: int) -> None:
        ran.append(n)

    with fn.batch():
        note.defer(1)
        note.defer(2)
        assert ran == []
    assert ran == [1, 2]


def test_a_coroutine_task_may_await_adefer(fn, eager, ran):
    @fn.task(name="inner")
    def inner() -> None:
        ran.append("inner")

    @fn.task(name="outer")
    async def outer() -> None:
        await inner.adefer()
        ran.append("outer")

    async def view() -> None:
        await outer.adefer()

    asyncio.run(view())
    assert ran == ["outer", "inner"]


def test_a_task_that_waits_for_a_thread_that_defers_comes_to_an_end(fn, eager, ran):
    @fn.task(name="inner")
    def inner() -> None:
        ran.append("inner")

    @fn.task(name="outer")
    def outer() -> None:
        thread = threading.Thread(target=inner.defer)
        thread.start()
        thread.join(20)
        assert not thread.is_alive()
        ran.append("outer")

    outer.defer()
    assert ran == ["outer", "inner"]


def test_it_ends_with_the_engine_in_memory(clock, ran):
    fn = FnQueue()

    @fn.task(name="note")
    def note() -> None:
        ran.append(1)

    with in_memory(fn, clock, eager=True):
        note.defer()
    assert ran == [1]
    with in_memory(fn, clock):
        note.defer()
    assert ran == [1]


def test_it_is_no_setting_and_the_error_says_where_it_is():
    with pytest.raises(SettingsInvalid, match=r"fnqueue.testing.in_memory\(fn, eager=True\)"):
        Settings.build({}, environment={"FNQUEUE_EAGER": "1"})


def test_it_is_refused_on_a_queue_that_is_not_in_memory(tmp_path):
    from fnqueue.testing.eager import Eager

    for url in (f"sqlite:///{tmp_path}/queue.db", "sqs://eu-west-1/shop-"):
        fn = FnQueue(url=url)
        with pytest.raises(FnQueueError, match="eager mode is for tests on an engine in memory"):
            Eager(fn.runtime())
        fn.close()


def test_it_and_chaos_exclude_each_other(clock):
    with pytest.raises(OptionInvalid, match="give one of them"), in_memory(FnQueue(), clock, eager=True, chaos=Chaos()):
        pass
