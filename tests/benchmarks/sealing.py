"""What sealing and opening a call of 500 bytes costs against its bare primitives, in one run.

    python tests/benchmarks/sealing.py [rounds]

"Bare" is JSON, AES-256-GCM and HMAC-SHA256 there and back, with nothing bound, checked or transported; its key is
set up for each message, as a fresh key per message asks. Interleaved, medians. The target is 4, the wish 3.
"""

from __future__ import annotations

import hmac
import os
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import msgspec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from fnqueue.security.envelope import seal, verify
from fnqueue.security.ids import new_id
from fnqueue.security.keyring import KeyRing, new_key
from fnqueue.security.principal import Principal

NOW = 1_767_225_600.0
RING = KeyRing.from_text(new_key())
ID = new_id(NOW)
SEALED: dict[str, Any] = {
    "p": Principal("7", roles=frozenset({"editor"})).to_wire(),
    "args": [1, "a" * 418],
    "kwargs": {"month": "2026-01"},
}
KEY = os.urandom(32)


def sealed() -> str:
    return seal(
        keyring=RING,
        environment="production",
        queue="billing",
        id=ID,
        task="shop.tasks.send_invoice",
        created_at=NOW,
        expires_at=NOW + 345_600,
        principal_kind="user",
        sealed=SEALED,
    )


BODY = sealed()


def opened() -> dict[str, Any]:
    verified = verify(BODY, keyring=RING, environment="production", queue="billing", now=NOW)
    verified.check_times()
    verified.check_limits()
    return verified.unseal()


def bare() -> Any:
    nonce = os.urandom(12)
    ciphertext = nonce + AESGCM(KEY).encrypt(nonce, msgspec.json.encode(SEALED), None)
    tag = hmac.digest(KEY, ciphertext, "sha256")
    assert hmac.compare_digest(tag, hmac.digest(KEY, ciphertext, "sha256"))
    return msgspec.json.decode(AESGCM(KEY).decrypt(ciphertext[:12], ciphertext[12:], None))


def measured(rounds: int) -> dict[str, float]:
    """Medians in microseconds, of functions that take turns."""
    functions: list[Callable[[], Any]] = [sealed, opened, bare]
    times: dict[str, list[int]] = {function.__name__: [] for function in functions}
    for _ in range(rounds):
        for function in functions:
            for _ in range(50):
                started = time.perf_counter_ns()
                function()
                times[function.__name__].append(time.perf_counter_ns() - started)
    return {name: statistics.median(taken) / 1000 for name, taken in times.items()}


if __name__ == "__main__":
    found = measured(int(sys.argv[1]) if len(sys.argv) > 1 else 60)
    ratio = (found["sealed"] + found["opened"]) / found["bare"]
    print(f"JSON of {len(msgspec.json.encode(SEALED))} bytes, body of {len(BODY)}")
    print("  ".join(f"{name} {taken:.1f} us" for name, taken in found.items()), f" ratio {ratio:.2f}")
