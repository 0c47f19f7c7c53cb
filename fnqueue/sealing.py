"""What the rules of `state/` are handed so that they need no key: each seals for one purpose, under one name.

A record that a key of ours did not seal for exactly this purpose, name and (but for results, whose ids are of one call
in all the world) environment does not open.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable

from fnqueue.security.keyring import KeyRing
from fnqueue.security.primitives import lp, to_base32
from fnqueue.security.records import mac, seal_record, unseal_record


class Sealing:
    """`ring`: the keys of the moment, asked for each time."""

    def __init__(self, ring: Callable[[], KeyRing], environment: str) -> None:
        self._ring, self._environment = ring, environment

    # ---- results

    def seal_result(self, purpose_id: str, data: bytes) -> bytes:
        return seal_record(self._ring(), "result", purpose_id, data)

    def unseal_result(self, purpose_id: str, data: bytes) -> bytes:
        return unseal_record(self._ring(), "result", purpose_id, data)

    # ---- schedules

    def seal_schedule(self, name: str, data: bytes) -> bytes:
        return seal_record(self._ring(), "schedule", f"{self._environment} {name}", data)

    def unseal_schedule(self, name: str, data: bytes) -> bytes:
        return unseal_record(self._ring(), "schedule", f"{self._environment} {name}", data)

    # ---- revocations

    def seal_revocation(self, name: str, data: bytes) -> bytes:
        return seal_record(self._ring(), "token", f"revoked {self._environment} {name}", data)

    def unseal_revocation(self, name: str, data: bytes) -> bytes:
        return unseal_record(self._ring(), "token", f"revoked {self._environment} {name}", data)

    def name_revocation(self, text: str) -> str:
        """26 characters that stand for what is revoked, and tell nobody whose it is."""
        parts = (b"fnq1 revoked", self._environment.encode(), text.encode())
        return to_base32(mac(self._ring().primary, "token", lp(*parts)))[:26]

    # ---- replay

    def mac(self, data: bytes) -> bytes:
        return mac(self._ring().primary, "token", data)

    def mac_holds(self, data: bytes, tag: bytes) -> bool:
        """Whether any key that is not revoked made the MAC: a rotation must not forget what was written before it."""
        keys = self._ring().keepers
        return any(hmac.compare_digest(tag, mac(key, "token", data)) for key in keys)
