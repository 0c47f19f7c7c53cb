"""Revocations in the store: which calls must not run, or must stop.

Every worker reads a snapshot at each heartbeat, so it must be cheap: after the first read it asks only for what
was written since, with an overlap that covers clocks that differ and stores that show a write late, and now and
then for all of it. It is bounded: of more than KEPT_MAX the newest count. What operators revoke has a bucket of its
own, so that nobody crowds it out by cancelling calls of his own.

A revocation is sealed with a key that workers and web nodes hold, under the id of its record: whoever can only write
to the store can neither stop anybody's work by it nor read whose it is. He can delete one, or put an older one back: a
revocation is a wish, not a lock.
Knows a store and callables that seal; knows no task.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from fnqueue import forks, quotas
from fnqueue.clock import Clock
from fnqueue.errors import EnvelopeError, KeysMissing, VersionConflict
from fnqueue.state.revocations import EVERY_CALL, NONE, Grant, Revocation, Snapshot, What, decode, encode
from fnqueue.store.base import Record, Store

KIND: Final = "revoked"
KEPT_MAX: Final = 50_000
OVERLAP_SECONDS: Final = quotas.FUTURE_SKEW_SECONDS
REFRESH_SECONDS: Final = 600
#: Of roots and principals: a call may be deferred for in a year, and then wait for another.
WIDE_SECONDS: Final = 2 * 31_536_000.0
#: Partitions of a store's index: revocations are rare, and one carries 1,000 a second.
OPERATORS: Final = "operators"
ASKED: Final = "all"


@dataclass(frozen=True, slots=True)
class Seals:
    """`seal(id, data)`, `unseal(id, sealed)`, which raises EnvelopeError, and `name(text)`: a keyed hash of it."""

    seal: Callable[[str, bytes], bytes]
    unseal: Callable[[str, bytes], bytes]
    name: Callable[[str], str]


@dataclass(frozen=True, slots=True)
class _Kept:
    sealed: bytes
    revocation: Revocation


class Control:
    """One per process; safe between threads."""

    def __init__(self, store: Store, clock: Clock, seals: Seals) -> None:
        self._store, self._clock, self._seals = store, clock, seals
        self._lock = forks.ProcessLock()
        self._kept: dict[str, _Kept] = {}
        self._snapshot: Snapshot = NONE
        self._read_at: float | None = None
        self._refreshed_at = 0.0

    def revoke(
        self,
        what: What,
        value: str,
        *,
        until: float | None = None,
        before: float | None = None,
        grant: Grant = EVERY_CALL,
        operator: bool = False,
    ) -> None:
        """Stop what it names and the grant covers, as far as it has not ended. All in unix seconds.

        `until`: of a call, its envelope's `ex`; past it nothing of it can run anyway. `before`: of a principal, the
        moment; None: now. Asked for again it lasts as long as the longer of both.
        """
        now = self._clock.now()
        until = (now + WIDE_SECONDS if until is None else until) + quotas.RUN_SECONDS_MAX  # it may begin just before
        wish = Revocation(what, value, until, now if before is None else before, grant)
        name = self._seals.name(f"{what} {value} {grant.subject or ''}")
        for last in (False, False, True):
            known = self._store.get(KIND, name)
            joined = self._joined(known, wish)
            record = Record(
                kind=KIND,
                id=name,
                fields={"sealed": self._seals.seal(name, encode(joined))},
                bucket=OPERATORS if operator else ASKED,
                sort=f"{int(now * 1000):013d}",
                expires_at=joined.until,
            )
            version = known.version if known is not None else 0
            try:
                self._store.put(record, if_version=None if last else version)
                return
            except VersionConflict:
                pass  # somebody wishes the same just now

    def snapshot(self) -> Snapshot:
        """All that may still stop something, as of now."""
        with self._lock.here():
            now = self._clock.now()
            before = self._kept
            self._read(now)
            self._kept = {name: kept for name, kept in self._kept.items() if kept.revocation.until > now}
            if self._kept != before:
                self._snapshot = Snapshot(kept.revocation for kept in self._kept.values())
            return self._snapshot

    # ---------------------------------------------------------------- helpers

    def _joined(self, record: Record | None, wish: Revocation) -> Revocation:
        """With what the same asker wished before: a later look must not shorten it."""
        known = self._genuine(record) if record is not None else None
        if known is None:
            return wish
        earlier = known.revocation
        return Revocation(
            wish.what, wish.value, max(wish.until, earlier.until), max(wish.before, earlier.before), wish.grant
        )

    def _read(self, now: float) -> None:
        since = None if self._read_at is None else max(0.0, min(self._read_at, now) - OVERLAP_SECONDS)
        if since is None or abs(now - self._refreshed_at) >= REFRESH_SECONDS:
            since = None
        found = {**self._since(ASKED, since), **self._since(OPERATORS, since)}
        # A whole read starts anew, so that what is gone from the store is gone here.
        self._kept = found if since is None else {**self._kept, **found}
        self._read_at = now
        if since is None:
            self._refreshed_at = now

    def _since(self, bucket: str, since: float | None) -> dict[str, _Kept]:
        sort_from = None if since is None else f"{int(since * 1000):013d}"
        found: dict[str, _Kept] = {}
        cursor: str | None = None
        while len(found) < KEPT_MAX:
            page = self._store.query(KIND, bucket, sort_from=sort_from, limit=1000, cursor=cursor, newest_first=True)
            for record in page.records:
                kept = self._genuine(record)
                if kept is not None:
                    found[record.id] = kept
            cursor = page.cursor
            if cursor is None:
                break
        return found

    def _genuine(self, record: Record) -> _Kept | None:
        """None: no key of ours sealed it for this id. What was seen before is not opened again."""
        sealed, seen = record.fields.get("sealed"), self._kept.get(record.id)
        if not isinstance(sealed, bytes):
            return None
        if seen is not None and seen.sealed == sealed:
            return seen
        try:
            revocation = decode(self._seals.unseal(record.id, sealed))
        except (EnvelopeError, KeysMissing):
            return None
        return _Kept(sealed, revocation) if revocation is not None else None
