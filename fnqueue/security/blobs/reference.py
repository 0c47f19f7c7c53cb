"""A large content sealed for itself, and the reference that leads to it. One AEAD, one fresh key for each.

    blob = AES-256-GCM(key, 0^96, content, "fnq1 blob" || name)

The key, the name and the hash of the blob travel in a seal: in a message's, or in a record's. The hash is there
because whoever may open a message learns the key, and must not be able to put other arguments in their place.
Knows bytes; knows no place where blobs are kept.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from hashlib import sha256
from typing import Annotated, Final, NamedTuple

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from fnqueue.quotas import BLOB_BYTES_MAX
from fnqueue.security.primitives import from_base64, to_base32, to_base64

_ZERO: Final = bytes(12)  # the key is fresh for every blob, so its one nonce may be zero
_TAG_BYTES: Final = 16
_RANDOM_BYTES: Final = 20
#: The day until whose end it is kept, and 160 random bits: no letter of it can lead out of a folder.
NAME: Final = r"\A[0-9]{5}-[a-z2-7]{32}\Z"
_DAY_SECONDS: Final = 86_400
_LAST_DAY: Final = 99_999

_Key = Annotated[str, msgspec.Meta(pattern=r"\A[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]\Z")]


class Reference(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """n: name. k: key. h: SHA-256 of the blob. s: its bytes. d: the digest of the call that it is of."""

    n: Annotated[str, msgspec.Meta(pattern=NAME)]
    k: _Key
    h: _Key
    s: Annotated[int, msgspec.Meta(ge=_TAG_BYTES, le=BLOB_BYTES_MAX + _TAG_BYTES)]
    d: Annotated[str, msgspec.Meta(pattern=r"\A[A-Za-z0-9_-]{21}[AQgw]\Z")] | None = None

    def __repr__(self) -> str:
        return f"<Reference {self.n}>"  # and not the key


msgspec.json.Decoder(Reference)  # learnt while one thread imports: see frame.py


class Blob(NamedTuple):
    """To be put under its name."""

    name: str
    data: bytes

    def __repr__(self) -> str:
        return f"<Blob {self.name}>"


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
