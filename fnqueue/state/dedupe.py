"""`dedupe="invoice:42"`: of several calls with one key the first wins, and the others get its id.

The key arrives as an HMAC made by the caller, per tenant, so a reader of the store learns nothing of it. A claim says
whose it is under a MAC: whoever can only write to the store cannot have a call dropped for one of his choice, whose
result the caller would take for its own.
A claim comes before its message is sent. A sender that dies between the two would hold the key for nothing, so a
claim may be given a short lease, which `confirm` turns into the whole time once the message is sent.
Knows a store; knows no call and no tenant.
"""

from __future__ import annotations

from typing import Final

from fnqueue.clock import Clock
from fnqueue.errors import VersionConflict
from fnqueue.state.signs import Signs
from fnqueue.store.base import Record, Store, Value

KIND: Final = "dedupe"
_TRIES: Final = 8


class Dedupe:
    """Safe between threads, processes and machines: a claim is one conditional write."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        signs: Signs | None = None,
        environment: str = "",
    ) -> None:
        self._store, self._clock, self._signs, self._environment = store, clock, signs, environment

    def claim(self, key_hmac: str, id: str, *, until: float, lease_seconds: float | None = None) -> str:
        """The id of the call that holds the key: `id` if it is this one's now, else another's: then send nothing.

        `until`: unix seconds. With `lease_seconds` the claim lapses that soon, unless it is confirmed.
        """
        ends = until if lease_seconds is None else min(until, self._clock.now() + lease_seconds)
        claim, version = self._claim(key_hmac, id, ends), 0
        for _ in range(_TRIES):
            try:
                self._store.put(claim, if_version=version)
            except VersionConflict:
                held = self._store.get(KIND, self._place(key_hmac))
                holder = self._whose(held)
                if holder is not None:
                    return holder
                version = held.version if held is not None else 0
            else:
                return id
        raise VersionConflict(f"dedupe key {key_hmac[:8]}... was claimed and released {_TRIES} times meanwhile")

    def confirm(self, key_hmac: str, id: str, *, until: float) -> bool:
        """The message is sent: hold the key until then. False if the lease ran out and another call has it."""
        held = self._store.get(KIND, self._place(key_hmac))
        if self._whose(held) not in (id, None):
            return False
        try:
            self._store.put(self._claim(key_hmac, id, until), if_version=held.version if held else 0)
        except VersionConflict:
            return self.holder(key_hmac) == id
        return True

    def release(self, key_hmac: str, id: str) -> bool:
        """The message could not be sent: let the next call win. False if the key is not this call's."""
        held = self._store.get(KIND, self._place(key_hmac))
        if held is None or self._whose(held) != id:
            return False
        try:
            return self._store.delete(KIND, held.id, if_version=held.version)
        except VersionConflict:
            return False

    def holder(self, key_hmac: str) -> str | None:
        """The id of the call that holds the key; None: it is free."""
        return self._whose(self._store.get(KIND, self._place(key_hmac)))

    # ---------------------------------------------------------------- helpers

    def _place(self, key_hmac: str) -> str:
        """Environments may share a store and its keys, and have nothing else in common."""
        return f"{self._environment} {key_hmac}"

    def _claim(self, key_hmac: str, id: str, until: float) -> Record:
        place = self._place(key_hmac)
        fields: dict[str, Value] = {"id": id}
        if self._signs is not None:
            fields["mac"] = self._signs.mac(_text(place, id))
        return Record(kind=KIND, id=place, fields=fields, expires_at=until)

    def _whose(self, held: Record | None) -> str | None:
        """None where a key of ours does not say so: then it is nobody's."""
        if held is None:
            return None
        whose, mac = held.fields.get("id"), held.fields.get("mac")
        if not isinstance(whose, str):
            return None
        if self._signs is None or (isinstance(mac, bytes) and self._signs.holds(_text(held.id, whose), mac)):
            return whose
        return None


def _text(place: str, id: str) -> bytes:
    return f"dedupe {len(place)} {place} {id}".encode()
