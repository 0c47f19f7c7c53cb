"""The schedule ticket `fqs1`: what EventBridge holds of a recurring schedule, and sends at each of its times.

    fqs1 . sealed . time

EventBridge sends the same text each time, and fills in one thing, the time: so this cannot be a call, which has an id
and runs once. Sealed (purpose key `schedule`) are the schedule as a whole, the environment and the queue it is for,
its revision, and the key that ids of its calls are derived with. The time is not sealed, and whoever can send to the
queue can write another one: what that is worth is judged where the ticket is opened (`scheduling/admission`).

Fates, by analogy with the envelope's: a text that is none, or does not open, is MALFORMED, UNSEAL, FRAME (hostile:
dead-letter queue); UNKNOWN_KEY is a rotation (hidden for a while); CONTEXT another environment or queue (hidden,
never deleted: most likely this worker is misconfigured); REVOKED_KEY and KEY_NOT_FOR_TASK are hostile.
Knows keys and the text; knows no store and no clock.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Final

import msgspec

from fnqueue.errors import EnvelopeError
from fnqueue.schedule.schedule import SCHEDULED_TIME, Schedule
from fnqueue.security.keyring import KeyRing
from fnqueue.security.primitives import from_base64, is_base64, to_base64
from fnqueue.security.records import seal_record, sealing_key_id, unseal_record

#: EventBridge's limit for a target's Input, bytes.
INPUT_BYTES_MAX: Final = 262_144
_PREFIX: Final = "fqs1."
#: No name of a store's record begins so: an environment is put before a name there, with a blank between.
_CONTEXT: Final = "\x00fqs1"
_TEXT: Final = re.compile(
    rb"fqs1\.([A-Za-z0-9_-]+)\.([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z)", re.ASCII
)
_SHOWN_MAX: Final = 80


class Ticket(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """`queue`: the logical one that the seal of messages binds. `made_at`: what `rate()` counts from. `key`: an id."""

    environment: str
    queue: str
    schedule: Schedule
    made_at: datetime
    revision: int
    key: str


_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(Ticket).decode


def is_ticket(body: str) -> bool:
    """Whether it claims to be one. Nothing that begins so is ever taken for an envelope."""
    return body.startswith(_PREFIX)


def seal_ticket(ticket: Ticket, ring: KeyRing) -> str:
    """The Input, with the mark that EventBridge replaces. Raises KeysMissing without a primary key."""
    sealed = to_base64(seal_record(ring, "schedule", _CONTEXT, _encode(ticket)))
    return f"{_PREFIX}{sealed.decode('ascii')}.{SCHEDULED_TIME}"


def open_ticket(body: str, ring: KeyRing, *, environment: str, queue: str) -> tuple[Ticket, datetime]:
    """A ticket for here, and the time in it. `queue`: the receiver's own logical one. Raises EnvelopeError."""
    sealed, time = _parse(body)
    ticket = _opened(sealed, ring)
    if (ticket.environment, ticket.queue) != (environment, queue):
        raise EnvelopeError(
            "CONTEXT",
            f"a schedule ticket for queue {ticket.queue[:_SHOWN_MAX]!r} in environment "
            f"{ticket.environment[:_SHOWN_MAX]!r}, and here is queue {queue!r} in environment {environment!r}",
        )
    _check_key(ticket, sealed, ring)
    return ticket, time


def read_input(text: str, ring: KeyRing) -> tuple[Ticket, str] | None:
    """The ticket in an Input as EventBridge holds it, and the id of the key it is sealed with. None: no key of ours
    opens it, or it is something else."""
    sealed, mark = text.removeprefix(_PREFIX).removesuffix(f".{SCHEDULED_TIME}"), f".{SCHEDULED_TIME}"
    if not (is_ticket(text) and text.endswith(mark) and text.isascii() and is_base64(sealed.encode())):
        return None
    try:
        record = from_base64(sealed.encode())
        return _opened(record, ring), sealing_key_id(record)
    except EnvelopeError:
        return None


# ------------------------------------------------------------------ helpers


def _parse(body: str) -> tuple[bytes, datetime]:
    match = _TEXT.fullmatch(body.encode("ascii")) if body.isascii() and len(body) <= INPUT_BYTES_MAX else None
    if match is None or not is_base64(match[1]):
        unfilled = ": EventBridge did not fill in the time; was it sent by hand?" if SCHEDULED_TIME in body else ""
        raise EnvelopeError("MALFORMED", f"not the grammar of fqs1{unfilled}")
    try:
        time = datetime.strptime(match[2].decode(), "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    except ValueError:
        raise EnvelopeError("MALFORMED", f"a schedule ticket for {match[2].decode()}, which is no time") from None
    return from_base64(match[1]), time


def _opened(sealed: bytes, ring: KeyRing) -> Ticket:
    data = unseal_record(ring, "schedule", _CONTEXT, sealed)
    try:
        return _decode(data)
    except (ValueError, RecursionError) as error:
        raise EnvelopeError("FRAME", f"a schedule ticket of another version ({type(error).__name__})") from None


def _check_key(ticket: Ticket, sealed: bytes, ring: KeyRing) -> None:
    key = ring.get(sealing_key_id(sealed))
    kind = "service" if ticket.schedule.runs_as else "schedule"
    if key is None or (key.limits and not key.limits.allow(task=ticket.schedule.task, queue=ticket.queue, kind=kind)):
        raise EnvelopeError("KEY_NOT_FOR_TASK", f"the ticket's key is not for {ticket.schedule.task!r}")
