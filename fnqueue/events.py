"""What happened: one frozen record each (a Struct: making 20 dataclasses costs an import 20 ms). This file is the
telemetry's documentation.

Events tell and may not change anything: a subscriber that raises is reported and passed over.
Logs, metrics, traces and alerts are subscribers; backends never log. No event carries an argument,
a result, or a key. Times are unix seconds, durations seconds.
Knows nothing of who publishes or listens.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from fnqueue import forks

E = TypeVar("E")
_log = logging.getLogger("fnqueue.events")


# ------------------------------------------------------------------ sending


class CallDeferred(msgspec.Struct, frozen=True, kw_only=True):
    """A call is durable in its queue (or parked, with `delay_seconds`)."""

    id: str
    task: str
    queue: str
    principal_kind: str
    bytes: int
    delay_seconds: float = 0


class CallHeld(msgspec.Struct, frozen=True, kw_only=True):
    """A call was made in a transaction and waits for its commit. CallDeferred follows, or CallDropped."""

    id: str
    task: str
    queue: str
    principal_kind: str


class CallDropped(msgspec.Struct, frozen=True, kw_only=True):
    """A held call is not sent: its transaction was rolled back, or (`error`) the queue refused it after the commit."""

    id: str
    task: str
    queue: str
    error: str | None = None


class ScheduleFired(msgspec.Struct, frozen=True, kw_only=True):
    """A schedule made a call for one of its times, and the queue has it. `late_seconds`: after that time."""

    schedule: str
    task: str
    time: str
    id: str
    late_seconds: float


class ScheduleSkipped(msgspec.Struct, frozen=True, kw_only=True):
    """One or more times of a schedule, from `time` on, make no call: missed, overlapping, or refused."""

    schedule: str
    task: str
    time: str
    reason: str


class CallDenied(msgspec.Struct, frozen=True, kw_only=True):
    """A policy said no at defer: nothing was sent."""

    task: str
    principal_kind: str
    reason: str
    principal: str | None = None  # "user:7"


# ------------------------------------------------------------------ running


class TaskStarted(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    task: str
    queue: str
    attempt: int


class TaskEnded(msgspec.Struct, frozen=True, kw_only=True):
    """One delivery came to its outcome and was settled. The base of the events below.

    `wait_seconds`: from due (deferred, or its delay's end) to start, where known.
    """

    id: str
    task: str
    queue: str
    attempt: int
    wait_seconds: float | None
    duration_seconds: float | None
    traceparent: str | None = None


class TaskSucceeded(TaskEnded, frozen=True, kw_only=True):
    pass


class TaskRescheduled(TaskEnded, frozen=True, kw_only=True):
    """It runs again. Without a duration it did not begin: its user could not be loaded, or its policy not be asked."""

    delay_seconds: float
    error_type: str | None
    error_message: str | None = None


class TaskFailed(TaskEnded, frozen=True, kw_only=True):
    """`frames`: the traceback as text, for the log; without locals. `dead_letter`: a copy was kept there."""

    error_type: str
    error_message: str
    frames: tuple[str, ...] = ()
    expected: bool = False
    dead_letter: bool = False


class TaskDeadLettered(TaskEnded, frozen=True, kw_only=True):
    reason: str


class TaskReleased(TaskEnded, frozen=True, kw_only=True):
    """Given back: the worker stopped first."""


class RanAs(msgspec.Struct, frozen=True, kw_only=True):
    """A task with `runs_as=` was let through, and acts as that service. `principal`: for whom, "user:7"."""

    id: str
    task: str
    service: str
    principal: str


class MessageRefused(msgspec.Struct, frozen=True, kw_only=True):
    """A message may not run. `fate`: hidden, parked, dead-lettered, deleted. `id` and `task` only once proven."""

    code: str
    fate: str
    queue: str
    detail: str
    id: str | None = None
    task: str | None = None
    body_sha256: str | None = None  # of a hostile body, and of one whose id is not proven


class LeaseLost(msgspec.Struct, frozen=True, kw_only=True):
    """The receipt's deadline passed before the outcome could be settled; a twin may run."""

    id: str | None
    task: str | None
    queue: str


# ------------------------------------------------------------------ keys


class KeysLoaded(msgspec.Struct, frozen=True, kw_only=True):
    """This process has its keys, or (`again`) has read others. `keys`: state and id of each, "primary abcdefgh"."""

    keys: tuple[str, ...]
    again: bool


# ------------------------------------------------------------------ the worker


class WorkerStarted(msgspec.Struct, frozen=True, kw_only=True):
    worker: str
    queues: tuple[str, ...]
    tasks: int


class WorkerStopping(msgspec.Struct, frozen=True, kw_only=True):
    worker: str
    running: int
    waiting: int


class WorkerStopped(msgspec.Struct, frozen=True, kw_only=True):
    worker: str
    released: int


class EngineTrouble(msgspec.Struct, frozen=True, kw_only=True):
    """An engine failed and will be asked again in `retry_seconds`. `what`: receive, settle, heartbeat, ticker."""

    what: str
    queue: str | None
    error: str
    retry_seconds: float


class EngineRecovered(msgspec.Struct, frozen=True, kw_only=True):
    what: str
    queue: str | None


class Events:
    """Subscribers by type of event; a subscriber of a base class hears its subclasses. Safe between threads."""

    def __init__(self) -> None:
        self._subscribers: list[tuple[type[Any], Callable[[Any], None]]] = []
        self._by_type: dict[type[Any], tuple[Callable[[Any], None], ...]] = {}
        self._lock = forks.ProcessLock()

    def on(self, event: type[E], callback: Callable[[E], None]) -> Callable[[], None]:
        """Call `callback` at each event of this type. Returns a function that ends it."""
        entry = (event, callback)
        with self._lock.here():
            self._subscribers.append(entry)
            self._by_type = {}

        def off() -> None:
            with self._lock.here():
                if entry in self._subscribers:
                    self._subscribers.remove(entry)
                self._by_type = {}

        return off

    def wanted(self, event: type[Any]) -> bool:
        """Whether anybody listens: spares the hot path making events for nobody."""
        return bool(self._listeners(event))

    def publish(self, event: object) -> None:
        for callback in self._listeners(type(event)):
            try:
                callback(event)
            except (Exception, SystemExit):  # `sys.exit()` would end a thread of the worker's
                _log.exception("a subscriber of %s failed; it is passed over", type(event).__name__)

    def _listeners(self, event: type[Any]) -> tuple[Callable[[Any], None], ...]:
        found = self._by_type.get(event)
        if found is None:
            with self._lock.here():
                found = tuple(callback for kind, callback in self._subscribers if issubclass(event, kind))
                self._by_type[event] = found
        return found
