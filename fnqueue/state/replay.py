"""`once=True`: of all deliveries and copies of a call, one at a time may run, and one may succeed.

    (none) -> running(1) -> done
                 |
                 +-> failed(1) -> running(2) -> ... -> dead

A holder has a lease. When it runs out without an end, the next delivery takes over with the next run number,
and that number is the record's fence: whoever held run n can write nothing once run n+1 has begun. (The fence
of the delivery would not do: two copies of a message may bear the same one.)

Leases are compared across machines by wall time, so a taker waits SKEW_SECONDS longer than the holder counts on.
Each record says which call it is of, under a MAC: another call sealed under the same id is told as a Conflict, and
has no part in this. The record is kept until the envelope is refused for its age: between the two there is no gap.
Knows a store; knows no task and no message. The records that end a run are returned, to be written with the
settlement and *before* the task's own record: where they are refused (None), the run was replaced.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from fnqueue import quotas
from fnqueue.clock import Clock
from fnqueue.errors import VersionConflict
from fnqueue.state import stored
from fnqueue.state.signs import Signs
from fnqueue.store.base import Fence, Record, Store

KIND: Final = "once"
SKEW_SECONDS: Final = 2.0
LEASE_SECONDS_MAX: Final = float(quotas.VISIBILITY_SECONDS_MAX)
#: What the fence of a record has room for.
_RUN_MAX: Final = 2**20 - 2
_TRIES: Final = 8  # each lost race means that somebody else moved the record on


class Taken(msgspec.Struct, frozen=True):
    """The right to run until `lease_until` (unix seconds). `run` counts from 1. `until`: the envelope's `ex`.

    `delivery` is the fence of the message's delivery, for operators' eyes.
    """

    id: str
    run: int
    holder: str
    lease_until: float
    until: float
    delivery: Fence
    call: bytes | None = None  # its digest: see `records.call_digest`


class Done(msgspec.Struct, frozen=True):
    """It ended for good. `dead`: without a success."""

    dead: bool = False


class Conflict(msgspec.Struct, frozen=True):
    """Another call has this id: one of the two was forged, or an id was derived twice. `state`: the other's."""

    state: str


class Elsewhere(msgspec.Struct, frozen=True):
    """It runs under a live lease, or failed and is not due yet: ask again then."""

    retry_after_seconds: float


class Replay:
    """Safe between threads, processes and machines: all decisions are conditional writes.

    With `signs` an end counts, and a lease, and a conflict, only if a key in use signed for it:
    whoever can merely write to the store cannot have a call deleted unrun.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        signs: Signs | None = None,
    ) -> None:
        self._store, self._clock, self._signs = store, clock, signs

    def take(
        self, id: str, *, fence: Fence, lease_seconds: float, until: float, call: bytes | None = None
    ) -> Taken | Done | Elsewhere | Conflict:
        """Ask to run. `fence` is the delivery's, kept for operators; `until` the envelope's `ex`; `call` its digest.

        One write and no read where the call was never taken before.
        """
        holder = secrets.token_hex(8)
        known: Record | None = None
        for _ in range(_TRIES):
            refusal = None if known is None else self._refusal(known, call)
            if refusal is not None:
                return refusal
            run = 1 if known is None else stored.count(known.fields, "run", _RUN_MAX) + 1
            taken = Taken(id, run, holder, self._clock.now() + lease_seconds, until, fence, call)
            try:
                self._store.put(self._running(taken), if_version=known.version if known else 0)
            except VersionConflict:
                known = self._store.get(KIND, id)
                if known is not None and _field(known, "holder") == holder:
                    return taken  # the engine tried again what it had written already
            else:
                return taken
        return Elsewhere(lease_seconds)

    def holds(self, id: str) -> bool:
        """Whether it was taken before, and a key of ours says so."""
        record = self._store.get(KIND, id)
        return record is not None and self._is_genuine(record)

    def renew(self, held: Sequence[Taken], *, lease_seconds: float) -> list[Taken | None]:
        """Lengthen leases to `lease_seconds` from now. None: replaced or ended, so that run has nothing to settle."""
        renewed = [msgspec.structs.replace(taken, lease_until=self._clock.now() + lease_seconds) for taken in held]
        written = self._store.put_many([self._running(taken) for taken in renewed], fenced=True)
        return [taken if record else None for taken, record in zip(renewed, written, strict=True)]

    def done_record(self, taken: Taken) -> Record:
        """It succeeded. Nothing of this id will be taken again."""
        return self._record(taken, "done", final=True)

    def failed_record(self, taken: Taken, *, retry_at: float = 0) -> Record:
        """This run ended; the next may be taken from `retry_at` (unix seconds), by whichever copy comes."""
        return self._record(taken, "failed", retry_at=retry_at)

    def dead_record(self, taken: Taken) -> Record:
        """It failed for good."""
        return self._record(taken, "dead", final=True)

    def released_record(self, taken: Taken) -> Record:
        """Given back unrun, or stopped by a shutdown: the next delivery need not wait for the lease."""
        return self._record(taken, "failed", retry_at=0)

    # ---------------------------------------------------------------- helpers

    def _refusal(self, known: Record, call: bytes | None) -> Done | Elsewhere | Conflict | None:
        if not self._is_genuine(known):
            return None  # whoever can only write to the store keeps nobody from running
        state = _field(known, "state")
        if self._is_of_another(known, call):
            return Conflict(str(state))
        if state in ("done", "dead"):
            return Done(dead=state == "dead")
        # A retry's own message comes back when it is due, by a clock that may be a little behind this one.
        running = state == "running"
        at = stored.time(known.fields, "lease_until" if running else "retry_at") or 0.0
        ready = at + SKEW_SECONDS if running else at - SKEW_SECONDS
        # No lease and no retry is longer than a message can be hidden: a later time was not written by us.
        wait = min(ready - self._clock.now(), LEASE_SECONDS_MAX)
        return Elsewhere(wait) if wait > 0 else None

    def _is_of_another(self, known: Record, call: bytes | None) -> bool:
        tag = _field(known, "call")
        if call is None or self._signs is None or not isinstance(tag, bytes):
            return False  # one of the two does not say
        return not self._signs.holds(_call_text(known.id, call), tag)

    def _is_genuine(self, record: Record) -> bool:
        mac = _field(record, "mac")
        return self._signs is None or (
            isinstance(mac, bytes) and self._signs.holds(_text(record.id, record.fields), mac)
        )

    def _running(self, taken: Taken) -> Record:
        return self._record(taken, "running", lease_until=taken.lease_until)

    def _record(self, taken: Taken, state: str, *, final: bool = False, **fields: float) -> Record:
        delivery = f"{taken.delivery[0]}.{taken.delivery[1]}"
        said: dict[str, Any] = {
            "state": state,
            "run": taken.run,
            "holder": taken.holder,
            "delivery": delivery,
            **fields,
        }
        if self._signs is not None:
            if taken.call is not None:
                said["call"] = self._signs.mac(_call_text(taken.id, taken.call))
            said["mac"] = self._signs.mac(_text(taken.id, said))
        return Record(
            kind=KIND,
            id=taken.id,
            fields=said,
            expires_at=taken.until + quotas.FUTURE_SKEW_SECONDS,
            # The end of a run outranks its renewals: a heartbeat that is late by a moment cannot revive it.
            fence=(taken.run, 0 if state == "running" else 1),
            final=final,
        )


def _text(id: str, fields: Mapping[str, Any]) -> bytes:
    call = fields.get("call")
    times = f"{fields.get('lease_until')} {fields.get('retry_at')}"
    said = f"once {len(id)} {id} {fields.get('state')} {fields.get('run')} {times}".encode()
    return said + b" " + call if isinstance(call, bytes) else said  # without one it is as it was before there were any


def _call_text(id: str, call: bytes) -> bytes:
    return f"once-call {len(id)} {id} ".encode() + call


def _field(record: Record, name: str) -> Any:
    return record.fields.get(name)
