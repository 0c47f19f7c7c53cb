"""What sealing, opening and refusing cost in each suite and for each size, and how long 1 MiB of rubbish takes.

    python -m tests.benchmarks.suites [rounds]

Suites and sizes take turns. In suite kms the data key is one that is kept, as it is for all messages but one in
thousands: KMS's part is played here by a wrapping of our own, which is asked once.
A forgery is a message like others whose tag is false: whoever can write to the queue can make as many as he likes,
so refusing one must cost less than running one. Rubbish is worst when it has the grammar and a key's id, both of
which a reader of the queue knows: then all of it is hashed.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from fnqueue.errors import EnvelopeError
from fnqueue.quotas import BODY_BYTES_MAX
from fnqueue.security.envelope import seal, verify
from fnqueue.security.ids import new_id
from fnqueue.security.keyring import KeyRing
from fnqueue.security.keystrings import new_key
from fnqueue.security.kms.datakeys import Kms
from fnqueue.security.principal import Principal
from fnqueue.security.suites import SUITES

NOW = 1_767_225_600.0
ID = new_id(NOW)
ARN = "arn:aws:kms:eu-west-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"
KINDS = ("seal", "open", "forged")
#: Characters of the argument. The JSON of the first is 500 bytes, the body of the last 900 kB.
SIZES = {"500 B": 418, "10 kB": 9_900, "100 kB": 99_900, "900 kB": 674_000}
#: How often in a round: the small ones are over so soon that one says little.
TIMES = {"500 B": 20, "10 kB": 10, "100 kB": 3, "900 kB": 1}


class OwnWrapping:
    """In the place of KMS: 184 bytes as AWS's, that stand for a key. Asked once."""

    def __init__(self) -> None:
        self._keys: dict[bytes, bytes] = {}

    def generate(self, context: Mapping[str, str]) -> tuple[bytes, bytes]:
        plain, wrapped = os.urandom(32), os.urandom(184)
        self._keys[wrapped] = plain
        return plain, wrapped

    def unwrap(self, wrapped: bytes, context: Mapping[str, str]) -> bytes:
        return self._keys[wrapped]


def ring_of(suite: str) -> KeyRing:
    if suite != "5":
        return KeyRing.from_text(new_key(suite))
    record = KeyRing.from_text(new_key("5", kms=ARN)).primary
    assert record.sealing is not None
    return KeyRing([replace(record, sealing=Kms(str(record.sealing.key_id), OwnWrapping()))])


class Suite:
    """One suite's key, and a message of each size."""

    def __init__(self, digit: str) -> None:
        self.ring = ring_of(digit)
        self.bodies = {size: self.sealed(characters) for size, characters in SIZES.items()}
        self.forged = {size: self._forged(body) for size, body in self.bodies.items()}
        header = self.bodies["500 B"].rsplit(".", 2)[0]
        tag = "A" * (43 if digit == "1" else 86)
        room = (BODY_BYTES_MAX - len(header) - len(tag) - 2) // 4 * 4
        self.rubbish = f"{header}.{'A' * room}.{tag}"

    def sealed(self, characters: int) -> str:
        sealed: dict[str, Any] = {
            "p": Principal("7", roles=frozenset({"editor"})).to_wire(),
            "args": [1, "a" * characters],
            "kwargs": {"month": "2026-01"},
        }
        return seal(
            keyring=self.ring,
            environment="production",
            queue="billing",
            id=ID,
            task="shop.tasks.send_invoice",
            created_at=NOW,
            expires_at=NOW + 345_600,
            principal_kind="user",
            sealed=sealed,
        )

    def opened(self, body: str) -> dict[str, Any]:
        verified = verify(body, keyring=self.ring, environment="production", queue="billing", now=NOW)
        verified.check_times()
        verified.check_limits()
        return verified.unseal()

    def refused(self, body: str) -> str:
        try:
            self.opened(body)
        except EnvelopeError as error:
            return error.code
        raise AssertionError("a forgery was opened")

    @staticmethod
    def _forged(body: str) -> str:
        at = len(body) - 10
        return body[:at] + ("A" if body[at] != "A" else "B") + body[at + 1 :]


def measured(rounds: int) -> dict[str, float]:
    """Medians in seconds: "seal 1 500 B", "open ...", "forged ..." for each suite and size, "rubbish 1", "rubbish"."""
    suites = {digit: Suite(digit) for digit in SUITES}
    work: dict[str, tuple[Callable[[], Any], int]] = {
        "rubbish without a key": (lambda: next(iter(suites.values())).refused("." * BODY_BYTES_MAX), 1)
    }
    for digit, suite in suites.items():
        assert suite.refused(suite.rubbish) == "BAD_TAG"
        assert {suite.refused(body) for body in suite.forged.values()} == {"BAD_TAG"}
        work[f"rubbish {digit}"] = (lambda suite=suite: suite.refused(suite.rubbish), 1)
        for size, characters in SIZES.items():
            work[f"seal {digit} {size}"] = (lambda s=suite, n=characters: s.sealed(n), TIMES[size])
            work[f"open {digit} {size}"] = (lambda s=suite, b=suite.bodies[size]: s.opened(b), TIMES[size])
            work[f"forged {digit} {size}"] = (lambda s=suite, b=suite.forged[size]: s.refused(b), TIMES[size])
    taken: dict[str, list[int]] = {name: [] for name in work}
    for _ in range(rounds):
        for name, (function, times) in work.items():
            for _ in range(times):
                started = time.perf_counter_ns()
                function()
                taken[name].append(time.perf_counter_ns() - started)
    return {name: statistics.median(times) / 1e9 for name, times in taken.items()}


if __name__ == "__main__":
    from tests.benchmarks.report import sealing_table

    print(sealing_table({"micro": measured(int(sys.argv[1]) if len(sys.argv) > 1 else 20)}))
