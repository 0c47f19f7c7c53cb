"""Which events the audit is told of, and in what words: denials, refusals, keys, and tasks that run as a service.

Never an argument, a result, a key, a token or a body: of a message its id, once proven, and its body's SHA-256. What a
policy or an error says in words is told of denials only: the text of an argument that did not fit may quote it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Final, Protocol

from fnqueue.events import CallDenied, Events, KeysLoaded, MessageRefused, RanAs

#: Matters of time and of delivery: nobody was refused anything.
ROUTINE: Final = frozenset({"NOT_YET", "REPLAY"})
#: Their details are our own words, and no argument's.
_WORDS: Final = frozenset({"DENIED", "CONTEXT", "REVOKED_KEY", "UNKNOWN_KEY", "KEY_NOT_FOR_TASK", "ID_CONFLICT"})


class Audit(Protocol):
    """What `audit.Audit` is: named here, so that listening costs no import."""

    def tell(self, what: str, text: str | None, told: dict[str, Any], *, level: int = ...) -> None: ...


def subscribe(events: Events, audit: Callable[[], Audit]) -> None:
    """`audit()` is asked for at the first event."""
    events.on(CallDenied, lambda event: _denied(audit(), event))
    events.on(MessageRefused, lambda event: _refused(audit(), event))
    events.on(KeysLoaded, lambda event: _keys(audit(), event))
    events.on(RanAs, lambda event: _ran_as(audit(), event))


def _denied(audit: Audit, event: CallDenied) -> None:
    told = {"task": event.task, "principal": event.principal, "reason": event.reason}
    audit.tell("denied", f"DENIED {event.task} {event.reason}", told)


def _refused(audit: Audit, event: MessageRefused) -> None:
    if event.code in ROUTINE:
        return
    told = {
        "code": event.code,
        "fate": event.fate,
        "queue": event.queue,
        "task": event.task,
        "id": event.id,
        "reason": event.detail if event.code in _WORDS else None,
        "body_sha256": event.body_sha256,
    }
    audit.tell("refused", None, told)  # the log has it from observe/logs.py


def _keys(audit: Audit, event: KeysLoaded) -> None:
    word = "AGAIN" if event.again else "LOADED"
    told: dict[str, Any] = {"again": event.again, "keys": list(event.keys)}
    audit.tell("keys", f"KEYS {word} {', '.join(event.keys)}", told, level=logging.DEBUG)


def _ran_as(audit: Audit, event: RanAs) -> None:
    told = {"task": event.task, "id": event.id, "principal": event.principal, "service": event.service}
    audit.tell("runs_as", f"RUNS AS {event.service}: {event.task} {event.id} for {event.principal}", told)
