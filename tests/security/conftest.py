"""One ring, one call, and ways to seal and open it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from fnqueue.errors import EnvelopeError
from fnqueue.security.envelope import seal, verify
from fnqueue.security.ids import new_id
from fnqueue.security.keyring import KeyRing, new_key

NOW = 1_767_225_600.25  # 2026-01-01
SECRET = "the-argument-that-nobody-may-see"


@pytest.fixture(scope="session")
def ring() -> KeyRing:
    return KeyRing.from_text(new_key())


@pytest.fixture(scope="session")
def other_ring() -> KeyRing:
    return KeyRing.from_text(new_key())


class Calls:
    """Seals and opens one call; what is given differs from it."""

    now = NOW
    secret = SECRET

    def __init__(self, ring: KeyRing) -> None:
        self.ring = ring

    def seal(self, **changes: Any) -> str:
        call: dict[str, Any] = {
            "keyring": self.ring,
            "environment": "production",
            "queue": "billing",
            "id": new_id(NOW),
            "task": "shop.tasks.send_invoice",
            "created_at": NOW,
            "expires_at": NOW + 3600,
            "principal_kind": "user",
            "sealed": {"args": [7, SECRET], "kwargs": {"copies": 2}, "p": {"i": "42", "k": "u", "r": ["staff"]}},
        }
        return seal(**(call | changes))

    def open(self, body: str, **changes: Any) -> dict[str, Any]:
        """Every step of opening, in order."""
        serves = changes.pop("serves", lambda task: True)
        here: dict[str, Any] = {"keyring": self.ring, "environment": "production", "queue": "billing", "now": NOW + 1}
        verified = verify(body, **(here | changes))
        verified.check_times()
        verified.check_limits(serves)
        return verified.unseal()

    def code(self, body: str, **changes: Any) -> str:
        """The code of the refusal. Fails when it opens."""
        with pytest.raises(EnvelopeError) as refused:
            self.open(body, **changes)
        assert str(refused.value) == "rejected"
        return refused.value.code


@pytest.fixture(scope="session")
def calls(ring: KeyRing) -> Calls:
    return Calls(ring)


@pytest.fixture(scope="session")
def sealed_body(calls: Calls) -> str:
    return calls.seal()


@pytest.fixture(scope="session")
def key_of() -> Callable[[str], str]:
    return lambda body: body.split(".")[2]
