"""Eager mode: a call runs as soon as it has left, in the thread that deferred it, before `defer` returns.

Nothing is left out: it is sealed, sent to the engine in memory, received, opened, its policy asked again, run and
settled. A call that is held for a commit runs after the commit. Retries run at their time: the clock is turned to it.
What a task defers runs when that task has ended, in the order of the calls: nothing is nested, however deep it goes.
A call with a delay waits for `advance`.

It is no setting, so that it cannot be left on: it is bound to an engine in memory, and ends with that.
"""

from __future__ import annotations

import threading

from fnqueue.errors import FnQueueError, TaskError, TaskFailed
from fnqueue.execution.delivery import Delivery
from fnqueue.outcome import ENDED, DeadLettered, Failed, Outcome, Refused, Rescheduled
from fnqueue.runtime import Runtime
from fnqueue.testing.drain import Drain


class Eager:
    """`propagate`: what a task raises when it fails for good comes out of `defer`; else the handle says FAILURE.

    Raises FnQueueError where the engine is not in memory.
    """

    def __init__(self, runtime: Runtime, *, propagate: bool = False) -> None:
        if not runtime.engine.embedded or runtime.engine.path is not None:
            raise FnQueueError(
                f"eager mode is for tests on an engine in memory, and this is {runtime.engine.queue_shown}: "
                "fnqueue.testing.in_memory(fn, eager=True)"
            )
        self.propagate = propagate
        self._drain = Drain(lambda: runtime, told=self._told, raised=self._raised)
        self._lock = threading.Lock()
        self._busy = self._wanted = False
        self._retrying: set[str | None] = set()
        self._raised_by: dict[str | None, Exception] = {}
        self._failures: list[Exception] = []
        runtime.sent = self.work

    @property
    def outcomes(self) -> list[tuple[str | None, Outcome]]:
        """(task name, outcome) of all that ran, in order."""
        return self._drain.outcomes

    def work(self) -> None:
        """Run what is there. The thread that does takes up what comes meanwhile, from tasks and from other threads."""
        with self._lock:
            self._wanted = True
            if self._busy:
                return
            self._busy = True
        try:
            while self._is_wanted():
                self._run()
        except BaseException:
            self._busy = False
            raise
        failures, self._failures = self._failures, []
        if self.propagate and failures:
            raise failures[0]

    def _is_wanted(self) -> bool:
        with self._lock:
            self._busy, self._wanted = self._wanted, False
            return self._busy

    def _run(self) -> None:
        self._drain()
        while self._retrying and self._drain.step():
            pass

    # ---------------------------------------------------------------- what it hears

    def _raised(self, delivery: Delivery, error: BaseException) -> None:
        if isinstance(error, Exception):
            self._raised_by[delivery.id] = error

    def _told(self, delivery: Delivery, outcome: Outcome) -> None:
        raised = self._raised_by.pop(delivery.id, None)
        if isinstance(outcome, Rescheduled):
            self._retrying.add(delivery.id)
            return
        self._retrying.discard(delivery.id)
        match outcome:
            case Failed(error):
                self._failures.append(raised or _failed(delivery, "FAILURE", error))
            case DeadLettered(reason, error):
                self._failures.append(_failed(delivery, "FAILURE", error or TaskError("DeadLetter", reason)))
            case Refused(code, detail) if code in ENDED:
                self._failures.append(_failed(delivery, code, TaskError(code, detail)))


def _failed(delivery: Delivery, state: str, error: TaskError) -> TaskFailed:
    return TaskFailed(str(delivery.id), state, error)
