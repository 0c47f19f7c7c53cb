"""Revocations: which calls must not run, or must stop.

Every worker reads a snapshot at each heartbeat, so it must be cheap: after the first read it asks only for what
was written since, with an overlap that covers clocks that differ and stores that show a write late, and now and
then for all of it. It is bounded: past IDS_MAX the oldest revocations are left to `revoked`, which reads one.

A revocation is MACed with a key that workers and web nodes hold: whoever can only write to the store cannot
stop anybody's work by it. (He can delete one: a revocation is a wish, not a lock.)
Knows a store and a callable that MACs; knows no task.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from typing import Final

from fnqueue import forks, quotas
from fnqueue.clock import Clock
from fnqueue.store.base import Record, Store, Value

KIND: Final = "revoked"
IDS_MAX: Final = 50_000
OVERLAP_SECONDS: Final = quotas.FUTURE_SKEW_SECONDS
REFRESH_SECONDS: Final = 600
_BUCKET: Final = "all"  # revocations are rare: one partition carries 1,000 a second


class Control:
    """One per process; safe between threads.

    `check(data, mac)` tells whether any key in use made the MAC; without it only the key of `mac` counts, and a
    rotation forgets the revocations before it.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        mac: Callable[[bytes], bytes],
        check: Callable[[bytes, bytes], bool] | None = None,
    ) -> None:
        self._store, self._clock, self._mac = store, clock, mac
        self._check = check or (lambda data, tag: hmac.compare_digest(tag, mac(data)))
        self._lock = forks.ProcessLock()
        self._until: dict[str, float] = {}
        self._snapshot: frozenset[str] = frozenset()
        self._read_at: float | None = None
        self._refreshed_at = 0.0

    def revoke(self, id: str, until: float) -> None:
        """Stop this call, if it has not ended. `until`: its envelope's `ex`; past it nothing of it can run anyway."""
        now, until = self._clock.now(), until + quotas.RUN_SECONDS_MAX  # it may have begun just before `ex`
        fields: dict[str, Value] = {"until": until, "mac": self._mac(_text(id, until))}
        sort = f"{int(now * 1000):013d}"
        self._store.put(Record(kind=KIND, id=id, fields=fields, bucket=_BUCKET, sort=sort, expires_at=until))

    def revoked(self, id: str) -> bool:
        """Ask the store about one call, past any snapshot."""
        record = self._store.get(KIND, id)
        return record is not None and self._genuine(record) is not None

    def snapshot(self) -> frozenset[str]:
        """The ids of all revoked calls that may still run, as of now."""
        with self._lock.here():
            now = self._clock.now()
            changed = self._read(now)
            live = {task: until for task, until in self._until.items() if until > now}
            if changed or len(live) < len(self._until):
                self._until, self._snapshot = live, frozenset(live)
            return self._snapshot

    # ---------------------------------------------------------------- helpers

    def _read(self, now: float) -> bool:
        since = None if self._read_at is None else max(0.0, min(self._read_at, now) - OVERLAP_SECONDS)
        if since is None or abs(now - self._refreshed_at) >= REFRESH_SECONDS:
            since, self._refreshed_at = None, now
        found = self._since(since)
        before = self._until
        # A whole read starts anew, so that what is gone from the store is gone here.
        self._until = found if since is None else {**before, **found}
        self._read_at = now
        return self._until.keys() != before.keys()

    def _since(self, since: float | None) -> dict[str, float]:
        sort_from = None if since is None else f"{int(since * 1000):013d}"
        found: dict[str, float] = {}
        cursor: str | None = None
        while len(found) < IDS_MAX:
            page = self._store.query(KIND, _BUCKET, sort_from=sort_from, limit=1000, cursor=cursor, newest_first=True)
            for record in page.records:
                until = self._known(record)
                if until is not None:
                    found[record.id] = until
            cursor = page.cursor
            if cursor is None:
                break
        return found

    def _known(self, record: Record) -> float | None:
        """Its `until`, checking the MAC only of what was not seen before: the overlap is read again each time."""
        seen = self._until.get(record.id)
        return seen if seen is not None and seen == record.fields.get("until") else self._genuine(record)

    def _genuine(self, record: Record) -> float | None:
        until, mac = record.fields.get("until"), record.fields.get("mac")
        if not isinstance(until, float) or not isinstance(mac, bytes):
            return None
        return until if self._check(_text(record.id, until), mac) else None


def _text(id: str, until: float) -> bytes:
    return f"revoked {len(id)} {id} {until!r}".encode()
