"""A call with secrets: they reach the task, and none of the texts that are kept of it."""

from __future__ import annotations

import logging
import traceback
from typing import Any

import pytest

from fnqueue import DeadLetter, PolicyDenied, Secret
from fnqueue.events import TaskDeadLettered, TaskFailed, TaskRescheduled
from fnqueue.middleware import Middleware, OutgoingCall
from fnqueue.policies import custom

CARD = "4111-1111-1111-1111"


def shown(error: BaseException) -> str:
    """As a logger with locals shows it."""
    return "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())


def test_a_secret_reaches_the_task(fn, drain):
    got = []

    @fn.task(name="charge")
    def charge(card: Secret[str], *, amount: int) -> str:
        got.append(card)
        return card.get_secret_value()[-4:]

    handle = charge.defer(Secret(CARD), amount=7)
    drain()
    assert got == [Secret(CARD)]
    assert handle.result() == "1111"
    assert charge.apply(Secret(CARD), amount=7).value == "1111"


@pytest.mark.parametrize("how", ["raise", "dead letter", "retry", "coroutine"])
def test_what_a_task_says_of_it_is_masked_in_every_record_and_log(fn, drain, caplog, how):
    events: list[Any] = []
    for kind in (TaskFailed, TaskRescheduled, TaskDeadLettered):
        fn.on(kind, events.append)

    if how == "coroutine":

        @fn.task(name="charge")
        async def charge(cards: dict[str, Secret[str]]) -> None:
            raise ValueError(f"declined: {cards['a'].get_secret_value()}")

    else:

        @fn.task(name="charge", retry=1 if how == "retry" else 0)
        def charge(cards: dict[str, Secret[str]]) -> None:
            text = f"declined: {cards['a'].get_secret_value()}"
            raise DeadLetter(text) if how == "dead letter" else ValueError(text)

    handle = charge.defer({"a": Secret(CARD)})
    with caplog.at_level(logging.DEBUG):
        drain.advance(minutes=5)
    error = handle.record().error
    assert error is not None
    assert "declined: ***" in error.message
    everything = f"{error} {events} {caplog.text} {handle.record()}"
    assert CARD not in everything
    assert len(events) == (2 if how == "retry" else 1)


def test_a_progress_message_is_masked(fn, drain):
    @fn.task(name="charge", bind=True)
    def charge(context, card: Secret[str]) -> str:
        context.progress(1, 2, f"charging {card.get_secret_value()}")
        return seen[0].record().progress.message

    seen = []
    seen.append(charge.defer(Secret(CARD)))
    drain()
    assert seen[0].result() == "charging ***"


def test_neither_policies_nor_middleware_show_it(fn):
    calls: list[OutgoingCall] = []
    contexts = []

    class Notes(Middleware):
        def send(self, call, call_next):
            calls.append(call)
            return call_next(call)

    fn.runtime().middleware.append(Notes())
    fn.runtime().ask_again()

    @fn.task(name="charge", policy=custom(lambda ctx: contexts.append(ctx) or ctx.args["card"] == Secret(CARD)))
    def charge(card: Secret[str], note: str) -> None: ...

    charge.defer(Secret(CARD), "a private note")
    assert CARD not in f"{calls} {contexts} {calls[0].args} {contexts[0].args}"
    assert "private" not in f"{calls} {contexts}", "arguments that are no secrets are not in reprs, either"
    with pytest.raises(PolicyDenied) as denied:
        charge.defer(Secret("other" + CARD), "x")
    assert CARD not in shown(denied.value)


def test_a_traceback_with_locals_shows_no_secret_of_the_caller_or_of_the_task(fn, drain, caplog):
    """What error trackers record. The task's own variables are its own, and print as `***` while they are Secrets."""

    @fn.task(name="charge")
    def charge(card: Secret[str], note: str) -> None:
        raise ValueError("no")

    raised: list[BaseException] = []
    fn.runtime().middleware.append(Watches(raised))
    fn.runtime().ask_again()
    charge.defer(Secret(CARD), "x")
    drain()
    assert raised
    assert CARD not in shown(raised[0])
    for wrong in (
        lambda: charge.defer(Secret(CARD)),
        lambda: charge.defer(Secret(CARD), object()),
        lambda: charge.defer(Secret(CARD), "x" * 70_000_000),
        lambda: charge.defer(Secret(object()), CARD[:0]),
        lambda: charge.using(delay_seconds=1, group="g", priority="high").defer(Secret(CARD), 7),
    ):
        with pytest.raises(Exception) as refused:
            wrong()
        text = "".join(
            frame for frame in traceback.TracebackException.from_exception(refused.value, capture_locals=True).format()
        )
        assert CARD not in text.replace("x" * 1000, "")


class Watches(Middleware):
    def __init__(self, raised: list[BaseException]) -> None:
        self.raised = raised

    def execute(self, context, call_next):
        from fnqueue.execution import execute

        real = execute.verdict

        def noting(run, error, powers):
            self.raised.append(error)
            return real(run, error, powers)

        execute.verdict = noting
        try:
            return call_next(context)
        finally:
            execute.verdict = real


def test_a_schedule_takes_no_secret_because_it_would_be_kept(fn):
    with pytest.raises(Exception, match="is a Secret, which travels only in the arguments of a call") as refused:

        @fn.schedule("rate(1 hour)", args=(Secret(CARD),))
        @fn.task(name="charge")
        def charge(card: Secret[str]) -> None: ...

        fn.schedules.sync()

    assert CARD not in str(refused.value)


def test_a_large_secret_is_offloaded_like_all_else(fn, drain):
    got = []

    @fn.task(name="charge")
    def charge(card: Secret[str]) -> None:
        got.append(card)

    charge.defer(Secret("x" * 2_000_000))
    (blob,) = fn.runtime().blobs.place._blobs.values()
    assert b"xxxx" not in blob
    drain()
    assert got == [Secret("x" * 2_000_000)]
