"""Every error that fnqueue raises, in one tree.

    FnQueueError
    ├── SettingsInvalid             settings are wrong; all faults at once
    ├── AppNotFound                 no application where one was looked for
    ├── ArgumentError               a call that no worker could run: nothing was sent
    │   ├── ArgumentsDoNotFit       against the task's signature or annotations
    │   ├── ArgumentNotSerializable with the path of the value
    │   └── MessageTooLarge         with its size and the limit
    ├── NotATask, TaskNameInvalid, UnknownTask    a task that cannot be registered or found
    ├── UnknownSchedule
    ├── OptionInvalid               an option of a task or of a call
    │   ├── DelayNeedsStore
    │   └── ExpressionInvalid       of a schedule: rate(), cron(), at()
    ├── PolicyDenied                also a 403
    ├── PolicyUndecided             a policy failed to decide: a 503
    ├── NotYetSent, SendAfterCommitFailed         a call held for a commit
    ├── SomeNotSent                 part of a batch was refused
    ├── ResultError
    │   ├── TaskFailed
    │   ├── ResultTimeout
    │   ├── ResultUnreadable
    │   └── StoreMissing
    ├── KeyInvalid, KeysMissing
    ├── EnvelopeError               a message that may not run; `.code` is its row in the table of fates
    ├── TokenInvalid                a status token that is unknown, foreign or expired: all look alike
    ├── BrokerError                 BrokerUnreachable, BrokerRefused, QueueMissing, SendRefused, ReceiptExpired
    ├── StoreError                  VersionConflict, Fenced, FieldTooLarge
    ├── DatabaseError               DatabaseFull, DatabaseReadOnly, DatabaseForeign, DatabaseNewer, DatabaseBusy
    ├── BlobsUnavailable            the place of large contents
    ├── AuditUnwritable             an act that must be on record, and cannot be: it was not done
    ├── KmsUnavailable              AWS KMS, which holds the key of suite kms
    └── ExtraMissing                an optional dependency is not installed

    TaskSignal                      what a task says on purpose; never logged as an error
    ├── RetryLater
    ├── DeadLetter
    └── TaskRevoked, SoftTimeLimitExceeded    what a running task is told

The class knows whether trying again can help: `retryable`.
Knows nothing of any other module.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar


@dataclass(frozen=True, slots=True)
class TaskError:
    """What a task raised, as text: no locals, and no class is ever looked up by the name."""

    type: str
    message: str
    frames: tuple[str, ...] = ()


class _Travels(Exception):
    """Comes out of a pickle, and so out of another process, as it was raised. Python would make it anew from its text
    alone, and a pool of processes breaks at what it cannot make."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _as_raised, (type(self), self.args, vars(self))


def _as_raised(kind: type[_Travels], args: tuple[Any, ...], state: dict[str, Any]) -> _Travels:
    error = kind.__new__(kind)
    error.args = args
    vars(error).update(state)
    return error


class FnQueueError(_Travels):
    """The base of all errors of fnqueue."""

    retryable: ClassVar[bool] = False


# ------------------------------------------------------------------ settings and start


class SettingsInvalid(FnQueueError):
    """One or more settings are wrong. `faults` holds one sentence each."""

    def __init__(self, faults: Sequence[str]) -> None:
        self.faults = tuple(faults)
        head = "1 setting is wrong:" if len(self.faults) == 1 else f"{len(self.faults)} settings are wrong:"
        super().__init__("\n".join([head, *(f"  - {fault}" for fault in self.faults)]))


class AppNotFound(FnQueueError):
    """No application was found where one was looked for, or it has no FnQueue."""


class ExtraMissing(FnQueueError):
    """An optional dependency is not installed."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} needs the extra {extra!r}, which is not installed: pip install 'fnqueue[{extra}]'")
        self.extra = extra


# ------------------------------------------------------------------ calls


class ArgumentError(FnQueueError, TypeError):
    """The call could not run on any worker. Nothing was sent."""

    def __init__(self, text: str, *, task: str, parameter: str | None = None) -> None:
        super().__init__(text)
        self.task, self.parameter = task, parameter


class ArgumentsDoNotFit(ArgumentError):
    """The arguments do not fit the task's signature or annotations."""


class ArgumentNotSerializable(ArgumentError):
    """A value cannot travel as JSON. `path` says where it stands, as `args[0].lines[3]`."""

    def __init__(self, text: str, *, task: str, path: str, parameter: str | None = None) -> None:
        super().__init__(text, task=task, parameter=parameter)
        self.path = path


class MessageTooLarge(ArgumentError):
    """The sealed call is larger than the queue takes. Sizes in bytes."""

    def __init__(self, *, task: str, size: int, limit: int, largest: str, advice: str = "") -> None:
        super().__init__(
            f"{task}: the sealed call is {size:,} bytes and the limit is {limit:,}; the largest argument is {largest}. "
            f"Store the data and pass its key instead{advice}.",
            task=task,
        )
        self.size, self.limit = size, limit


class NotATask(FnQueueError, TypeError):
    """What was given to `defer` is not a task."""


class TaskNameInvalid(FnQueueError, ValueError):
    """A task has no name that a worker could find it by, or two tasks share one."""


class UnknownTask(FnQueueError, LookupError):
    """No task of this name is registered here."""

    def __init__(self, name: str, *, nearest: Sequence[str] = (), modules: Sequence[str] = ()) -> None:
        text = f"no task named {name!r} is registered here"
        if nearest:
            text += f"; the nearest names are {', '.join(nearest)}"
        if modules:
            text += f" (modules with tasks: {', '.join(modules)})"
        super().__init__(text + ".")
        self.name, self.nearest = name, tuple(nearest)


class UnknownSchedule(FnQueueError, LookupError):
    """No schedule of this name is in the store."""

    def __init__(self, name: str, names: Sequence[str] = ()) -> None:
        there = f"there are {', '.join(names[:10])}{', ...' * (len(names) > 10)}" if names else "there is none"
        super().__init__(f"no schedule named {name!r} is in the store; {there}")
        self.name = name


class OptionInvalid(FnQueueError, ValueError):
    """An option of a task or of a call is out of its range, or unknown."""


class DelayNeedsStore(OptionInvalid):
    """The delay is longer than the queue alone can hold, and there is no store."""


class ExpressionInvalid(OptionInvalid):
    """A schedule's expression is none. `field` is where, as "day-of-month"; `why` is what is wrong with it."""

    def __init__(self, expression: str, field: str, why: str) -> None:
        super().__init__(f"Invalid Schedule Expression {expression}: {field}: {why}")
        self.expression, self.field, self.why = expression, field, why


class PolicyDenied(FnQueueError, PermissionError):
    """The principal may not do this. Nothing was sent. A 403 in Flask and Django."""

    code: ClassVar[int] = 403  # what WSGI frameworks look for

    def __init__(self, text: str, *, task: str, reason: str) -> None:
        super().__init__(text)
        self.task, self.reason = task, reason


class PolicyUndecided(FnQueueError):
    """A policy failed to decide (its loader raised, say). Nothing was sent. A 503."""

    retryable = True
    code: ClassVar[int] = 503

    def __init__(self, text: str, *, task: str, reason: str) -> None:
        super().__init__(text)
        self.task, self.reason = task, reason


class NotYetSent(FnQueueError):
    """The call is held until the transaction commits, or was dropped with it: there is nothing to read."""


class SendAfterCommitFailed(FnQueueError):
    """The transaction is committed, but calls that waited for it could not be sent.

    `failed`: pairs of (id, error), in the order of the calls. `id`: the first of them.
    """

    def __init__(self, failed: Sequence[tuple[str, Exception]]) -> None:
        self.failed = tuple(failed)
        self.id, reason = self.failed[0]
        ids = [call_id for call_id, _ in self.failed]
        what = (
            f"call {self.id}" if len(ids) == 1 else f"{len(ids)} calls ({', '.join(ids[:5])}{', ...' * (len(ids) > 5)})"
        )
        super().__init__(f"the transaction is committed, but {what} could not be sent: {reason}")


class SomeNotSent(FnQueueError):
    """Part of a batch was refused. `sent`: handles; `failed`: pairs of (call, error)."""

    retryable = True

    def __init__(self, sent: Sequence[Any], failed: Sequence[tuple[Any, Exception]]) -> None:
        first = failed[0][1] if failed else None
        super().__init__(f"{len(failed)} of {len(sent) + len(failed)} calls were not sent; the first because: {first}")
        self.sent, self.failed = list(sent), list(failed)


# ------------------------------------------------------------------ results


class ResultError(FnQueueError):
    """A result could not be given."""


class TaskFailed(ResultError):
    """The task ended without a result. `error` is text only: type, message, frames."""

    def __init__(self, id: str, state: str, error: TaskError | None = None) -> None:
        what = f": {error.type}: {error.message}" if error is not None else ""
        super().__init__(f"task {id} ended as {state}{what}")
        self.id, self.state, self.error = id, state, error


class ResultTimeout(ResultError, TimeoutError):
    """The task did not end in the time given."""

    retryable = True


class ResultUnreadable(ResultError):
    """The stored result is not what this version of the code can read."""


class StoreMissing(ResultError):
    """What was asked needs a store and FNQUEUE_STORE_URL is not set."""

    def __init__(self, what: str) -> None:
        super().__init__(f"{what} needs a store: set FNQUEUE_STORE_URL (for example sqlite:///fnqueue.db).")


# ------------------------------------------------------------------ security


class KeyInvalid(FnQueueError, ValueError):
    """A key string or a key file is not what it must be. Never quotes the key."""


class KeysMissing(FnQueueError):
    """There is no key to seal with, or none to open with."""


class EnvelopeError(FnQueueError):
    """A message that may not run. `code` is its row in the table of fates; `detail` is for operators' logs."""

    def __init__(self, code: str, detail: str = "") -> None:
        super().__init__("rejected")  # what leaves the process says no more than this
        self.code, self.detail = code, detail


class TokenInvalid(FnQueueError):
    """A token that is unknown, foreign, altered or expired: they look alike on purpose."""

    code: ClassVar[int] = 404

    def __init__(self) -> None:
        super().__init__("not found")


# ------------------------------------------------------------------ engines


class AuditUnwritable(FnQueueError):
    """What an operator asked for must be on record, and the audit cannot be written: it was not done."""

    def __init__(self, folder: str, reason: str) -> None:
        super().__init__(f"the audit in {folder} cannot be written ({reason}), so nothing was done")
        self.folder, self.reason = folder, reason


class EventInvalid(FnQueueError, ValueError):
    """What AWS Lambda was invoked with is no event of SQS's messages."""

    def __init__(self, why: str) -> None:
        super().__init__(f"not an event of SQS: {why}. Nothing of it was run.")


class BrokerError(FnQueueError):
    """The queue refused or failed."""


class BrokerUnreachable(BrokerError):
    """No answer from the queue: network, credentials, or a server that is down."""

    retryable = True


class BrokerRefused(BrokerError):
    """The queue answered no: rights, credentials or a parameter. `code` is SQS's own, as "AccessDenied"."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(f"{code}: {text}")
        self.code, self.text = code, text


class QueueMissing(BrokerError):
    """The queue does not exist."""

    def __init__(self, queue: str) -> None:
        super().__init__(f"queue {queue!r} does not exist; make it at deploy time: fnqueue queues create")
        self.queue = queue


class SendRefused(BrokerError):
    """The queue did not take a message. `sender_fault`: the message is wrong, and sending it again cannot help."""

    def __init__(self, code: str, text: str, *, sender_fault: bool) -> None:
        super().__init__(f"{code}: {text}")
        self.code, self.sender_fault = code, sender_fault


class ReceiptExpired(BrokerError):
    """The message is no longer in flight under this receipt."""


class StoreError(FnQueueError):
    """The store refused or failed."""


class VersionConflict(StoreError):
    """The record is not at the version that was expected."""

    retryable = True


class Fenced(StoreError):
    """A newer delivery has written this record, or it is final: this writer is late."""


class FieldTooLarge(StoreError):
    """A field is larger than the store keeps."""


class BlobsUnavailable(FnQueueError):
    """Where large contents are kept (FNQUEUE_BLOBS_URL) cannot be asked, or says no."""

    retryable = True


class KmsUnavailable(FnQueueError):
    """AWS KMS cannot be asked for a data key, or says no. `retry_seconds`: not before is it asked again."""

    retryable = True

    def __init__(self, text: str, *, retry_seconds: float = 0.0) -> None:
        super().__init__(text)
        self.retry_seconds = retry_seconds


class DatabaseError(FnQueueError):
    """The SQLite file cannot be used."""


class DatabaseFull(DatabaseError):
    """The disk is full. Nothing was written; trying again helps once there is room."""

    retryable = True


class DatabaseReadOnly(DatabaseError):
    """The file, or its folder, may not be written."""


class DatabaseForeign(DatabaseError):
    """The file is no SQLite database, or one of another program."""


class DatabaseNewer(DatabaseError):
    """The file was written by a newer fnqueue."""


class DatabaseBusy(DatabaseError):
    """Another process held the file for too long."""

    retryable = True


# ------------------------------------------------------------------ what a task says, or is told, on purpose


class TaskSignal(_Travels):
    """The base of what a task says on purpose. Never logged as an error."""


class RetryLater(TaskSignal):
    """Raised by a task: run me again after `delay_seconds`. With `snooze` it does not count as an attempt."""

    def __init__(self, delay_seconds: float, *, snooze: bool = False) -> None:
        if not isinstance(delay_seconds, int | float) or not 0 <= delay_seconds <= 31_536_000:
            raise OptionInvalid(f"RetryLater(delay_seconds={delay_seconds!r}): must be 0 to 31,536,000 (a year)")
        super().__init__(f"again in {delay_seconds:g} s")
        self.delay_seconds, self.snooze = float(delay_seconds), snooze


class DeadLetter(TaskSignal):
    """Raised by a task: nobody can run this; keep it in the dead-letter queue with this reason."""

    def __init__(self, reason: str) -> None:
        self.reason = str(reason)
        super().__init__(self.reason)


class TaskRevoked(TaskSignal):
    """Raised inside a running task that was cancelled, by `context.progress()` and `context.extend()`."""


class SoftTimeLimitExceeded(TaskSignal):
    """Raised inside a running task when its soft time limit is over. It may clean up and return."""
