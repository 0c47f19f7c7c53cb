"""What the tests of execution share: a delivery in the hand, a worker that dies, an engine that fails when told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from fnqueue import FnQueue
from fnqueue.app import FnQueue as Application
from fnqueue.broker.names import dead_letter
from fnqueue.clock import ManualClock
from fnqueue.execution.admitting import Run
from fnqueue.execution.delivery import Delivery
from fnqueue.execution.lookback import APART_SECONDS
from fnqueue.outcome import Outcome, Rescheduled
from fnqueue.security.envelope import peek


def received(fn: FnQueue, queue: str = "default") -> Delivery:
    """The next message of a queue, as a worker takes it."""
    runtime = fn.runtime()
    (message,) = runtime.engine.broker.receive(
        queue, max_messages=1, visibility_seconds=runtime.settings.visibility_seconds
    )
    return Delivery(message, received_at=runtime.clock.monotonic())


def executed(fn: FnQueue, delivery: Delivery) -> Outcome:
    outcome = fn.runtime().executor(worker="w").execute(delivery)
    assert not isinstance(outcome, Run)
    return outcome


def dies_running(fn: FnQueue, clock: ManualClock, queue: str = "default") -> Outcome:
    """A worker takes a message, runs it, and is gone before it settles; its lease runs out.

    A call that did so twice is first set apart from those that ran beside it: that is waited for.
    """
    outcome = executed(fn, set_apart(fn, clock, queue))
    clock.advance(seconds=fn.runtime().settings.visibility_seconds + 5)
    return outcome


def set_apart(fn: FnQueue, clock: ManualClock, queue: str = "default") -> Delivery:
    """The next message; one that is suspected of ending workers when it was set apart and is due again."""
    delivery = received(fn, queue)
    runtime = fn.runtime()
    known = runtime.results.read(delivery.id or _id(delivery)) if runtime.results else None
    if known is None or known.state != "STARTED" or not 1 <= known.crashes < runtime.settings.max_crashes - 1:
        return delivery
    outcome = executed(fn, delivery)
    assert isinstance(outcome, Rescheduled)
    assert outcome.error is not None
    assert outcome.error.type == "WorkerEnded"
    runtime.settler(worker="w").settle([(delivery, outcome)])
    clock.advance(seconds=APART_SECONDS + 1)
    return received(fn, queue)


def _id(delivery: Delivery) -> str:
    return peek(delivery.body).id


def dead_letters(fn: FnQueue, queue: str = "default") -> list[tuple[str, str]]:
    """(reason, source) of all copies in the dead-letter queue."""
    broker = fn.runtime().engine.broker
    target = dead_letter(queue)
    if target not in broker.queues():
        return []
    return [
        (message.attributes["reason"], message.attributes["source"])
        for message in broker.receive(target, max_messages=64, visibility_seconds=0)
    ]


def left(fn: FnQueue, queue: str = "default") -> tuple[int, int, int]:
    """(visible, in flight or hidden, delayed)."""
    found = fn.runtime().engine.broker.attributes(queue)
    return found.visible, found.in_flight, found.delayed


class Failing:
    """An engine's part whose methods can be told to fail: `failing.on["send"] = raise_this`.

    The methods stand in the object itself: protocols that are looked for at run time do not ask `__getattr__`.
    """

    def __init__(self, real: Any) -> None:
        self.real = real
        self.on: dict[str, Callable[..., Any]] = {}
        for name in dir(type(real)):
            if not name.startswith("_") and callable(getattr(type(real), name)):
                setattr(self, name, partial(self._call, name))

    def _call(self, name: str, *args: Any, **options: Any) -> Any:
        return self.on.get(name, getattr(self.real, name))(*args, **options)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)


def failing_broker(fn: Application) -> Failing:
    """Puts a broker under `fn` that fails when told, and a store that is not in one transaction with it."""
    runtime = fn.runtime()
    broker = Failing(runtime.engine.broker)
    runtime.__dict__["engine"] = replace(runtime.engine, broker=broker, together=lambda work: work())
    return broker
