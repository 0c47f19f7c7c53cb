"""For your own tests: a queue in memory, time that you turn, and a worker that runs when you say so.

    def test_the_invoice_is_sent_again_after_a_failure(fn, drain, clock): ...

Nothing is faked: calls are checked, authorised, sealed, received, opened, run and settled as in production,
by the same code, on SQLite in memory. Installed with fnqueue as a pytest plugin. To test your own application
instead of the plain `fn`, override the fixture in your conftest.py:

    @pytest.fixture
    def fn(clock):
        with fnqueue.testing.in_memory(myapp.fn, clock) as fn:
            yield fn
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import pytest

from fnqueue.app import FnQueue
from fnqueue.clock import ManualClock
from fnqueue.dispatch import Prepared
from fnqueue.errors import FnQueueError
from fnqueue.events import CallDeferred
from fnqueue.execution.delivery import Delivery
from fnqueue.execution.execute import Run
from fnqueue.execution.settle import Ended
from fnqueue.middleware import Middleware, OutgoingCall, SendNext
from fnqueue.outcome import Outcome
from fnqueue.runtime import Runtime
from fnqueue.task.task import Task
from fnqueue.worker.ticker import Ticker, TickerPowers

__all__ = ["Drain", "ManualClock", "assert_deferred", "clock", "drain", "fn", "in_memory"]

RUNS_MAX = 10_000


@contextmanager
def in_memory(fn: FnQueue, clock: ManualClock | None = None) -> Iterator[FnQueue]:
    """`fn` on an empty engine in memory with a key of its own, until the block ends; its tasks and hooks stay."""
    before = fn._runtime
    settings, overrides = fn.given
    runtime = fn.make_runtime(settings, overrides, base=".")
    # After the environment had its say: a test must never reach the queue that a shell is set up for.
    runtime.settings = replace(runtime.settings, url="sqlite://", store_url=None, keys=None, keys_file=None)
    runtime.clock = clock or ManualClock()
    fn._runtime = runtime
    try:
        yield fn
    finally:
        fn._runtime = before
        runtime.close()


class Drain:
    """Runs what is due, here and now, until nothing is. Calling it returns how many deliveries ended.

    `outcomes` holds (task name, outcome) of all, in order. Raises FnQueueError after 10,000 deliveries: then a
    task defers itself, or is tried again without a wait.
    """

    def __init__(self, runtime: Callable[[], Runtime]) -> None:
        self._runtime_of = runtime
        self.outcomes: list[tuple[str | None, Outcome]] = []

    def __call__(self, *queues: str) -> int:
        runtime = self._runtime_of()
        executor, settler = runtime.executor(worker="drain"), runtime.settler(worker="drain")
        count = 0
        while batch := self._receive(runtime, queues):
            ended: list[Ended] = []
            for delivery in batch:
                if runtime.control is not None:
                    executor.revoked = runtime.control.snapshot()
                outcome = executor.execute(delivery)
                if isinstance(outcome, Run):
                    outcome = asyncio.run(executor.execute_async(outcome))
                ended.append((delivery, outcome))
                settler.settle([(delivery, outcome)])
            self.outcomes += [(delivery.task_name, outcome) for delivery, outcome in ended]
            count += len(batch)
            if count > RUNS_MAX:
                raise FnQueueError(f"drain() ran {count:,} deliveries and there are more: does a task defer itself?")
        return count

    def _receive(self, runtime: Runtime, queues: Sequence[str]) -> list[Delivery]:
        self._send_parked(runtime)
        broker = runtime.engine.broker
        for queue in queues or broker.queues():
            if "__dead" not in queue:
                # One at a time: what a task does to the others (cancel, defer) is seen before they start.
                found = broker.receive(queue, max_messages=1, visibility_seconds=runtime.settings.visibility_seconds)
                if found:
                    return [Delivery(message) for message in found]
        return []

    def _send_parked(self, runtime: Runtime) -> None:
        engine = runtime.engine
        if runtime.parked is not None and engine.store is not None:
            Ticker(
                TickerPowers(
                    broker=engine.broker,
                    store=engine.store,
                    parked=runtime.parked,
                    clock=runtime.clock,
                    events=runtime.events,
                )
            ).tick()


@dataclass(slots=True)
class Sent:
    """A call that was deferred. `arguments` by name, defaults included."""

    id: str
    task: str
    arguments: dict[str, Any]
    queue: str


class _Recorder(Middleware):
    def __init__(self, fn: FnQueue) -> None:
        self._fn, self._made, self.sent = fn, dict[str, Sent](), list[Sent]()

    def send(self, call: OutgoingCall, call_next: SendNext) -> Any:
        prepared = call_next(call)
        if isinstance(prepared, Prepared):
            task = self._fn.registry.get(call.task)
            bound = task.binder.bound(call.args, call.kwargs)
            self._made[prepared.id] = Sent(prepared.id, call.task, bound, call.queue)
        return prepared

    def told(self, event: CallDeferred) -> None:
        made = self._made.pop(event.id, None)
        if made is not None:
            self.sent.append(made)


class AssertDeferred:
    """`assert_deferred(task, args=(7,), queue="billing", count=1)`; `assert_deferred.not_(task)`. Returns the calls."""

    def __init__(self, fn: FnQueue) -> None:
        runtime = fn.runtime()
        self._recorder = _Recorder(fn)
        runtime.middleware = [*runtime.middleware, self._recorder]
        runtime.__dict__.pop("dispatch", None)  # it was made without the recorder
        runtime.events.on(CallDeferred, self._recorder.told)

    @property
    def calls(self) -> list[Sent]:
        return list(self._recorder.sent)

    def __call__(
        self,
        task: Task[Any, Any, Any],
        *,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        queue: str | None = None,
        count: int | None = None,
    ) -> list[Sent]:
        """Some call of `task` was sent; with `args` or `kwargs` one with just these (defaults filled in)."""
        wanted = None if args is None and kwargs is None else task.binder.bound(tuple(args or ()), dict(kwargs or {}))
        found = [
            call
            for call in self._recorder.sent
            if call.task == task.name
            and (wanted is None or call.arguments == wanted)
            and (queue is None or call.queue == queue)
        ]
        if (count is None and not found) or (count is not None and len(found) != count):
            raise AssertionError(self._text(task, wanted, queue, count, len(found)))
        return found

    def not_(self, task: Task[Any, Any, Any]) -> None:
        """No call of `task` was sent."""
        self(task, count=0)

    def _text(
        self, task: Task[Any, Any, Any], wanted: dict[str, Any] | None, queue: str | None, count: int | None, found: int
    ) -> str:
        sent = "".join(f"\n  {call.task}({call.arguments}) to {call.queue}" for call in self._recorder.sent)
        what = f"{task.name}({'...' if wanted is None else wanted}){f' to {queue}' if queue else ''}"
        number = "at least 1" if count is None else str(count)
        return f"expected {number} call of {what}, found {found}. Deferred were:{sent or ' none'}"


@pytest.fixture
def clock() -> ManualClock:
    """Time that moves when you say so: `clock.advance(hours=3)`."""
    return ManualClock()


@pytest.fixture
def fn(clock: ManualClock) -> Iterator[FnQueue]:
    """An FnQueue on an engine in memory. Override it with your application's own: see `in_memory`."""
    with in_memory(FnQueue(), clock) as made:
        yield made


@pytest.fixture
def drain(fn: FnQueue) -> Drain:
    """`drain()` runs what is due, until nothing is."""
    return Drain(fn.runtime)


@pytest.fixture
def assert_deferred(fn: FnQueue) -> AssertDeferred:
    """`assert_deferred(task, args=(7,))` and `assert_deferred.not_(task)`."""
    return AssertDeferred(fn)
