"""What a handle may do: read a record, cancel, make a status token; and what a status token may read.

All of it over the store and the keys of one runtime. Who may not read sees what a stranger sees: UNKNOWN, or
not found. Knows no framework.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from fnqueue import codec
from fnqueue.clock import Clock, to_datetime
from fnqueue.errors import (
    EnvelopeError,
    KeysMissing,
    OptionInvalid,
    ResultUnreadable,
    StoreMissing,
    TaskError,
    TokenInvalid,
)
from fnqueue.operating import REVOKED_FOR_SECONDS
from fnqueue.security.blobs.reference import Reference
from fnqueue.security.ids import is_id
from fnqueue.security.principal import Principal
from fnqueue.state.results import RESULT_TOO_LARGE, Results, TaskRecord
from fnqueue.task.handle import Handle, Result, State, pause
from fnqueue.task.task import Task

if TYPE_CHECKING:
    from fnqueue.runtime import Runtime

ASKS = "asks "  # before a token's subject: made from a bare id, so the task's `read` policy decides at each reading
SESSION = "session:"  # no kind of principal

TOO_LARGE = TaskError(
    "ResultTooLarge",
    "it returned more than a store keeps in one record (256 KiB), and that could not be kept elsewhere "
    "(FNQUEUE_BLOBS_URL; at most 64 MiB): return where it is, as a path or id",
)


class StoreReads:
    """`asked_by` None: the caller holds the handle that `defer` gave, and may read it."""

    def __init__(self, runtime: Runtime, *, asked_by: Principal | None, subject: Callable[[], Principal]) -> None:
        self._runtime, self._asked_by, self._subject = runtime, asked_by, subject

    @property
    def clock(self) -> Clock:
        return self._runtime.clock

    @property
    def place(self) -> str:
        engine = self._runtime.engine
        in_memory = engine.embedded and engine.path is None
        return "this process's memory, which no other can see" if in_memory else engine.queue_shown

    def record(self, handle: Handle[Any], *, large: bool = True) -> Result[Any]:
        """Not `large`: a value that no record has room for is not fetched from where it is, and left out."""
        results = self._results("reading a state or result")
        found = results.read(handle.id) if _is_id(handle.id) else None
        if found is None or not found.readable:  # one that no key of ours sealed says nothing
            known = handle.expires_at is not None and self.clock.now() < handle.expires_at
            return Result(id=handle.id, task=handle.task, state="PENDING" if known else "UNKNOWN")
        if not self._may_read(found):
            return Result(id=handle.id, task=handle.task, state="UNKNOWN")
        if large and found.elsewhere is not None:
            found = self._fetched(found, found.elsewhere)
        return to_result(found, self._runtime.registry.find(found.task))

    def _fetched(self, found: TaskRecord, elsewhere: Reference) -> TaskRecord:
        blobs = self._runtime.blobs
        if blobs is None:
            return found.changed(error=TaskError("ResultMissing", "its large result is elsewhere (FNQUEUE_BLOBS_URL)"))
        try:
            return found.changed(value_json=blobs.get(elsewhere))
        except EnvelopeError as error:
            return found.changed(error=TaskError("ResultMissing", f"its large result is lost: {error.code}"))

    def cancel(self, handle: Handle[Any]) -> None:
        runtime = self._runtime
        if runtime.control is None:
            raise StoreMissing("cancel()")
        if self._asked_by is not None:
            runtime.operating.revoke_id(handle.id, self._asked_by, expires_at=handle.expires_at)
        elif is_id(handle.id):
            expires_at = runtime.operating.expiry(handle.id, handle.expires_at, None)
            runtime.control.revoke("id", handle.id, until=max(expires_at, self.clock.now() + REVOKED_FOR_SECONDS))

    def status_token(self, handle: Handle[Any], expires_seconds: float) -> str:
        if not 1 <= expires_seconds <= 31_536_000:
            raise OptionInvalid(f"expires_seconds={expires_seconds!r}: must be 1 to 31,536,000 (a year)")
        self._results("a status token")
        from fnqueue.security import tokens  # not at the top: itsdangerous is for those who show states

        return tokens.make(
            self._runtime.ring(),
            id=handle.id,
            task=handle.task,
            subject=("" if self._asked_by is None else ASKS) + self._bound_to(),
            call_expires_at=handle.expires_at or 0,
            expires_at=self.clock.now() + expires_seconds,
        )

    def by_token(self, token: str) -> Result[Any]:
        """The result that a token names. Raises TokenInvalid: unknown, foreign, altered and expired look alike."""
        return self._by_token(token)[0]

    def _by_token(self, token: str) -> tuple[Result[Any], bool]:
        """And whether the token was made from a bare id."""
        from fnqueue.security import tokens

        ring, now, asker = self._runtime.ring(), self.clock.now(), self._subject()
        asking = StoreReads(self._runtime, asked_by=asker, subject=self._subject)
        for subject in self._subjects(asker):
            # What was made from a bare id, by whoever asked, opens no more than that id does.
            for mark, reads in (("", self), (ASKS, asking)):
                try:
                    claims = tokens.read(ring, token, subject=mark + subject, now=now)
                except TokenInvalid:
                    continue
                expires_at = claims.call_expires_at
                handle: Handle[Any] = Handle(claims.id, task=claims.task, reads=reads, expires_at=expires_at)
                return reads.record(handle, large=False), mark == ASKS
        raise TokenInvalid

    def status(self, token: str) -> dict[str, Any]:
        """What a status page shows. Raises TokenInvalid: also for a call of which nothing is known (any more).

        A bare id does not say how long its call may wait, and one that waits has no record: it is UNKNOWN, for now.
        """
        found, of_bare_id = self._by_token(token)
        if found.state == "UNKNOWN" and not of_bare_id:
            raise TokenInvalid
        return status_json(found)

    def _bound_to(self) -> str:
        """Whoever asks now: a user, or the session of a visitor who has one."""
        asker = self._subject()
        marker = self._runtime.hooks.session(True) if asker.kind == "anonymous" else None
        return asker.subject if marker is None else SESSION + marker

    def _subjects(self, asker: Principal) -> Iterator[str]:
        yield asker.subject
        marker = self._runtime.hooks.session(False)  # of a visitor who may have logged in since
        if marker is not None:
            yield SESSION + marker

    def wait(self, seconds: float) -> None:
        pause(self.clock, seconds)

    def _results(self, what: str) -> Results:
        if self._runtime.results is None:
            raise StoreMissing(what)
        key = self._runtime.ring().primary
        if not key.purposes:  # or every record would look like one of somebody else's
            raise KeysMissing(key.lacks("state"))
        return self._runtime.results

    def _may_read(self, record: TaskRecord) -> bool:
        return self._asked_by is None or self._runtime.operating.may_read(record, self._asked_by)


def _is_id(id: Any) -> bool:
    """Whether a call may have it. What stands in a request's url may be anything, and is UNKNOWN, not an error."""
    return isinstance(id, str) and is_id(id)


def to_result(record: TaskRecord, task: Task[Any, Any, Any] | None = None) -> Result[Any]:
    state: State = record.state  # type: ignore[assignment]
    return Result(
        id=record.id,
        task=record.task,
        state=state,
        value=result_value(record.value_json, task) if record.value_json is not None else None,
        error=TOO_LARGE if record.reason == RESULT_TOO_LARGE else record.error,
        progress=record.progress,
        attempts=record.attempts,
        deferred_at=to_datetime(record.deferred_at) if record.deferred_at is not None else None,
        started_at=to_datetime(record.started_at) if record.started_at is not None else None,
        finished_at=to_datetime(record.finished_at) if record.finished_at is not None else None,
    )


def result_value(stored: bytes, task: Task[Any, Any, Any] | None) -> Any:
    """What the task returned. Where its class is unknown here, or has changed since, its plain fields."""
    if task is not None:
        try:
            return task.binder.result_from_json(stored)
        except ResultUnreadable:
            pass  # the state must stay readable across a deploy
    return codec.result_from_json(stored)


def status_json(result: Result[Any]) -> dict[str, Any]:
    """What a status page may show: no traceback and no message of an exception, only its type."""
    progress = result.progress
    return {
        "id": result.id,
        "task": result.task,
        "state": result.state,
        "attempts": result.attempts,
        "progress": {"done": progress.done, "total": progress.total, "message": progress.message} if progress else None,
        "error": result.error.type if result.error else None,
        "result": result.value if _plain(result.value) else None,
        "deferred_at": result.deferred_at.isoformat() if result.deferred_at else None,
        "started_at": result.started_at.isoformat() if result.started_at else None,
        "finished_at": result.finished_at.isoformat() if result.finished_at else None,
    }


def _plain(value: Any) -> bool:
    if isinstance(value, dict):
        return all(_plain(item) for item in value.values())
    if isinstance(value, list):
        return all(_plain(item) for item in value)
    return value is None or isinstance(value, str | int | float | bool)
