"""What became of a task: one record per call, its state in clear, its contents sealed.

The functions that tell of a step return the `Record` to be written and write nothing, so that settlement
puts all writes of a batch into one list: `store.put_many(records, fenced=True)`. None in its answer means
that a newer delivery wrote, or that the task had ended: the writer is late. A `TaskRecord` is the noun that
goes in and comes out: a worker makes one for a first delivery and takes up the one it reads for a later one.

Clear: what tables and redelivery need. Sealed, in one piece: the value, the error, the progress message, the
principal and which call it is. The seal binds the id, the state, the counts and the fence, so that whoever can
write to the store but has no key can neither move a result to another call nor turn a failure into a success:
such a record comes back with `readable=False` and proves nothing.
Knows a store and two callables that seal; knows no app, no broker and no key.
"""

from __future__ import annotations

import heapq
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import attrgetter
from typing import Any, Final

import msgspec

from fnqueue import quotas
from fnqueue.clock import Clock, to_datetime
from fnqueue.errors import Fenced, FnQueueError, TaskError, VersionConflict
from fnqueue.security.blobs.reference import Reference
from fnqueue.state import stored
from fnqueue.store.base import Fence, Record, Store

#: `(purpose_id, data) -> bytes`. Unsealing raises an FnQueueError for what was altered or sealed by other keys.
Seal = Callable[[str, bytes], bytes]

KIND: Final = "task"
TERMINAL: Final = frozenset({"SUCCESS", "FAILURE", "REVOKED", "EXPIRED", "DENIED"})
#: The reason code of a SUCCESS whose value was larger than a store keeps: the task ran, its value is gone.
RESULT_TOO_LARGE: Final = "result_too_large"
#: An ended task's record stays at least so long, whatever `keep_*_seconds` say: a message whose deletion
#: failed comes back within its visibility timeout, and must find that it is done.
KEEP_SECONDS_MIN: Final = 3600

# The table of recent tasks: a bucket per group, day and shard. Four shards carry 4,000 writes a second on
# DynamoDB, where a partition of an index takes 1,000; a failure is found without walking over successes.
_GROUPS: Final = {"SUCCESS": "ok", "STARTED": "live", "RETRY": "live", "PENDING": "live"}
GROUPS: Final = ("live", "ok", "bad")
_SHARDS: Final = 4
_DAY_SECONDS: Final = 86_400

_MESSAGE_CHARS_MAX: Final = 8192
_FRAMES_MAX: Final = 50
_LINE_CHARS_MAX: Final = 1000
_CURSOR: Final = re.compile(r"([0-9]{1,7}) ([0-9]{13} \S{1,200})")


@dataclass(frozen=True, slots=True)
class Progress:
    """`done` of `total` (None: unknown), a line for people, and when it was said (aware, UTC)."""

    done: float
    total: float | None
    message: str
    at: datetime


class TaskRecord(msgspec.Struct, frozen=True, kw_only=True):
    """Times are unix seconds. `queue` is logical. `expires_at` is the envelope's `ex`.

    `attempts` counts runs of the function, this one included. `starts` counts those that were written down
    (a first delivery that ends quickly never is), `crashes` those of them that no outcome followed.
    `principal` is its id, `call` the digest by which another call under the same id is told (None: written before
    there was one). `version` 0: never written. A Struct, because one is made for every task, and a frozen
    dataclass of this size costs ten times as much; `changed` is its `dataclasses.replace`.
    `readable` is False where the sealed part could not be opened; what is in it is None then.
    """

    id: str
    task: str
    queue: str
    expires_at: float
    state: str = "PENDING"
    attempts: int = 1
    starts: int = 0
    crashes: int = 0
    deferred_at: float | None = None
    started_at: float | None = None
    finished_at: float | None = None
    value_json: bytes | None = None
    elsewhere: Reference | None = None  # where the value is, when it is not here
    error: TaskError | None = None
    progress: Progress | None = None
    principal: str | None = None
    call: bytes | None = None
    worker: str | None = None
    reason: str | None = None
    fence: Fence = (0, 0)
    version: int = 0
    readable: bool = True

    def __repr__(self) -> str:
        return f"<TaskRecord {self.id} of {self.task}, {self.state}>"

    @property
    def final(self) -> bool:
        return self.state in TERMINAL

    def changed(self, **fields: Any) -> TaskRecord:
        return msgspec.structs.replace(self, **fields)


class RecentPage(msgspec.Struct, frozen=True):
    """`cursor` goes into the next `recent`; None: there is no more in the days asked for."""

    records: list[TaskRecord]
    cursor: str | None


class _Sealed(msgspec.Struct, array_like=True, frozen=True):
    value: bytes | None
    error: tuple[str, str, tuple[str, ...]] | None
    message: str
    principal: str | None
    call: bytes | None = None
    elsewhere: Reference | None = None


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Sealed).decode


class Results:
    """`unseal` None: tables without contents, for a process that holds no state key (the dashboard)."""

    def __init__(self, store: Store, clock: Clock, seal: Seal, unseal: Seal | None, environment: str = "") -> None:
        """`environment`: several may share a store, each with a table of its own."""
        self._store, self._clock, self._seal, self._unseal = store, clock, seal, unseal
        self._before = f"{environment} "  # what buckets begin with

    # ---------------------------------------------------------------- the course of a task: records to be written

    def again(self, known: TaskRecord, *, fence: Fence, worker: str | None) -> TaskRecord:
        """What a redelivery takes up: the next attempt, about to be written with `started`.

        A start that no outcome followed (state STARTED) was a crash. After `released` or a retry it was not.
        Give it to `write_started` before running, unless `crashes` is too many.
        """
        crashed = known.state == "STARTED"
        return known.changed(
            attempts=known.attempts + 1,
            starts=known.starts + 1,
            crashes=known.crashes + crashed,
            started_at=self._clock.now(),
            progress=None,
            worker=worker,
            fence=fence,
        )

    def started(self, task: TaskRecord) -> Record:
        """Running. See `write_started`."""
        return self._record(task, "STARTED", starts=max(1, task.starts), error=task.error, progress=task.progress)

    def write_started(self, task: TaskRecord) -> TaskRecord | None:
        """Write `started` now, and return the task at its new version. None: another write came first; drop it.

        A first delivery's heartbeat calls this: the task may be settled at this very moment under the same fence, and
        a STARTED after its RETRY would look like a crash. So the write is bound to the version. A redelivery that
        gets None has a twin that runs, or that has ended it.
        """
        try:
            written = self._store.put(self.started(task), if_version=task.version, fenced=True)
        except (VersionConflict, Fenced):
            return None
        return task.changed(state="STARTED", starts=max(1, task.starts), version=written.version)

    def progressed(self, task: TaskRecord, done: float, total: float | None, message: str = "") -> Record:
        progress = Progress(done, total, _said(message, _LINE_CHARS_MAX), to_datetime(self._clock.now()))
        return self._record(task, "STARTED", starts=max(1, task.starts), error=task.error, progress=progress)

    def retrying(self, task: TaskRecord, error: TaskError | None = None, *, counts: bool = True) -> Record:
        """It runs again. `counts=False` (a snooze): this run was no attempt."""
        return self._record(task, "RETRY", attempts=task.attempts - (not counts), error=error)

    def released(self, task: TaskRecord) -> Record | None:
        """Given back before its end: neither an attempt nor a crash. None: no start was written."""
        if task.version == 0 or task.state != "STARTED":
            return None
        return self._record(task, "PENDING", attempts=max(0, task.attempts - 1), error=task.error)

    def succeeded(self, task: TaskRecord, value_json: bytes, *, keep_seconds: float) -> Record:
        """The value is kept for `keep_seconds`; 0 keeps none. One too large is dropped (RESULT_TOO_LARGE)."""
        value = value_json if keep_seconds > 0 else None
        if value is None or len(value) <= quotas.FIELD_BYTES_MAX:
            record = self._record(task, "SUCCESS", value=value, keep_seconds=keep_seconds)
            if len(record.fields["sealed"]) <= quotas.FIELD_BYTES_MAX:  # type: ignore[arg-type]
                return record
        return self._record(task, "SUCCESS", reason=RESULT_TOO_LARGE, keep_seconds=keep_seconds)

    def succeeded_elsewhere(self, task: TaskRecord, elsewhere: Reference, *, keep_seconds: float) -> Record:
        """The value is larger than a record, and was put where large contents are."""
        return self._record(task, "SUCCESS", elsewhere=elsewhere, keep_seconds=keep_seconds)

    def failed(self, task: TaskRecord, error: TaskError | None, *, keep_seconds: float, reason: str = "") -> Record:
        """`reason`: a code such as "max_crashes" or what DeadLetter said."""
        reason = _said(reason, _LINE_CHARS_MAX)
        return self._record(task, "FAILURE", error=error, reason=reason, keep_seconds=keep_seconds)

    def ended(self, task: TaskRecord, state: str, *, keep_seconds: float, reason: str = "") -> Record:
        """REVOKED, EXPIRED or DENIED: it does not run, or was told to stop. `reason` may name people: it is sealed."""
        if state not in TERMINAL - {"SUCCESS", "FAILURE"}:
            raise ValueError(f"ended(state={state!r}): must be REVOKED, EXPIRED or DENIED")
        told = TaskError(state, reason) if reason else None
        error = told or task.error if state == "DENIED" else task.error or told
        return self._record(task, state, error=error, keep_seconds=keep_seconds)

    # ---------------------------------------------------------------- reading

    def read(self, id: str) -> TaskRecord | None:
        record = self._store.get(KIND, id)
        return None if record is None else self.opened(record)

    def read_many(self, ids: Sequence[str]) -> dict[str, TaskRecord]:
        """Those that have a record, by id."""
        return {key: self.opened(record) for key, record in self._store.get_many(KIND, ids).items()}

    def recent(
        self, limit: int = 50, cursor: str | None = None, *, groups: Iterable[str] = GROUPS, days: int = 8
    ) -> RecentPage:
        """Last written first, over the last `days`. `groups`: of "live" (running, to be run again), "ok" and "bad".

        `limit` 1 to 500. A task that goes on while pages are turned moves to the front. ValueError: a foreign cursor.
        """
        if not 1 <= limit <= 500:
            raise ValueError(f"recent(limit={limit!r}): must be 1 to 500")
        today = int(self._clock.now() // _DAY_SECONDS)
        day, before = _position(cursor) if cursor is not None else (today, None)
        chosen = tuple(groups)
        day = min(day, today)  # a cursor comes from a url: days to come have nothing, and there are millions of them
        found: list[Record] = []
        while day > today - days and len(found) <= limit:
            found += self._of_day(day, before, limit + 1 - len(found), chosen)
            day -= 1
        page = found[:limit]
        more = f"{page[-1].bucket.split()[-2]} {page[-1].sort}" if len(found) > limit else None
        return RecentPage([self.opened(record) for record in page], more)

    def _of_day(self, day: int, before: str | None, limit: int, groups: tuple[str, ...]) -> list[Record]:
        shards = (
            self._store.query(KIND, bucket, sort_to=before, limit=limit, newest_first=True).records
            for bucket in (self._bucket(group, day, shard) for group in groups for shard in range(_SHARDS))
        )
        merged = heapq.merge(*shards, key=attrgetter("sort"), reverse=True)
        return [record for record, _ in zip(merged, range(limit), strict=False)]

    def proves(self, record: Record) -> bool:
        """Whether a key of ours sealed it. If not, whoever wrote it can write to the store, and no more."""
        return self.opened(record).readable

    # ---------------------------------------------------------------- records

    def _record(
        self,
        task: TaskRecord,
        state: str,
        *,
        attempts: int | None = None,
        starts: int | None = None,
        value: bytes | None = None,
        elsewhere: Reference | None = None,
        error: TaskError | None = None,
        progress: Progress | None = None,
        reason: str = "",
        keep_seconds: float = 0,
    ) -> Record:
        now, final = self._clock.now(), state in TERMINAL
        fields: dict[str, Any] = {
            "task": task.task,
            "queue": task.queue,
            "state": state,
            "attempts": task.attempts if attempts is None else attempts,
            "starts": task.starts if starts is None else starts,
            "crashes": task.crashes,
            "ex": task.expires_at,
        }
        # Written out, because every task passes here: a helper for what is left out costs as much as the rest.
        if task.deferred_at is not None:
            fields["deferred_at"] = task.deferred_at
        if task.started_at is not None:
            fields["started_at"] = task.started_at
        if task.worker:
            fields["worker"] = task.worker
        if reason:
            fields["reason"] = reason
        if final:
            fields["finished_at"] = now
        if progress is not None:
            fields.update(done=progress.done, progress_at=progress.at.timestamp())
            if progress.total is not None:
                fields["total"] = progress.total
        principal = task.principal[:_LINE_CHARS_MAX] if task.principal else None
        sealed = _Sealed(value, _short(error), progress.message if progress else "", principal, task.call, elsewhere)
        fields["sealed"] = self._seal(_purpose(task.id, fields, task.fence), _encode(sealed))
        return Record(
            kind=KIND,
            id=task.id,
            fields=fields,
            bucket=self._bucket(_GROUPS.get(state, "bad"), int(now // _DAY_SECONDS), ord(task.id[-1]) % _SHARDS),
            sort=f"{int(now * 1000):013d} {task.id}",
            expires_at=now + max(keep_seconds, KEEP_SECONDS_MIN) if final else _alive_until(task, now),
            fence=task.fence,
            final=final,
        )

    def _bucket(self, group: str, day: int, shard: int) -> str:
        return f"{self._before}{group} {day} {shard}"

    def opened(self, record: Record) -> TaskRecord:
        """What a stored record says."""
        fields: dict[str, Any] = dict(record.fields)
        sealed = self._unsealed(record, fields)
        error = TaskError(*sealed.error) if sealed is not None and sealed.error is not None else None
        state = fields.get("state")
        return TaskRecord(
            id=record.id,
            task=stored.text(fields, "task") or "",
            queue=stored.text(fields, "queue") or "",
            expires_at=stored.time(fields, "ex") or 0.0,
            state=state if state in TERMINAL or state in _GROUPS else "PENDING",
            attempts=stored.count(fields, "attempts"),
            starts=stored.count(fields, "starts"),
            crashes=stored.count(fields, "crashes"),
            deferred_at=stored.time(fields, "deferred_at"),
            started_at=stored.time(fields, "started_at"),
            finished_at=stored.time(fields, "finished_at"),
            value_json=sealed.value if sealed else None,
            elsewhere=sealed.elsewhere if sealed else None,
            error=error,
            progress=_progress(fields, sealed.message if sealed else ""),
            principal=sealed.principal if sealed else None,
            call=sealed.call if sealed else None,
            worker=stored.text(fields, "worker"),
            reason=stored.text(fields, "reason"),
            fence=record.fence or (0, 0),
            version=record.version,
            readable=sealed is not None,
        )

    def _unsealed(self, record: Record, fields: dict[str, Any]) -> _Sealed | None:
        if self._unseal is None:
            return None
        try:
            purpose = _purpose(record.id, fields, record.fence or (0, 0))
            return _decode(self._unseal(purpose, fields["sealed"]))
        except (FnQueueError, ValueError, TypeError, RecursionError, KeyError):
            return None  # altered, or sealed with keys that are gone: one such record must not break a table


def _purpose(id: str, fields: dict[str, Any], fence: Fence) -> str:
    """What the seal binds. Every value that a decision is taken by; their order and form are part of the format."""
    counts = f"{fields['attempts']} {fields['starts']} {fields['crashes']}"
    return f"task {id} {fields['task']} {fields['state']} {counts} {fence[0]}.{fence[1]}"


def _alive_until(task: TaskRecord, now: float) -> float:
    # A run may begin until `ex` and outlast it; its crash must still be counted when the message comes back.
    return max(task.expires_at, now + quotas.VISIBILITY_SECONDS_MAX) + quotas.FUTURE_SKEW_SECONDS


def _position(cursor: str) -> tuple[int, str]:
    match = _CURSOR.fullmatch(cursor)
    if match is None:
        raise ValueError(f"cursor {cursor[:80]!r} is none that `recent` gave")
    return int(match[1]), match[2]


def _short(error: TaskError | None) -> tuple[str, str, tuple[str, ...]] | None:
    """An error that fits in a field whatever the task raised: the last frames are the telling ones."""
    if error is None:
        return None
    frames = tuple(_said(frame, _LINE_CHARS_MAX) for frame in error.frames[-_FRAMES_MAX:])
    return _said(error.type, _LINE_CHARS_MAX), _said(error.message, _MESSAGE_CHARS_MAX), frames


def _said(text: object, most: int) -> str:
    """Text that any store takes, whatever user code gave: cut, and without halves of surrogate pairs.

    What cannot be written would keep its call from ever being settled, and so run it again and again.
    """
    return str(text)[:most].encode("utf-8", "backslashreplace").decode()


def _progress(fields: dict[str, Any], message: str) -> Progress | None:
    at, done, total = stored.time(fields, "progress_at"), fields.get("done"), fields.get("total")
    if at is None or not isinstance(done, int | float) or not isinstance(total, int | float | None):
        return None
    return Progress(done, total, message, to_datetime(at))
