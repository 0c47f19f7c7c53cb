"""Key strings: `fnqk1-`, a type, and 56 characters a-z2-7, which are 32 bytes and 3 of checksum.

    root     suite 1: all there is          state    32 random bytes: results, tokens, schedules
    sign     Ed25519, private               verify   its public half
    open     X25519, private                seal     its public half
    shared   suite 3: seals and opens

In suite 5 AWS KMS seals and opens, so there the part of that use is no secret: the ARN of its key (`;kms=`).

The checksum covers the type, so a public half cannot be renamed into a private one. Parts that belong together
are joined by `+` and are one key; what it may be used for follows from its parts.
No error made here contains a key. Knows nothing of rings or of messages.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from hashlib import sha256
from itertools import pairwise
from typing import Final

from fnqueue import forks
from fnqueue.errors import KeyInvalid
from fnqueue.security.primitives import from_base32, mac, to_base32
from fnqueue.security.suites import SUITES

KEY_PREFIX: Final = "fnqk1-"
TYPES: Final = ("root", "sign", "verify", "seal", "open", "shared", "state")
#: private type -> the type of its public half.
PUBLIC_HALF: Final = {"sign": "verify", "open": "seal"}
_DATA: Final = re.compile(r"[a-z2-7]{56}")
_AGAIN: Final = "make one: fnqueue keys new"


def new_key(suite: str = "1", *, kms: str | None = None) -> str:
    """A new key, whole: every part that its suite has, and of pairs the private half. `kms`: of suite 5, the ARN."""
    if suite == "1":
        return new_part("root")
    if (kms is None) == (suite == "5"):
        raise KeyInvalid("a key of suite kms, and no other, names a KMS key: arn:aws:kms:REGION:ACCOUNT:key/ID")
    whole = ("sign", *(group[-1] for group in SUITES[suite].others if group[-1] in TYPES))
    return "+".join(map(new_part, whole)) + f";suite={SUITES[suite].name}" + (f";kms={kms}" if kms else "")


def new_part(kind: str) -> str:
    """A new part of a private type."""
    return write_part(kind, secrets.token_bytes(32))


def write_part(kind: str, raw: bytes) -> str:
    """The key string of 32 bytes. Raises KeyInvalid for weak ones."""
    _refuse_weak(kind, raw)
    return f"{KEY_PREFIX}{kind}-{to_base32(raw + _checksum(kind, raw))}"


def parse_parts(text: str) -> dict[str, bytes]:
    """Parts joined by `+`, by type. Raises KeyInvalid, which never quotes them."""
    parts: dict[str, bytes] = {}
    for each in text.split("+"):
        kind, raw = _parse_part(each)
        if kind in parts:
            raise KeyInvalid(f"it has two '{kind}' parts")
        parts[kind] = raw
    return parts


def parse_key(text: str) -> bytes:
    """The 32 bytes of a root key's string. Raises KeyInvalid for every other."""
    kind, raw = _parse_part(text)
    if kind != "root":
        raise KeyInvalid(f"it is a '{kind}' key, and no root key")
    return raw


def _parse_part(text: str) -> tuple[str, bytes]:
    kind, _, data = text.removeprefix(KEY_PREFIX).partition("-")
    if not text.startswith(KEY_PREFIX) or kind not in TYPES:
        raise KeyInvalid(f"it does not begin with fnqk1-root-, so it is no key of fnqueue; {_AGAIN}")
    if len(data) != 56:
        raise KeyInvalid(f"it has {len(data)} characters after fnqk1-{kind}-, and must have 56")
    if not _DATA.fullmatch(data):
        raise KeyInvalid(f"it has characters other than a-z and 2-7 after fnqk1-{kind}-")
    raw = from_base32(data)
    if _checksum(kind, raw[:32]) != raw[32:]:
        raise KeyInvalid(
            "its checksum does not fit: a character was changed, two were swapped, or it was made for another type"
        )
    _refuse_weak(kind, raw[:32])
    return kind, raw[:32]


def with_public_halves(parts: Mapping[str, bytes]) -> dict[str, bytes]:
    """The parts, and what follows from them."""
    with forks.importing():
        from fnqueue.security import asymmetric  # not at the top: suite 1 needs none of it

    found = dict(parts)
    if "sign" in parts:
        found["verify"] = asymmetric.verify_of(parts["sign"])
    if "open" in parts:
        found["seal"] = asymmetric.seal_of(parts["open"])
    return found


def suite_of(parts: Mapping[str, bytes], name: str | None) -> str:
    """The digit of the suite that a key with these parts has, where `suite=` says `name`. Raises KeyInvalid."""
    named = [suite for suite in SUITES.values() if suite.name == (name or ("local" if "root" in parts else None))]
    if not named:
        known = " or ".join(f"suite={suite.name}" for suite in SUITES.values() if suite.digit != "1")
        raise KeyInvalid(f"it must say of which suite it is: ;{known}")
    (suite,) = named
    groups = (suite.signer, *suite.others)
    wrong = [kind for kind in parts if not any(kind in group for group in groups)]
    if wrong:
        raise KeyInvalid(f"a key of suite {suite.name} has no '{wrong[0]}' part")
    for group in groups:
        if len([kind for kind in parts if kind in group]) > 1:
            raise KeyInvalid(f"of the parts {' and '.join(group)} a key has one: the other half is in it")
    if not any(kind in parts for kind in suite.signer):
        raise KeyInvalid(f"a key of suite {suite.name} begins with a part {' or '.join(suite.signer)}")
    return suite.digit


def key_id_of(data: bytes) -> str:
    """8 characters a-z2-7 that stand for a PRK or a public key."""
    return to_base32(sha256(b"fnq1 kid" + data).digest()[:5])


def prk_of(kind: str, raw: bytes) -> bytes:
    """What the keys for the purposes of a root, shared or state part are expanded from."""
    return mac(f"fnqueue v1 {kind}".encode(), raw)


def _checksum(kind: str, raw: bytes) -> bytes:
    return sha256(f"fnq1 check {kind}".encode() + raw).digest()[:3]


def _refuse_weak(kind: str, raw: bytes) -> None:
    """32 random bytes have 30 different values, and 30 different steps between them; less than 20 is not chance."""
    steps = {(after - before) % 256 for before, after in pairwise(raw)}
    if len(raw) == 32 and all(32 <= byte < 127 for byte in raw):
        raise KeyInvalid(f"it is weak: its bytes are text. {_AGAIN.capitalize()}")
    if len(raw) != 32 or len(set(raw)) < 20 or len(steps) < 20:
        raise KeyInvalid(f"it is weak: its bytes repeat or count. {_AGAIN.capitalize()}")
    if kind in PUBLIC_HALF.values():
        with forks.importing():
            from fnqueue.security.asymmetric import is_weak  # not at the top: suite 1 needs none of it

        if is_weak(kind, raw):
            raise KeyInvalid(f"it is weak: a public key under which everybody could pass. {_AGAIN.capitalize()}")
