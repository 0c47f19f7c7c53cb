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
from fnqueue.errors import NotYetSent, ResultTimeout, ResultUnreadable, TaskError, TaskFailed
from fnqueue.state.results import TERMINAL, Progress

R = TypeVar("R")
HoldState = Literal["held", "sent", "dropped", "failed"]
_NOT_SENT = {
    "held": "waits for the transaction, or the batch, that it was deferred in: ask after its end",
    "dropped": "was never sent: the transaction, or the batch, that it was deferred in was rolled back",
    "failed": "was never sent: its batch ended or its transaction committed, and after that the call could not be sent",
}
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
    @property
    def place(self) -> str:
        """Of the queue: the absolute path, or the url, as a worker's banner shows it."""
        ...

    def record(self, handle: Handle[Any], *, large: bool = True) -> Result[Any]: ...
    def cancel(self, handle: Handle[Any]) -> None: ...
    def status_token(self, handle: Handle[Any], expires_seconds: float) -> str: ...
    def wait(self, seconds: float) -> None:
        """Until the store may have changed, at most `seconds`."""
        ...


class Hold(Protocol):
    """Calls that wait: for a transaction's commit, or a batch's end. One way: held -> sent, dropped or failed."""

    def state_of(self, id: str) -> HoldState: ...
    def instead_of(self, id: str) -> str | None:
        """Another call that was sent in its place, because that has its dedupe key."""
        ...


class Handle(Generic[R]):
    """A deferred call. `id` has 26 characters and sorts by time."""

    __slots__ = ("_held", "_reads", "expires_at", "id", "queue", "task")

    def __init__(
        self,
        id: str,
        *,
        task: str,
        reads: Reads,
        expires_at: float | None = None,
        queue: str = "",
        held: Hold | None = None,
    ) -> None:
        self.id, self.task, self.expires_at, self.queue = id, task, expires_at, queue
        self._reads, self._held = reads, held

    @property
    def held(self) -> bool:
        """Whether the call still waits for its transaction to commit, or its batch to end."""
        return self._held is not None and self._held.state_of(self.id) == "held"

    @property
    def state(self) -> State:
        return self._look().state

    def record(self) -> Result[R]:
        """State, value, progress, attempts, times, error: one read of the store, and one more for a large value."""
        self._turn()
        return cast("Result[R]", self._reads.record(self))

    def _look(self) -> Result[R]:
        """The same without a large value."""
        self._turn()
        return cast("Result[R]", self._reads.record(self, large=False))

    def result(self, timeout_seconds: float | None = 10) -> R:
        """Wait for the end and return what the function returned. None waits for ever.

        Raises TaskFailed (FAILURE, REVOKED, EXPIRED, DENIED), ResultTimeout, NotYetSent (held for a commit),
        ResultUnreadable (it returned more than a store keeps), StoreMissing.
        """
        self._check_sent()
        clock = self._reads.clock
        started, pause = clock.monotonic(), 0.002
        while True:
            found = self.record()
            if found.state in TERMINAL:
                return self._value(found)
            left = None if timeout_seconds is None else started + timeout_seconds - clock.monotonic()
            if left is not None and left <= 0:
                raise ResultTimeout(self._late(found.state, timeout_seconds or 0))
            self._reads.wait(pause if left is None else min(pause, left))
            pause = min(pause * 1.5, 0.25)

    async def aresult(self, timeout_seconds: float | None = 10) -> R:
        """`result` for async views: the wait is in a thread."""
        import asyncio  # whoever awaits has it already; at the top it costs every import of fnqueue a fifth

        return await asyncio.to_thread(self.result, timeout_seconds)

    def cancel(self) -> None:
        """Revoke the call: from their next heartbeat on no worker starts it; while it runs, it is told within two."""
        self._turn()
        self._reads.cancel(self)

    def status_token(self, *, expires_seconds: float = 900) -> str:
        """A signed, expiring token with which this task's status may be read."""
        self._turn()
        return self._reads.status_token(self, expires_seconds)

    def follow(self, other: Handle[Any]) -> None:
        """Be what `other` is: another handle of the same call, or of the one that has its dedupe key."""
        self.id, self._held = other.id, other._held

    def _turn(self) -> None:
        """To the call that runs in the place of this one, if there is one."""
        instead = self._held.instead_of(self.id) if self._held is not None else None
        if instead is not None:
            self.id, self._held = instead, None

    def _late(self, state: State, seconds: float) -> str:
        said = f"task {self.id} is {state} after {seconds:g} s"
        if state == "PENDING":
            # Not "no worker took it": a run is first recorded at its end, or by a heartbeat.
            return (
                f"{said}: it has not ended, and may not have begun. Is a worker running (fnqueue worker) that serves "
                f"the queue {self.queue or 'of its task'!r} in {self._reads.place}?"
            )
        if state == "UNKNOWN":
            return f"{said}: nothing is kept of this id, or it is for others to read"
        return said

    def _check_sent(self) -> None:
        """Waiting here could keep the commit from coming, and what was dropped never ends."""
        self._turn()
        held = "sent" if self._held is None else self._held.state_of(self.id)
        if held != "sent":
            raise NotYetSent(f"task {self.id} ({self.task}) {_NOT_SENT[held]}")

    def _value(self, found: Result[R]) -> R:
        if found.state != "SUCCESS":
            raise TaskFailed(self.id, found.state, found.error)
        if found.error is not None:  # it ran, and what it returned is not there
            raise ResultUnreadable(f"task {self.id} ({found.task}) succeeded, and {found.error.message}")
        return cast("R", found.value)

    def __deepcopy__(self, memo: object) -> Handle[R]:
        """The same: Django's TestCase copies for each test what `setUpTestData` kept."""
        return self

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
