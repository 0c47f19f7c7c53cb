"""The dedupe keys of calls on their way: the first call wins, and a call that is not sent keeps nobody out.

A key is claimed for a moment when the call is made, and for good once it is sent: a process that dies between
the two blocks the key no longer than that moment.
Knows options and keys; what a claim is in the store is `state/dedupe`'s.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from fnqueue.errors import StoreMissing
from fnqueue.security.keyring import KeyRecord, KeyRing
from fnqueue.security.records import dedupe_id
from fnqueue.state.dedupe import Dedupe
from fnqueue.task.task import Task

CLAIM_SECONDS = 60.0


class Claim(msgspec.Struct, frozen=True):
    """A dedupe key and who holds it."""

    key: str
    winner: str
    until: float


class Claims:
    """`dedupe` None: there is no store."""

    def __init__(self, dedupe: Dedupe | None) -> None:
        self._dedupe = dedupe

    def take(
        self, ring: KeyRing, task: Task[Any, Any, Any], call_id: str, expires: float, waits: Callable[[], bool]
    ) -> Claim:
        """Who has the task's dedupe key: this call, or one before it. Raises StoreMissing.

        What `waits` for a commit may never be sent. So it takes no key before it leaves (`holder`): whoever comes with
        the key meanwhile is the first, and is not told of a call that a rollback may take back.
        """
        if self._dedupe is None:
            raise StoreMissing(f"{task.name}: dedupe=")
        options = task.call_options
        assert options.dedupe is not None
        keys = [dedupe_id(record, task.name, options.tenant, options.dedupe) for record in _sealing(ring)]
        for old in keys[1:]:
            holder = self._dedupe.holder(old)
            if holder is not None:
                return Claim(keys[0], holder, expires)
        if waits():
            return Claim(keys[0], self._dedupe.holder(keys[0]) or call_id, expires)
        winner = self._dedupe.claim(keys[0], call_id, until=expires, lease_seconds=CLAIM_SECONDS)
        return Claim(keys[0], winner, expires)

    def holder(self, claim: Claim | None, call_id: str) -> str:
        """After a wait: the id of the call that has the key, which is this one if it may be sent."""
        if claim is None or self._dedupe is None or claim.winner != call_id:
            return call_id
        return self._dedupe.claim(claim.key, call_id, until=claim.until, lease_seconds=CLAIM_SECONDS)

    def settle(self, claim: Claim | None, call_id: str, *, sent: bool) -> None:
        """Hold the key for good, or let the next call have it."""
        if claim is None or self._dedupe is None or claim.winner != call_id:
            return
        if sent:
            self._dedupe.confirm(claim.key, call_id, until=claim.until)
        else:
            self._dedupe.release(claim.key, call_id)


def _sealing(ring: KeyRing) -> list[KeyRecord]:
    """The primary key first, then those that were primary perhaps a moment ago."""
    return [ring.primary, *(record for record in ring.records if record.state == "accept")]
