"""A worker by hand: one delivery at a time, in the calling thread, by the code of the real one.

The one thing to understand is the empty context: a worker's threads have nothing of the request, the user, the batch
or the transaction's variables that a test holds open around `drain()`, so a run here has nothing of them either.
Knows nothing of what a test asks; `drain.py` says when, `chaos.py` in which order and how often.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from contextvars import Context
from typing import Any

from fnqueue.broker.names import is_dead_letter
from fnqueue.errors import FnQueueError
from fnqueue.execution.admitting import Run
from fnqueue.execution.apply import IN_CALLERS_THREAD, run_coroutine
from fnqueue.execution.delivery import Delivery
from fnqueue.outcome import Outcome
from fnqueue.runtime import Runtime
from fnqueue.scheduling.admission import Admission
from fnqueue.scheduling.ticking import ScheduleTicker
from fnqueue.task.options import Draw
from fnqueue.worker.ticker import Ticker, TickerPowers

Raised = Callable[[Delivery, BaseException], None]
#: What a framework's tests put around each run, where a worker would do without.
Around = Callable[[], AbstractContextManager[Any]]


class Hand:
    """`around` each run; `raised` is told what tasks raise; `draw` says how long a wait with jitter is."""

    def __init__(self, runtime: Runtime, around: Around, *, raised: Raised | None, draw: Draw = random.uniform) -> None:
        self.runtime, self._around = runtime, around
        self.executor = runtime.executor(
            worker="drain",
            delete_first=self._delete_first,
            raised=raised,
            draw=draw,
            exchange=Admission(runtime).exchange,
            **IN_CALLERS_THREAD,
        )
        self.settler = runtime.settler(worker="drain")

    def next(self, queues: Sequence[str]) -> Delivery | None:
        """The next delivery that is due in one of `queues`, or in any."""
        self.send_parked()
        for queue in self.served(queues):
            # One at a time: what a task does to the others (cancel, defer) is seen before they start.
            if found := self.receive(queue, 1):
                return found[0]
        return None

    def do(self, delivery: Delivery) -> Outcome | None:
        """Run and settle it. None: there is no outcome to tell."""
        outcome = self.run(delivery)
        self.settler.settle([(delivery, outcome)])
        return outcome

    def more_in_seconds(self, queues: Sequence[str]) -> float | None:
        """So much time must pass before the work is done, for what was kept back on purpose. None: it is done."""
        return None

    def due_seconds(self, queues: Sequence[str] = ()) -> float | None:
        """Until something is due that is hidden, delayed, parked or scheduled. None: nothing is."""
        runtime = self.runtime
        due_seconds = getattr(runtime.engine.broker, "due_seconds", None)
        if due_seconds is None:
            raise FnQueueError("time can be turned only on an engine in memory: fnqueue.testing.in_memory(fn)")
        seconds = [due_seconds(self.served(queues))]
        for waiting in (runtime.parked, runtime.schedules):
            if waiting is not None and (due := waiting.next_due()) is not None:
                seconds.append(max(0.0, due - runtime.clock.now()))
        return min((each for each in seconds if each is not None), default=None)

    # ---------------------------------------------------------------- steps

    def served(self, queues: Sequence[str]) -> list[str]:
        """Not the dead-letter queues: a worker does not run them either."""
        return [queue for queue in queues or self.runtime.engine.broker.queues() if not is_dead_letter(queue)]

    def receive(self, queue: str, count: int) -> list[Delivery]:
        runtime = self.runtime
        messages = runtime.engine.broker.receive(
            queue, max_messages=count, visibility_seconds=runtime.settings.visibility_seconds
        )
        return [Delivery(message, received_at=runtime.clock.monotonic()) for message in messages]

    def run(self, delivery: Delivery) -> Outcome:
        if self.runtime.control is not None:
            self.executor.revoked = self.runtime.control.snapshot()
        return Context().run(self._run, delivery)

    def _run(self, delivery: Delivery) -> Outcome:
        with self._around():
            outcome = self.executor.execute(delivery)
            return run_coroutine(self.executor, outcome) if isinstance(outcome, Run) else outcome

    def _delete_first(self, delivery: Delivery) -> bool:
        return not self.runtime.engine.broker.delete(delivery.queue, [delivery.receipt])

    def send_parked(self) -> None:
        """What a worker's ticker does."""
        runtime = self.runtime
        engine = runtime.engine
        if runtime.parked is not None and engine.store is not None:
            Ticker(
                TickerPowers(
                    broker=engine.broker,
                    store=engine.store,
                    parked=runtime.parked,
                    clock=runtime.clock,
                    events=runtime.events,
                    schedules=ScheduleTicker(runtime).tick,
                )
            ).tick()
