"""The dedupe keys of calls on their way: the first call wins, and a call that is not sent keeps nobody out.

A key is claimed for a moment when the call is made, and for good once it is sent: a process that dies between
the two blocks the key no longer than that moment. A call that waits for longer, for the end of its batch, asks again
before it is sent (`renewed`).
Knows options and keys; what a claim is in the store is `state/dedupe`'s.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Container, Iterable
from typing import Protocol

import msgspec

from fnqueue.clock import Clock
from fnqueue.errors import FnQueueError, StoreMissing
from fnqueue.security.keyring import KeyRing
from fnqueue.security.records import dedupe_id
from fnqueue.state.dedupe import Dedupe

CLAIM_SECONDS = 60.0
_log = logging.getLogger("fnqueue.dedupe")


class Claim(msgspec.Struct, frozen=True):
    """A dedupe key and who holds it."""

    key: str
    winner: str
    until: float
    #: From when on the claim is to be made again, unix seconds, while it is for a moment only.
    renew_at: float | None = None


class Unique(Protocol):
    """What makes calls one: see `dispatch/uniqueness`."""

    @property
    def key(self) -> str: ...
    @property
    def tenant(self) -> str | None: ...
    @property
    def until(self) -> float: ...
    @property
    def option(self) -> str: ...


class Claimant(Protocol):
    @property
    def id(self) -> str: ...
    @property
    def claim(self) -> Claim | None: ...


class Claims:
    """`dedupe` None: there is no store."""

    def __init__(self, dedupe: Dedupe | None, clock: Clock) -> None:
        self._dedupe, self._clock = dedupe, clock

    def take(self, ring: KeyRing, task: str, one: Unique, call_id: str, waits: Callable[[], bool]) -> Claim:
        """Who has the key of these calls of a task: this call, or one before it. Raises StoreMissing.

        What `waits` for a commit may never be sent. So it takes no key before it leaves (`forestalled`): whoever comes
        with the key meanwhile is the first, and is not told of a call that a rollback may take back.
        """
        if self._dedupe is None:
            raise StoreMissing(f"{task}: {one.option}")
        keys = [dedupe_id(record, task, one.tenant, one.key) for record in ring.keepers]
        for old in keys[1:]:
            holder = self._dedupe.holder(old)
            if holder is not None:
                return Claim(keys[0], holder, one.until)
        if waits():
            return Claim(keys[0], self._dedupe.holder(keys[0]) or call_id, one.until)
        renew_at = self._clock.now() + CLAIM_SECONDS / 2
        winner = self._dedupe.claim(keys[0], call_id, until=one.until, lease_seconds=CLAIM_SECONDS)
        return Claim(keys[0], winner, one.until, renew_at)

    def renewed(self, claim: Claim | None, call_id: str) -> Claim | None:
        """The claim as it is now: where it has lapsed, another call may have the key."""
        if claim is None or self._dedupe is None or claim.renew_at is None or claim.winner != call_id:
            return claim
        now = self._clock.now()
        if now < claim.renew_at:
            return claim
        winner = call_id
        if not self._dedupe.confirm(claim.key, call_id, until=min(claim.until, now + CLAIM_SECONDS)):
            winner = self._claim(self._dedupe, claim, call_id)
        return Claim(claim.key, winner, claim.until, now + CLAIM_SECONDS / 2)

    def forestalled(self, calls: Iterable[Claimant]) -> tuple[dict[str, str], dict[str, FnQueueError]]:
        """After a wait: of those whose key another call has by now, the id of that one; the others have theirs, but
        for those that could not be asked for, each with the store's error. Once it failed it is not waited for again.
        """
        instead: dict[str, str] = {}
        unsure: dict[str, FnQueueError] = {}
        failed: FnQueueError | None = None
        for call in calls:
            if call.claim is None or self._dedupe is None or call.claim.winner != call.id:
                continue
            if failed is None:
                try:
                    holder = self._claim(self._dedupe, call.claim, call.id)
                except FnQueueError as error:
                    failed = error
            if failed is not None:
                unsure[call.id] = failed
            elif holder != call.id:
                instead[call.id] = holder
        return instead, unsure

    def _claim(self, dedupe: Dedupe, claim: Claim, call_id: str) -> str:
        return dedupe.claim(claim.key, call_id, until=claim.until, lease_seconds=CLAIM_SECONDS)

    def settle(self, calls: Iterable[Claimant], *, unsent: Container[str] = ()) -> None:
        """Hold their keys for good; let the next calls have those of the `unsent`. Raises nothing.

        They are sent or they are not: an error of the store would tell the caller otherwise. A key that is neither
        held nor let go is free again when its moment is over.
        """
        try:
            for call in calls:
                self._settle(call.claim, call.id, sent=call.id not in unsent)
        except FnQueueError as error:
            _log.warning(
                "calls are settled, but not their dedupe keys, which the store did not take: in %d s at most the next "
                "call with such a key is sent, even if one was sent before: %s",
                CLAIM_SECONDS,
                error,
            )

    def _settle(self, claim: Claim | None, call_id: str, *, sent: bool) -> None:
        if claim is None or self._dedupe is None or claim.winner != call_id:
            return
        if sent:
            self._dedupe.confirm(claim.key, call_id, until=claim.until)
        else:
            self._dedupe.release(claim.key, call_id)
