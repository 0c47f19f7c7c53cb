"""How functions run: in threads and on a loop, with limits, cancelled, wrapped by middleware, and by `apply`."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from fnqueue import FnQueue, SoftTimeLimitExceeded, TaskRevoked, current_task
from fnqueue.clock import SystemClock
from fnqueue.execution.coroutines import HardTimeLimitExceeded, Runner
from fnqueue.execution.limits import SoftLimits
from fnqueue.middleware import Middleware
from fnqueue.outcome import Refused, Succeeded
from tests.execution.helpers import received


class Notes(Middleware):
    def __init__(self) -> None:
        self.seen: list[str] = []

    def execute(self, context, call_next):
        self.seen.append(f"before {context.task}")
        outcome = call_next(context)
        self.seen.append(f"after {type(outcome).__name__}")
        return outcome


class TestSoftLimits:
    def test_the_exception_comes_inside_the_task_when_its_time_is_over(self):
        limits = SoftLimits(SystemClock())
        began = time.monotonic()

        def busy() -> None:
            while time.monotonic() - began < 5:
                time.sleep(0.001)

        with pytest.raises(SoftTimeLimitExceeded), limits.within(0.05):
            busy()
        assert time.monotonic() - began < 2

    def test_a_task_may_clean_up_and_return(self):
        limits = SoftLimits(SystemClock())
        result = None
        with limits.within(0.05):
            try:
                while True:
                    time.sleep(0.001)
            except SoftTimeLimitExceeded:
                result = "cleaned up"
        assert result == "cleaned up"

    def test_what_ends_in_time_is_left_alone_and_so_is_what_follows_it(self):
        limits = SoftLimits(SystemClock())
        for _ in range(50):
            with limits.within(0.02):
                pass
        time.sleep(0.06)

    def test_an_exception_that_comes_at_the_last_moment_never_hits_the_next_task(self):
        """The block ends at about the time of its limit, again and again.

        The loop has a frame of its own, as a task's function has: Python 3.13.0 lets an exception that comes from
        outside, at the condition of a loop, past the handlers of that same frame.
        """
        limits = SoftLimits(SystemClock())

        def spin(seconds: float) -> None:
            until = time.monotonic() + seconds
            while time.monotonic() < until:
                pass

        for turn in range(300):
            try:
                with limits.within(0.002):
                    spin(0.0019 + (turn % 5) * 0.0001)
            except SoftTimeLimitExceeded:
                pass
            for _ in range(100):
                threading.get_ident()

    def test_limits_of_several_threads_do_not_meet(self):
        limits, hit = SoftLimits(SystemClock()), []

        def run(seconds: float) -> None:
            try:
                with limits.within(seconds):
                    time.sleep(0.001)
                    while len(hit) < 5 and seconds < 1:
                        time.sleep(0.001)
                    time.sleep(0.05 if seconds > 1 else 0)
            except SoftTimeLimitExceeded:
                hit.append(seconds)

        threads = [threading.Thread(target=run, args=(seconds,)) for seconds in (0.03, 60, 0.05, 60, 0.01, 0.02, 0.04)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(5)
        assert sorted(hit) == [0.01, 0.02, 0.03, 0.04, 0.05]


class TestRunner:
    def run(self, function, soft=None, hard=None, interrupt=None):
        async def main():
            runner = Runner(function())
            if interrupt is not None:
                interrupt(runner)
            return await runner.run(soft, hard, SoftTimeLimitExceeded)

        return asyncio.run(main())

    def test_a_soft_limit_is_an_exception_where_the_coroutine_awaits(self):
        async def work():
            try:
                await asyncio.sleep(10)
            except SoftTimeLimitExceeded:
                await asyncio.sleep(0.001)
                return "cleaned up"

        assert self.run(work, soft=0.01) == "cleaned up"

    def test_a_hard_limit_ends_it_even_if_it_swallows_the_soft_one(self):
        async def work():
            while True:
                try:
                    await asyncio.sleep(10)
                except SoftTimeLimitExceeded:
                    pass

        with pytest.raises(HardTimeLimitExceeded, match=r"0\.05 s is over"):
            self.run(work, soft=0.01, hard=0.05)

    def test_an_interruption_before_the_first_step_says_why(self):
        async def work():
            raise AssertionError("it does not begin")

        with pytest.raises(TaskRevoked):
            self.run(work, interrupt=lambda runner: runner.interrupt(TaskRevoked("cancelled")))

    def test_a_cancellation_of_the_tasks_own_stays_one(self):
        async def work():
            raise asyncio.CancelledError

        with pytest.raises(asyncio.CancelledError):
            self.run(work)

    def test_what_a_coroutine_awaits_fails_in_it(self):
        async def work():
            future = asyncio.get_running_loop().create_future()
            future.set_exception(OSError("disk full"))
            try:
                await future
            except OSError as error:
                return str(error)

        assert self.run(work) == "disk full"


class TestApply:
    def test_a_coroutine_is_applied_where_a_loop_runs_already(self, fn):
        @fn.task(name="slow")
        async def slow(n: int) -> int:
            await asyncio.sleep(0)
            return n + 1

        async def view():
            return slow.apply(1)

        assert asyncio.run(view()).value == 2

    @pytest.mark.parametrize("kind", ["function", "coroutine"])
    def test_middleware_wraps_it(self, kind):
        fn = FnQueue(url="sqlite://")
        notes = Notes()
        fn.middleware.append(notes)
        if kind == "function":

            @fn.task(name="work")
            def work() -> int:
                return 1
        else:

            @fn.task(name="work")
            async def work() -> int:
                return 1

        assert work.apply().value == 1
        assert notes.seen == ["before work", "after Succeeded"]

    def test_it_records_nothing_and_takes_no_right_to_run(self, fn):
        @fn.task(name="pay", once=True, bind=True)
        def pay(context) -> str:
            context.progress(1, 2)
            return "paid"

        applied = pay.apply()
        assert applied.value == "paid"
        store = fn.runtime().engine.store
        assert store.get("once", applied.id) is None
        assert store.get("task", applied.id) is None

    def test_ctrl_c_is_for_who_applied_it(self, fn):
        @fn.task(name="work")
        def work() -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            work.apply()


def test_a_middleware_that_raises_is_a_failed_attempt(fn, drain):
    class Broken(Middleware):
        def execute(self, context, call_next):
            raise RuntimeError("broken middleware")

    fn.runtime().middleware.append(Broken())

    @fn.task(name="work")
    def work() -> None:
        raise AssertionError("it does not run")

    handle = work.defer()
    drain()
    assert handle.record().error.message == "broken middleware"


def test_an_exception_whose_text_or_wait_cannot_be_made_is_a_failure_all_the_same(fn, drain):
    class Nasty(Exception):
        def __str__(self):
            raise ValueError("no text")

        @property
        def retry_after(self):
            raise ValueError("no wait")

    @fn.task(name="work", retry=3)
    def work() -> None:
        raise Nasty

    handle = work.defer()
    drain()
    assert handle.state == "FAILURE"


def test_a_running_task_that_was_cancelled_is_told_at_its_next_progress(fn):
    runtime = fn.runtime()

    @fn.task(name="work", bind=True)
    def work(context) -> None:
        delivery.revoked = context.revoked = True  # as the heartbeat does
        current_task.progress(1)
        raise AssertionError("it goes on")

    handle = work.defer()
    delivery = received(fn)
    outcome = runtime.executor().execute(delivery)
    assert outcome == Refused("REVOKED")
    runtime.settler().settle([(delivery, outcome)])
    assert handle.state == "REVOKED"


def test_a_coroutine_that_was_cancelled_between_its_start_and_its_first_step_does_not_run(fn):
    @fn.task(name="work")
    async def work() -> None:
        raise AssertionError("it does not begin")

    work.defer()
    executor = fn.runtime().executor()
    run = executor.execute(received(fn))
    run.delivery.revoked = True
    assert asyncio.run(executor.execute_async(run)) == Refused("REVOKED")


def test_progress_of_a_run_that_was_given_back_is_not_written(fn):
    @fn.task(name="work", bind=True)
    def work(context) -> None:
        delivery.abandoned = True
        context.progress(1)

    handle = work.defer()
    delivery = received(fn)
    assert isinstance(fn.runtime().executor().execute(delivery), Succeeded)
    assert fn.runtime().results.read(handle.id) is None
