"""What a running task holds: who it runs for, how long it may, and how to tell of its progress.

`bind=True` gives it as the first parameter; `fnqueue.current_task` is the same object anywhere below.
Its powers (writing progress, asking for more time) are handed in; it knows no store and no broker.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from datetime import datetime
from typing import Any

from fnqueue.clock import Clock, to_datetime
from fnqueue.errors import OptionInvalid, TaskRevoked
from fnqueue.security.principal import Principal

PROGRESS_INTERVAL_SECONDS = 1.0


class TaskContext:
    """One run of one task. Made by the worker; `current_task` outside a task raises RuntimeError."""

    __slots__ = (
        "_clock",
        "_deadline",
        "_extend",
        "_last_progress",
        "_report",
        "attempt",
        "baggage",
        "deferred_at",
        "fence",
        "id",
        "mandate",
        "principal",
        "queue",
        "revoked",
        "root",
        "task",
        "traceparent",
    )

    def __init__(
        self,
        *,
        id: str,
        task: str,
        attempt: int,
        queue: str,
        principal: Principal,
        deferred_at: float,
        fence: tuple[int, int],
        clock: Clock,
        deadline: Callable[[], float],
        report: Callable[[float, float | None, str], None] | None = None,
        extend: Callable[[], None] | None = None,
        traceparent: str | None = None,
        baggage: dict[str, str] | None = None,
        root: str | None = None,
        mandate: str | None = None,
    ) -> None:
        self.id, self.task, self.attempt, self.queue = id, task, attempt, queue
        self.principal, self.deferred_at, self.fence = principal, deferred_at, fence
        self.traceparent, self.baggage = traceparent, baggage or {}
        #: The id of the call that all began with: this one's own, unless a task made it.
        self.root = root or id
        #: Which calls a worker may make for the person that this one runs for: see security/mandate.
        self.mandate = mandate
        self.revoked = False
        self._clock, self._deadline, self._report, self._extend = clock, deadline, report, extend
        self._last_progress: tuple[float, float, float | None, str] | None = None

    @property
    def deadline(self) -> datetime:
        """Until when the message is ours, as known now; the heartbeat moves it while the task runs. Aware, UTC."""
        return to_datetime(self._clock.now() + self._deadline() - self._clock.monotonic())

    def progress(self, done: float, total: float | None = None, message: str = "") -> None:
        """Tell how far the task is: `done` of `total`, and a line for people. Written at most once a second.

        The first call is written at once, and so is one with done == total. Does nothing without a store.
        Raises TaskRevoked when the task was cancelled, OptionInvalid for a negative or endless number.
        """
        if self.revoked:
            raise TaskRevoked(f"task {self.id} was cancelled")
        for name, number in (("done", done), ("total", 0 if total is None else total)):
            if not isinstance(number, int | float) or not 0 <= number < float("inf"):
                raise OptionInvalid(f"progress({name}={number!r}): must be a number from 0 up")
        if self._report is None or not self._due(done, total):
            return
        self._last_progress = (self._clock.monotonic(), done, total, message)
        self._report(done, total, message[:500])

    def extend(self) -> None:
        """Ask the queue for another visibility timeout at once, besides the heartbeat.

        Raises TaskRevoked when the task was cancelled, ReceiptExpired when the message is no longer ours.
        """
        if self.revoked:
            raise TaskRevoked(f"task {self.id} was cancelled")
        if self._extend is not None:
            self._extend()

    def _due(self, done: float, total: float | None) -> bool:
        last = self._last_progress
        if last is None or (total is not None and done >= total and last[1] != done):
            return True
        return self._clock.monotonic() - last[0] >= PROGRESS_INTERVAL_SECONDS

    def __repr__(self) -> str:
        return f"<TaskContext {self.task} {self.id} attempt {self.attempt}>"


running: ContextVar[TaskContext | None] = ContextVar("fnqueue_running", default=None)


class _CurrentTask:
    """Stands for the context of the task that runs here and now."""

    __slots__ = ()

    def __getattr__(self, name: str) -> Any:
        context = running.get()
        if context is None:
            raise RuntimeError(
                f"current_task.{name}: no task is running here. It is there inside a function that a worker "
                "(or task.apply) runs; a direct call of the function has none."
            )
        return getattr(context, name)

    def __bool__(self) -> bool:
        return running.get() is not None

    def __repr__(self) -> str:
        return repr(running.get()) if self else "<current_task: none is running here>"


current_task: Any = _CurrentTask()
