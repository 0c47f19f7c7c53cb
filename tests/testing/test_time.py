"""`advance`: time passes with a worker at work, and each thing runs when it falls due."""

from __future__ import annotations

import pytest

from fnqueue import Backoff, FnQueue, RetryLater
from fnqueue.errors import FnQueueError, OptionInvalid
from fnqueue.testing import Drain, in_memory

START = 1_767_225_600.0


@pytest.fixture
def ran(fn, clock):
    """(what, seconds since the start) of each run."""
    return []


@pytest.fixture
def note(fn, clock, ran):
    @fn.task(name="note")
    def note(what: str) -> None:
        ran.append((what, clock.now() - START))

    return note


def test_a_retry_runs_at_its_time_and_not_before(fn, clock, advance, drain):
    runs = []

    @fn.task(name="flaky", retry=Backoff(first_seconds=10, jitter=False))
    def flaky() -> None:
        runs.append(clock.now() - START)
        if len(runs) < 3:
            raise OSError("disk full")

    handle = flaky.defer()
    drain()
    assert advance(seconds=9) == 0
    assert advance(seconds=60) == 2
    assert runs == [0, 10, 30]
    assert handle.state == "SUCCESS"


def test_what_is_due_now_runs_before_time_passes(note, ran, advance):
    note.defer("now")
    advance(days=1)
    assert ran == [("now", 0)]


def test_delayed_and_parked_calls_run_in_the_order_of_their_times(note, ran, advance):
    note.using(delay_seconds=7200).defer("parked for two hours")
    note.using(delay_seconds=600).defer("held by the queue")
    note.using(delay_seconds=3600).defer("parked for one hour")
    advance(hours=3)
    assert ran == [("held by the queue", 600), ("parked for one hour", 3600), ("parked for two hours", 7200)]


def test_what_a_task_defers_with_a_delay_runs_within_the_same_advance(fn, clock, advance):
    runs = []

    @fn.task(name="again")
    def again(n: int) -> None:
        runs.append(clock.now() - START)
        if n:
            again.using(delay_seconds=60).defer(n - 1)

    again.defer(5)
    assert advance(minutes=3) == 4
    assert runs == [0, 60, 120, 180]


def test_time_stands_where_it_was_told_to_go(note, advance, clock):
    note.using(delay_seconds=100).defer("x")
    advance(seconds=250.5)
    assert clock.now() - START == 250.5


def test_of_a_call_that_nobody_ran_in_time_a_late_worker_finds_it_expired(fn, clock, drain, ran):
    @fn.task(name="soon", expires_seconds=60)
    def soon() -> None:
        ran.append("soon")

    handle = soon.defer()
    clock.advance(minutes=2)  # and no worker was there
    drain()
    assert (ran, handle.state) == ([], "EXPIRED")


def test_a_task_that_asks_for_a_minute_each_time_is_asked_each_minute(fn, clock, advance):
    runs = []

    @fn.task(name="poll")
    def poll() -> None:
        runs.append(clock.now() - START)
        raise RetryLater(60, snooze=True)

    poll.defer()
    advance(minutes=30)
    assert runs == [60.0 * minute for minute in range(31)]


def test_a_task_that_never_stops_is_told_of(fn, drain):
    @fn.task(name="endless")
    def endless() -> None:
        endless.defer()

    endless.defer()
    with pytest.raises(FnQueueError, match="does a task defer itself"):
        drain()


def test_where_time_is_the_machines_it_says_so(tmp_path):
    fn = FnQueue(url=f"sqlite:///{tmp_path}/queue.db")
    with pytest.raises(FnQueueError, match=r"use fnqueue.testing.in_memory\(fn\)"):
        Drain(fn.runtime).advance(seconds=1)
    fn.close()


def test_a_clock_of_another_kind_is_refused():
    with pytest.raises(OptionInvalid, match="must be a fnqueue.testing.ManualClock"), in_memory(FnQueue(), object()):  # type: ignore[arg-type]
        pass


def test_a_run_knows_nothing_of_the_user_that_the_test_holds_open_around_it(fn, drain):
    seen = []

    @fn.task(name="who")
    def who() -> None:
        seen.append(fn.current_principal())

    with fn.as_service("night"):
        who.defer()
    with fn.as_service("the test"):
        drain()
    assert [(principal.id, principal.via) for principal in seen] == [("night", ("who",))]


def test_a_coroutine_task_runs_in_a_drain_that_a_running_loop_calls(fn, drain):
    import asyncio

    @fn.task(name="add")
    async def add(a: int, b: int) -> int:
        await asyncio.sleep(0)
        return a + b

    async def test() -> int:
        handle = await add.adefer(1, 2)
        drain()
        return handle.result()

    assert asyncio.run(test()) == 3


def test_middleware_wraps_coroutine_tasks_too(fn, drain):
    from fnqueue.middleware import Middleware

    seen = []

    class Notes(Middleware):
        def execute(self, context, call_next):
            seen.append("before")
            outcome = call_next(context)
            seen.append(type(outcome).__name__)
            return outcome

    fn.runtime().middleware.append(Notes())

    @fn.task(name="later")
    async def later() -> None:
        seen.append("run")

    later.defer()
    drain()
    assert seen == ["before", "run", "Succeeded"]
