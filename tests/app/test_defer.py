"""What a call does, from `defer` to its record."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from fnqueue import ArgumentError, FnQueue, Principal, SomeNotSent, TaskFailed
from fnqueue.errors import ArgumentsDoNotFit, MessageTooLarge, NotATask, OptionInvalid, TaskNameInvalid, UnknownTask
from fnqueue.events import CallDeferred, TaskSucceeded
from fnqueue.events import TaskFailed as TaskFailedEvent
from fnqueue.middleware import Middleware
from fnqueue.policies import public


def test_a_deferred_call_runs_and_its_handle_has_the_result(fn, drain):
    @fn.task(name="add")
    def add(a: int, b: int = 2) -> int:
        return a + b

    handle = add.defer(1, b=5)
    assert len(handle.id) == 26
    assert handle.state == "PENDING"
    drain()
    assert handle.state == "SUCCESS"
    assert handle.result() == 6
    assert handle.record().attempts == 1


def test_the_three_ways_to_defer_are_the_same(fn, drain):
    seen = []

    @fn.task(name="note")
    def note(text: str) -> None:
        seen.append(text)

    fn.defer(note, "fn")
    note.defer("task")
    asyncio.run(note.adefer("adefer"))
    asyncio.run(fn.adefer(note, "fn.adefer"))
    fn.defer_many(note, [("many 1",), ("many 2",), note.s("a signature")])
    drain()
    assert seen == ["fn", "task", "adefer", "fn.adefer", "many 1", "many 2", "a signature"]


def test_a_task_is_still_a_plain_function(fn):
    @fn.task(name="double")
    def double(n: int) -> int:
        """Twice."""
        return 2 * n

    assert double(4) == 8
    assert double.__doc__ == "Twice."
    assert double.__name__ == "double"


def test_a_coroutine_task_runs(fn, drain):
    @fn.task(name="slow")
    async def slow(n: int) -> int:
        await asyncio.sleep(0)
        return n + 1

    handle = slow.defer(1)
    drain()
    assert handle.result() == 2
    assert asyncio.run(handle.aresult()) == 2


def test_a_failed_task_keeps_its_error_as_text_and_a_copy_in_the_dead_letter_queue(fn, drain):
    @fn.task(name="bad")
    def bad() -> None:
        raise ValueError("no such month")

    handle = bad.defer()
    drain()
    error = handle.record().error
    assert (error.type, error.message) == ("ValueError", "no such month")
    assert "test_defer.py" in error.frames[0], "the first frame is the task's own"
    with pytest.raises(TaskFailed, match="FAILURE: ValueError: no such month"):
        handle.result()
    dead = fn.runtime().engine.broker.receive("default__dead")
    assert dead[0].attributes["reason"] == "FAILED"


def test_wrong_arguments_are_refused_at_the_caller_and_nothing_is_sent(fn, assert_deferred):
    @fn.task(name="shop.send")
    def send(account_id: int, month: str) -> None: ...

    with pytest.raises(ArgumentError, match="parameter 'account_id' .*int.*str"):
        send.defer("seven", "may")  # type: ignore[arg-type]
    with pytest.raises(ArgumentsDoNotFit, match="misses the parameter 'month'"):
        send.defer(7)  # type: ignore[call-arg]
    assert_deferred.not_(send)


def test_options_given_to_defer_are_pointed_to_using(fn):
    @fn.task(name="shop.send")
    def send(account_id: int) -> None: ...

    with pytest.raises(ArgumentError, match=r"Options go in task\.using\(delay_seconds=60\)\.defer"):
        send.defer(7, delay_seconds=60)  # type: ignore[call-arg]


def test_a_call_larger_than_the_queue_takes_is_refused_with_its_size_and_its_largest_argument(fn):
    @fn.task(name="shop.store")
    def store(name: str, data: str) -> None: ...

    fn.runtime().settings = replace(fn.runtime().settings, blobs_url="none")
    with pytest.raises(MessageTooLarge, match=r"the limit is 1,048,576; the largest argument is args\[1\]") as caught:
        store.defer("a", "x" * 2_000_000)
    assert caught.value.size > 2_000_000


def test_a_plain_function_is_no_task(fn):
    def thumbnail() -> None: ...

    with pytest.raises(NotATask, match=r"thumbnail\): a plain function.*put @fn\.task above it"):
        fn.defer(thumbnail)  # type: ignore[arg-type]


def test_a_task_of_another_fnqueue_is_refused(fn):
    other = FnQueue()

    @other.task(name="other")
    def task() -> None: ...

    with pytest.raises(NotATask, match="belongs to another FnQueue"):
        fn.defer(task)


def test_a_function_made_inside_a_function_needs_a_name(fn):
    with pytest.raises(TaskNameInvalid, match="give one with @fn.task\\(name="):

        @fn.task
        def inner() -> None: ...


def test_two_functions_cannot_share_a_name(fn):
    @fn.task(name="same")
    def one() -> None: ...

    with pytest.raises(TaskNameInvalid, match="two functions are registered as 'same'"):

        @fn.task(name="same")
        def two() -> None: ...


def test_an_unknown_tasks_error_lists_the_nearest_names(fn):
    @fn.task(name="shop.tasks.send_invoice")
    def send() -> None: ...

    with pytest.raises(UnknownTask, match=r"nearest names are shop\.tasks\.send_invoice"):
        fn.registry.get("shop.task.send_invoices")


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"retries": 3}, "did you mean retry=?"),
        ({"queue": "no spaces"}, "queue 'no spaces'"),
        ({"queue": "a__b"}, "queue 'a__b'"),
        ({"priority": 11}, "priority=11"),
        ({"retry": True}, "retry=True"),
        ({"retry": -1}, "attempts=-1"),
        ({"expires_seconds": 0}, "expires_seconds=0"),
        ({"time_limit_seconds": 50_000}, "time_limit_seconds=50000"),
        ({"once": True, "at_most_once": True}, "contradict"),
        ({"at_most_once": True, "retry": 2}, "never tried again"),
        ({"raises": ValueError()}, "must be a tuple of exception classes"),
        ({"policy": "staff"}, "policy"),
    ],
)
def test_a_wrong_option_is_an_error_at_decoration(fn, options, text):
    with pytest.raises((OptionInvalid, TypeError, ValueError), match=r"(?s).*" + text.replace("?", r"\?")):
        fn.task(**options)(lambda: None)


def test_using_changes_one_call_and_not_the_task(fn, drain, clock):
    runs = []

    @fn.task(name="later")
    def later() -> None:
        runs.append(clock.now())

    later.using(delay_seconds=60).defer()
    later.defer()
    drain()
    assert len(runs) == 1
    clock.advance(seconds=59)
    drain()
    assert len(runs) == 1
    clock.advance(seconds=1)
    drain()
    assert len(runs) == 2


@pytest.mark.parametrize("seconds", [901, 3600, 30 * 86_400])
def test_a_delay_longer_than_the_queue_holds_is_parked_and_runs_when_due(fn, drain, clock, seconds):
    runs = []

    @fn.task(name="much_later")
    def much_later() -> None:
        runs.append(clock.now())

    start = clock.now()
    much_later.using(delay_seconds=seconds).defer()
    clock.advance(seconds=seconds - 61)
    drain()
    assert runs == []
    clock.advance(seconds=62)
    drain()
    assert [round(at - start) for at in runs] == [seconds + 1]


def test_not_before_is_a_time_with_its_zone(fn, drain, clock):
    runs = []

    @fn.task(name="at")
    def at() -> None:
        runs.append(1)

    at.using(not_before=datetime.fromtimestamp(clock.now(), UTC) + timedelta(minutes=5)).defer()
    drain()
    assert runs == []
    clock.advance(minutes=5)
    drain()
    assert runs == [1]
    with pytest.raises(OptionInvalid, match="no time zone"):
        at.using(not_before=datetime(2026, 1, 1))


def test_a_call_is_not_run_after_it_expired(fn, drain, clock):
    @fn.task(name="fresh", expires_seconds=60)
    def fresh() -> None:
        raise AssertionError("ran")

    handle = fresh.defer()
    clock.advance(seconds=62)
    drain()
    assert handle.state == "EXPIRED"


def test_a_batch_sends_at_its_end_and_nothing_when_it_fails(fn, drain):
    seen = []

    @fn.task(name="note")
    def note(n: int) -> None:
        seen.append(n)

    with fn.batch() as batch:
        handles = [note.defer(n) for n in range(25)]
        assert drain() == 0
    assert batch.handles == handles
    drain()
    assert sorted(seen) == list(range(25))
    with pytest.raises(RuntimeError), fn.batch():
        note.defer(99)
        raise RuntimeError
    drain()
    assert 99 not in seen


def test_part_of_a_batch_that_the_queue_refuses_is_told_apart(fn, drain):
    @fn.task(name="note", queue="a")
    def note(n: int) -> None: ...

    broker = fn.runtime().engine.broker
    good = broker.send

    def send(queue, entries):
        from fnqueue.broker.base import Failure

        good(queue, [e for i, e in enumerate(entries) if i != 1])
        return [Failure(1, "InternalError", "try again", False)]

    broker.send = send  # the engine's answer, as SQS gives it: not our own logic
    with pytest.raises(SomeNotSent) as caught:
        fn.defer_many(note, [(0,), (1,), (2,)])
    assert len(caught.value.sent) == 2
    assert "InternalError" in str(caught.value.failed[0][1])
    broker.send = good
    assert drain() == 2


def test_dedupe_lets_the_first_call_win_and_gives_its_handle_to_the_second(fn, drain):
    seen = []

    @fn.task(name="invoice")
    def invoice(n: int) -> None:
        seen.append(n)

    first = invoice.using(dedupe="invoice:42").defer(1)
    second = invoice.using(dedupe="invoice:42").defer(2)
    other_tenant = invoice.using(dedupe="invoice:42", tenant="b").defer(3)
    assert second.id == first.id != other_tenant.id
    drain()
    assert sorted(seen) == [1, 3]


def test_a_cancelled_call_does_not_run(fn, drain):
    @fn.task(name="never")
    def never() -> None:
        raise AssertionError("ran")

    handle = never.defer()
    handle.cancel()
    drain()
    assert handle.state == "REVOKED"


def test_apply_runs_the_whole_pipe_without_a_queue(fn):
    @fn.task(name="add", policy=public)
    def add(a: int, b: int) -> int:
        return a + b

    result = add.apply(1, 2)
    assert (result.state, result.value) == ("SUCCESS", 3)
    assert fn.runtime().engine.broker.queues() == []


def test_apply_of_a_failing_task_gives_its_error(fn):
    @fn.task(name="bad")
    def bad() -> None:
        raise LookupError("gone")

    result = bad.apply()
    assert (result.state, result.error.type) == ("FAILURE", "LookupError")


def test_events_tell_what_happened(fn, drain):
    heard = []

    @fn.task(name="good")
    def good() -> None: ...

    @fn.task(name="bad")
    def bad() -> None:
        raise ValueError

    for kind in (CallDeferred, TaskSucceeded, TaskFailedEvent):
        fn.on(kind, lambda event: heard.append(type(event).__name__))
    good.defer()
    bad.defer()
    drain()
    assert heard == ["CallDeferred", "CallDeferred", "TaskSucceeded", "TaskFailed"]


def test_middleware_wraps_send_and_run_and_its_baggage_travels(clock, drain, fn):
    trace = []

    class Tracer(Middleware):
        def send(self, call, call_next):
            call.baggage["request"] = "r-1"
            trace.append("send")
            return call_next(call)

        def execute(self, context, call_next):
            trace.append(f"before {context.baggage['request']}")
            try:
                return call_next(context)
            finally:
                trace.append("after")

    fn.runtime().middleware = [Tracer()]

    @fn.task(name="traced")
    def traced() -> None:
        trace.append("run")

    traced.defer()
    drain()
    assert trace == ["send", "before r-1", "run", "after"]


def test_a_principal_travels_sealed_and_is_the_running_tasks(fn, drain):
    seen = []

    @fn.task(name="who", bind=True)
    def who(context) -> None:
        seen.append((context.principal.id, context.principal.kind, sorted(context.principal.roles)))

    with fn.as_principal(Principal(id="42", roles=frozenset({"staff"}))):
        who.defer()
    body = fn.runtime().engine.broker.receive("default", visibility_seconds=0)[0].body
    assert "staff" not in body
    assert '"42"' not in body
    drain()
    assert seen == [("42", "user", ["staff"])]


def test_a_call_cancelled_before_a_key_rotation_stays_cancelled_after_it(fn, drain, clock, tmp_path):
    from dataclasses import replace

    from fnqueue.security import keyfile
    from fnqueue.security.keyring import new_key

    path = tmp_path / "keys"
    keyfile.load_or_create(path)
    fn.runtime().settings = replace(fn.runtime().settings, keys_file=str(path))

    @fn.task(name="never")
    def never() -> None:
        raise AssertionError("ran")

    handle = never.defer()
    handle.cancel()
    key = new_key()
    keyfile.update(path, lambda text: keyfile.add(text, key, "accept"))
    clock.advance(seconds=5)
    newest = keyfile.load(path).records[-1].key_id
    keyfile.update(path, lambda text: keyfile.promote(text, newest))
    clock.advance(seconds=5)
    drain()
    assert handle.state == "REVOKED"
