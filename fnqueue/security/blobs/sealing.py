"""A large content sealed for itself. One AEAD, one fresh key for each.

    blob = AES-256-GCM(key, 0^96, content, "fnq1 blob" || name)

The key, the name and the hash of the blob are its reference. Knows bytes; knows no place where blobs are kept.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from hashlib import sha256
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from fnqueue.security.blobs.reference import Blob, Reference
from fnqueue.security.primitives import from_base64, to_base32, to_base64

_ZERO: Final = bytes(12)  # the key is fresh for every blob, so its one nonce may be zero
_RANDOM_BYTES: Final = 20
_DAY_SECONDS: Final = 86_400
_LAST_DAY: Final = 99_999


class Altered(ValueError):
    """These bytes are not the blob that the reference is of."""


def seal_blob(
    content: bytes, *, keep_until: float, digest: bytes | None = None, entropy: Callable[[int], bytes] = os.urandom
) -> tuple[Reference, Blob]:
    """`keep_until`: unix seconds; it may be swept away on the day after. `digest`: of the call, 16 bytes."""
    name = f"{day_of(keep_until):05d}-{to_base32(entropy(_RANDOM_BYTES))}"
    key = entropy(32)
    data = AESGCM(key).encrypt(_ZERO, content, _aad(name))
    reference = Reference(
        n=name,
        k=_text(key),
        h=_text(sha256(data).digest()),
        s=len(data),
        d=_text(digest) if digest is not None else None,
    )
    return reference, Blob(name, data)


def open_blob(reference: Reference, data: bytes) -> bytes:
    """The content. Raises Altered."""
    if len(data) != reference.s or sha256(data).digest() != from_base64(reference.h.encode()):
        raise Altered
    try:
        return AESGCM(from_base64(reference.k.encode())).decrypt(_ZERO, data, _aad(reference.n))
    except InvalidTag:
        raise Altered from None


def day_of(unix_seconds: float) -> int:
    return min(int(unix_seconds // _DAY_SECONDS), _LAST_DAY)


def _aad(name: str) -> bytes:
    return b"fnq1 blob" + name.encode()


def _text(data: bytes) -> str:
    return to_base64(data).decode("ascii")
