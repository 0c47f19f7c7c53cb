"""What `defer` returns: a call's id, and the way to its state and result.

A handle is given its powers (`Reads`); it knows no app, no store and no key. Reading asks the store each
time and keeps nothing.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, Literal, Protocol, TypeVar, cast

from fnqueue.clock import Clock
from fnqueue.errors import ResultTimeout, ResultUnreadable, TaskError, TaskFailed
from fnqueue.state.results import TERMINAL, Progress

R = TypeVar("R")
State = Literal["PENDING", "STARTED", "RETRY", "SUCCESS", "FAILURE", "REVOKED", "EXPIRED", "DENIED", "UNKNOWN"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Result(Generic[R]):
    """One look at a task's record. `attempts` counts runs of the function. Times are aware, UTC."""

    id: str
    task: str
    state: State
    value: R | None = None
    error: TaskError | None = None
    progress: Progress | None = None
    attempts: int = 0
    deferred_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None


class Reads(Protocol):
    """The powers of a handle. Each raises StoreMissing where there is no store."""

    @property
    def clock(self) -> Clock: ...
    def record(self, handle: Handle[Any]) -> Result[Any]: ...
    def cancel(self, handle: Handle[Any]) -> None: ...
    def status_token(self, handle: Handle[Any], expires_seconds: float) -> str: ...
    def wait(self, seconds: float) -> None:
        """Until the store may have changed, at most `seconds`."""
        ...


class Handle(Generic[R]):
    """A deferred call. `id` has 26 characters and sorts by time."""

    __slots__ = ("_reads", "expires_at", "id", "queue", "task")

    def __init__(self, id: str, *, task: str, reads: Reads, expires_at: float | None = None, queue: str = "") -> None:
        self.id, self.task, self.expires_at, self.queue = id, task, expires_at, queue
        self._reads = reads

    @property
    def state(self) -> State:
        return self.record().state

    def record(self) -> Result[R]:
        """State, progress, attempts, times, error: one read of the store."""
        return cast("Result[R]", self._reads.record(self))

    def result(self, timeout_seconds: float | None = 10) -> R:
        """Wait for the end and return what the function returned. None waits for ever.

        Raises TaskFailed (FAILURE, REVOKED, EXPIRED, DENIED), ResultTimeout, NotYetSent (held for a commit),
        ResultUnreadable (it returned more than a store keeps), StoreMissing.
        """
        clock = self._reads.clock
        started, pause = clock.monotonic(), 0.002
        while True:
            found = self.record()
            if found.state in TERMINAL:
                return self._value(found)
            left = None if timeout_seconds is None else started + timeout_seconds - clock.monotonic()
            if left is not None and left <= 0:
                raise ResultTimeout(f"task {self.id} is {found.state} after {timeout_seconds:g} s")
            self._reads.wait(pause if left is None else min(pause, left))
            pause = min(pause * 1.5, 0.25)

    async def aresult(self, timeout_seconds: float | None = 10) -> R:
        """`result` for async views: the wait is in a thread."""
        import asyncio  # whoever awaits has it already; at the top it costs every import of fnqueue a fifth

        return await asyncio.to_thread(self.result, timeout_seconds)

    def cancel(self) -> None:
        """Revoke the call: obeyed before its start, and within two heartbeats while it runs."""
        self._reads.cancel(self)

    def status_token(self, *, expires_seconds: float = 900) -> str:
        """A signed, expiring token with which this task's status may be read."""
        return self._reads.status_token(self, expires_seconds)

    def _value(self, found: Result[R]) -> R:
        if found.state != "SUCCESS":
            raise TaskFailed(self.id, found.state, found.error)
        if found.error is not None:  # it ran, and what it returned is not there
            raise ResultUnreadable(f"task {self.id} ({found.task}) succeeded, and {found.error.message}")
        return cast("R", found.value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Handle) and other.id == self.id

    def __hash__(self) -> int:
        return hash(self.id)

    def __repr__(self) -> str:
        return f"<Handle {self.task} {self.id}>"


def pause(clock: Clock, seconds: float) -> None:
    """Let `seconds` of `clock` pass, holding nothing."""
    condition = threading.Condition()
    with condition:
        clock.wait(condition, seconds)
