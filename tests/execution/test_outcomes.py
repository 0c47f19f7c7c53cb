"""What the function does decides what becomes of its message and of its record: the table of outcomes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fnqueue import Backoff, DeadLetter, FnQueue, RetryLater
from fnqueue.events import TaskDeadLettered, TaskFailed
from fnqueue.testing import in_memory
from tests.execution.helpers import dead_letters, left


def plain(attempts: int, first_seconds: float, **options: object) -> Backoff:
    return Backoff(attempts, first_seconds=first_seconds, jitter=False, **options)  # type: ignore[arg-type]


def test_a_failed_message_is_seen_again_only_after_its_backoff(fn, drain, clock):
    runs = []

    @fn.task(name="flaky", retry=plain(3, 10))
    def flaky() -> str:
        runs.append(clock.now())
        if len(runs) < 3:
            raise OSError("disk full")
        return "done"

    handle = flaky.defer()
    drain()
    assert (handle.state, len(runs)) == ("RETRY", 1)
    assert handle.record().error.type == "OSError"
    clock.advance(seconds=9)
    drain()
    assert len(runs) == 1
    clock.advance(seconds=1)
    drain()
    assert len(runs) == 2
    clock.advance(seconds=20)
    drain()
    assert (handle.result(), handle.record().attempts, len(runs)) == ("done", 3, 3)
    assert left(fn) == (0, 0, 0)


def test_when_no_attempt_is_left_the_call_fails_and_its_copy_is_in_the_dead_letter_queue(fn, drain, clock):
    @fn.task(name="broken", retry=plain(1, 1))
    def broken() -> None:
        raise OSError("disk full")

    handle = broken.defer()
    drain()
    assert dead_letters(fn) == []
    clock.advance(seconds=1)
    drain()
    assert (handle.state, handle.record().attempts) == ("FAILURE", 2)
    assert dead_letters(fn) == [("FAILED", "default")]
    assert left(fn) == (0, 0, 0)


def test_an_exception_that_retry_does_not_cover_fails_at_once(fn, drain):
    @fn.task(name="wrong", retry=plain(5, 1, on=(OSError,)))
    def wrong() -> None:
        raise ValueError("no such month")

    handle = wrong.defer()
    drain()
    assert (handle.state, handle.record().attempts) == ("FAILURE", 1)


def test_an_error_that_says_when_to_come_back_is_obeyed(fn, drain, clock):
    class Busy(Exception):
        retry_after = 120

    runs = []

    @fn.task(name="polite", retry=plain(1, 1))
    def polite() -> None:
        runs.append(clock.now())
        raise Busy

    polite.defer()
    drain()
    clock.advance(seconds=119)
    drain()
    assert len(runs) == 1
    clock.advance(seconds=1)
    drain()
    assert runs[1] - runs[0] == 120


def test_dead_letter_false_keeps_no_copy(fn, drain):
    @fn.task(name="cheap", dead_letter=False)
    def cheap() -> None:
        raise OSError

    handle = cheap.defer()
    drain()
    assert handle.state == "FAILURE"
    assert dead_letters(fn) == []
    assert left(fn) == (0, 0, 0)


def test_a_task_that_says_dead_letter_is_not_tried_again(fn, drain):
    told = []
    fn.on(TaskDeadLettered, told.append)

    @fn.task(name="hopeless", retry=5)
    def hopeless() -> None:
        raise DeadLetter("the account is closed")

    handle = hopeless.defer()
    drain()
    assert handle.record().error.message == "the account is closed"
    assert dead_letters(fn) == [("DEAD_LETTER", "default")]
    assert [event.reason for event in told] == ["the account is closed"]


def test_retry_later_is_an_attempt_and_a_snooze_is_none(fn, drain, clock):
    seen = []

    @fn.task(name="later", retry=plain(1, 5), bind=True)
    def later(context) -> None:
        seen.append(context.attempt)
        if len(seen) <= 2:
            raise RetryLater(30, snooze=True)
        raise OSError

    handle = later.defer()
    for _ in range(5):
        drain()
        clock.advance(seconds=30)
    assert seen == [1, 1, 1, 2]
    assert (handle.state, handle.record().attempts) == ("FAILURE", 2)


def test_a_retry_that_would_come_after_the_call_expires_fails_now(fn, drain, clock):
    @fn.task(name="short", retry=plain(5, 100), expires_seconds=60)
    def short() -> None:
        raise OSError

    @fn.task(name="sleepy", expires_seconds=60)
    def sleepy() -> None:
        raise RetryLater(61)

    handles = [short.defer(), sleepy.defer()]
    drain()
    assert [handle.state for handle in handles] == ["FAILURE", "FAILURE"]
    assert "expires" in handles[1].record().error.message


def test_a_wait_that_the_queue_cannot_hide_is_parked_and_sent_when_due(fn, drain, clock):
    runs = []

    @fn.task(name="tomorrow")
    def tomorrow() -> str:
        runs.append(clock.now())
        if len(runs) == 1:
            raise RetryLater(7200)
        return "done"

    handle = tomorrow.defer()
    drain()
    assert left(fn) == (0, 0, 0), "the message is deleted: nothing of it is hidden for two hours"
    assert handle.state == "RETRY"
    clock.advance(seconds=7198)
    drain()
    assert len(runs) == 1
    clock.advance(seconds=2)
    drain()
    assert (handle.result(), len(runs), handle.record().attempts) == ("done", 2, 2)


def test_a_result_that_cannot_be_kept_is_a_failure_and_the_work_is_not_done_again(fn, drain):
    runs = []

    @fn.task(name="odd", retry=5)
    def odd() -> object:
        runs.append(1)
        return object()

    handle = odd.defer()
    drain()
    assert (handle.state, len(runs)) == ("FAILURE", 1)


def test_sys_exit_in_a_task_is_an_exception_like_any_other(fn, drain):
    @fn.task(name="leaves")
    def leaves() -> None:
        raise SystemExit(3)

    handle = leaves.defer()
    drain()
    assert handle.state == "FAILURE"
    assert "SystemExit" in handle.record().error.message


def test_an_expected_exception_is_told_as_such(fn, drain):
    told = []
    fn.on(TaskFailed, told.append)

    @fn.task(name="expected", raises=(LookupError,))
    def expected() -> None:
        raise KeyError("x")

    expected.defer()
    drain()
    assert [event.expected for event in told] == [True]


def test_at_most_once_deletes_first_and_is_never_tried_again(fn, drain):
    seen = []

    @fn.task(name="most", at_most_once=True)
    def most() -> None:
        seen.append(left(fn))
        raise RetryLater(1)

    handle = most.defer()
    drain()
    assert seen == [(0, 0, 0)]
    assert handle.state == "FAILURE"
    assert left(fn) == (0, 0, 0)


class TestWithoutAStore:
    @pytest.fixture
    def fn(self, clock):
        with in_memory(FnQueue(), clock) as fn:
            runtime = fn.runtime()
            runtime.__dict__["engine"] = replace(runtime.engine, store=None)
            yield fn

    def test_attempts_are_counted_by_deliveries(self, fn, drain, clock):
        seen = []

        @fn.task(name="flaky", retry=plain(2, 1), bind=True)
        def flaky(context) -> None:
            seen.append(context.attempt)
            raise OSError

        flaky.defer()
        for _ in range(5):
            drain()
            clock.advance(seconds=5)
        assert seen == [1, 2, 3]
        assert dead_letters(fn) == [("FAILED", "default")]

    def test_a_long_wait_is_made_of_hops_and_the_function_does_not_run_between(self, fn, drain, clock):
        began, seen = clock.now(), []

        @fn.task(name="later", bind=True)
        def later(context) -> None:
            seen.append((clock.now() - began, context.attempt))
            if len(seen) == 1:
                raise RetryLater(2000)

        later.defer()
        for _ in range(100):
            drain()
            clock.advance(seconds=50)
        assert [attempt for _, attempt in seen] == [1, 2]
        assert 2000 <= seen[1][0] <= 2060
        assert left(fn) == (0, 0, 0)
