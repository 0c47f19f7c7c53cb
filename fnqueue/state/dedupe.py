"""`dedupe="invoice:42"`: of several calls with one key the first wins, and the others get its id.

The key arrives as an HMAC made by the caller, per tenant, so a reader of the store learns nothing of it.
A claim comes before its message is sent. A sender that dies between the two would hold the key for nothing, so a
claim may be given a short lease, which `confirm` turns into the whole time once the message is sent.
Knows a store; knows no call and no tenant.
"""

from __future__ import annotations

from typing import Final

from fnqueue.clock import Clock
from fnqueue.errors import VersionConflict
from fnqueue.store.base import Record, Store

KIND: Final = "dedupe"
_TRIES: Final = 8


class Dedupe:
    """Safe between threads, processes and machines: a claim is one conditional write."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store, self._clock = store, clock

    def claim(self, key_hmac: str, id: str, *, until: float, lease_seconds: float | None = None) -> str:
        """The id of the call that holds the key: `id` if it is this one's now, else another's: then send nothing.

        `until`: unix seconds. With `lease_seconds` the claim lapses that soon, unless it is confirmed.
        """
        ends = until if lease_seconds is None else min(until, self._clock.now() + lease_seconds)
        claim = Record(kind=KIND, id=key_hmac, fields={"id": id}, expires_at=ends)
        for _ in range(_TRIES):
            try:
                self._store.put(claim, if_version=0)
            except VersionConflict:
                holder = self.holder(key_hmac)
                if holder is not None:
                    return holder
            else:
                return id
        raise VersionConflict(f"dedupe key {key_hmac[:8]}... was claimed and released {_TRIES} times meanwhile")

    def confirm(self, key_hmac: str, id: str, *, until: float) -> bool:
        """The message is sent: hold the key until then. False if the lease ran out and another call has it."""
        held = self._store.get(KIND, key_hmac)
        if held is not None and held.fields.get("id") != id:
            return False
        claim = Record(kind=KIND, id=key_hmac, fields={"id": id}, expires_at=until)
        try:
            self._store.put(claim, if_version=held.version if held else 0)
        except VersionConflict:
            return self.holder(key_hmac) == id
        return True

    def release(self, key_hmac: str, id: str) -> bool:
        """The message could not be sent: let the next call win. False if the key is not this call's."""
        held = self._store.get(KIND, key_hmac)
        if held is None or held.fields.get("id") != id:
            return False
        try:
            return self._store.delete(KIND, key_hmac, if_version=held.version)
        except VersionConflict:
            return False

    def holder(self, key_hmac: str) -> str | None:
        """The id of the call that holds the key; None: it is free."""
        held = self._store.get(KIND, key_hmac)
        return None if held is None else str(held.fields["id"])
