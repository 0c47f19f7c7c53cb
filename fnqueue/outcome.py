"""The verdicts on a message: every delivery ends in exactly one `Outcome`.

`execution/execute.py` makes them, `execution/settle.py` alone turns them into writes.
An outcome says what happened, not what to do about it; the reasons of `Refused` are the codes of the
table of fates. Knows nothing but data.
"""

from __future__ import annotations

from typing import Final

import msgspec

from fnqueue.errors import TaskError
from fnqueue.security.blobs.reference import Reference


class Succeeded(msgspec.Struct, frozen=True):
    """The function returned. `value` is its result as JSON bytes; `elsewhere`: where it is, if it is too large."""

    value: bytes
    elsewhere: Reference | None = None

    def __repr__(self) -> str:
        return "<Succeeded>"  # and nothing of what it returned


class Rescheduled(msgspec.Struct, frozen=True):
    """It runs again in `delay_seconds`. `counts`: as an attempt (a snooze does not)."""

    delay_seconds: float
    error: TaskError | None = None
    counts: bool = True


class Failed(msgspec.Struct, frozen=True):
    """The function raised, and no attempt is left or none is due."""

    error: TaskError
    expected: bool = False  # one of the task's `raises=`: no traceback in the log


class DeadLettered(msgspec.Struct, frozen=True):
    """Nobody can run this: the task said so, or it crashed its workers too often."""

    reason: str
    error: TaskError | None = None


class Refused(msgspec.Struct, frozen=True):
    """The message may not run, or not now. `code` is a row of the table of fates."""

    code: str
    detail: str = ""
    retry_after_seconds: float | None = None  # where the refusal knows: NOT_YET, REPLAY elsewhere


class Released(msgspec.Struct, frozen=True):
    """The worker stopped first, or the group's head was not deleted: given back unchanged."""


Outcome = Succeeded | Rescheduled | Failed | DeadLettered | Refused | Released

#: Somebody tampered, or the message is rubbish: to the dead-letter queue whole, at a bounded rate.
HOSTILE: Final = frozenset(
    {
        "MALFORMED",
        "SUITE",
        "BAD_TAG",
        "REVOKED_KEY",
        "KEY_NOT_FOR_TASK",
        "UNSEAL",
        "FRAME",
        "ID_CONFLICT",
        "NO_OCCURRENCE",
    }
)
#: A rotation, a deploy, a clock, another place of blobs than the sender's: hidden for a while, then the dead-letter
#: queue.
UNKNOWN: Final = frozenset({"UNKNOWN_KEY", "TASK_NOT_SERVED", "FROM_FUTURE", "BLOB_MISSING"})
#: The message is true, and its state says that it must not run.
ENDED: Final = frozenset({"EXPIRED", "DENIED", "REVOKED"})
