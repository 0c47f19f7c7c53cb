"""What the rules of `state/` are handed so that they need no key: each seals for one purpose, under one name.

A record that a key of ours did not seal for exactly this purpose, name and environment does not open. A result's id is
of one call in all the world, but who may read it is not: "user:7" of staging may be anybody.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from typing import Literal

from fnqueue.errors import KeysMissing
from fnqueue.security.keyring import KeyRecord, KeyRing
from fnqueue.security.primitives import lp, to_base32, to_base64
from fnqueue.security.records import mac, seal_record, unseal_record
from fnqueue.state.signs import Signs


class Sealing:
    """`ring`: the keys of the moment, asked for each time."""

    def __init__(self, ring: Callable[[], KeyRing], environment: str) -> None:
        self._ring, self._environment = ring, environment

    # ---- results

    def seal_result(self, purpose_id: str, data: bytes) -> bytes:
        return seal_record(self._ring(), "result", f"{self._environment} {purpose_id}", data)

    def unseal_result(self, purpose_id: str, data: bytes) -> bytes:
        return unseal_record(self._ring(), "result", f"{self._environment} {purpose_id}", data)

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

    # ---- the audit

    def audit_key_id(self) -> str:
        return self._ring().primary.key_id

    def audit_mac(self, key_id: str, chain: str, text: bytes) -> str:
        """Of a line's text, with a key of this ring. Raises KeysMissing."""
        key = self._ring().get(key_id)
        if key is None:
            raise KeysMissing(f"key {key_id} is not in the key ring any more")
        return self._audit_mac(key, chain, text)

    def audit_holds(
        self, key_id: str, chain: str, text: bytes, tag: str
    ) -> Literal["good", "false", "revoked", "unknown"]:
        key = self._ring().get(key_id)
        if key is None:
            return "unknown"
        try:
            ours = self._audit_mac(key, chain, text)
        except KeysMissing:
            return "unknown"  # a process that has only other parts of that key
        if not hmac.compare_digest(tag.encode("utf-8", "replace"), ours.encode()):
            return "false"
        return "revoked" if key.state == "revoked" else "good"

    def _audit_mac(self, key: KeyRecord, chain: str, text: bytes) -> str:
        parts = lp(b"fnq1 audit", self._environment.encode(), chain.encode(), text)
        return to_base64(mac(key, "audit", parts)).decode("ascii")

    # ---- replay and dedupe keys

    @property
    def signs(self) -> Signs:
        return Signs(self.mac, self.mac_holds)

    def mac(self, data: bytes) -> bytes:
        return mac(self._ring().primary, "token", data)

    def mac_holds(self, data: bytes, tag: bytes) -> bool:
        """Whether any key that is not revoked made the MAC: a rotation must not forget what was written before it."""
        keys = self._ring().keepers
        return any(hmac.compare_digest(tag, mac(key, "token", data)) for key in keys)
