"""The few operations on bytes that everything in this room is built from.

Each is a page of a standard in a line or two, written out because the ready-made classes cost several times
the work: HMAC (RFC 2104) with the two blocks of its key computed once, HKDF-Expand of 32 bytes (RFC 5869),
which is a single HMAC, and base64url without padding. The tests prove them equal to `hmac`, `cryptography`
and `base64`. Knows no keys and no formats.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import string
from hashlib import sha256
from typing import Final, NoReturn

_BLOCK: Final = 64
_PIECE: Final = 65_536
_INNER: Final = bytes(byte ^ 0x36 for byte in range(256))
_OUTER: Final = bytes(byte ^ 0x5C for byte in range(256))
_TO_URL: Final = bytes.maketrans(b"+/", b"-_")
_FROM_URL: Final = bytes.maketrans(b"-_", b"+/")
_ALPHABET: Final = string.ascii_letters.encode() + string.digits.encode() + b"-_"
#: What the last character may be, by the length modulo 4, so that no bits are left over. One is never right.
_LAST: Final = (_ALPHABET, b"", b"AQgw", b"AEIMQUYcgkosw048")


def lp(*parts: bytes) -> bytes:
    """Each part behind its 4-byte length: two different lists never give the same bytes."""
    return b"".join([len(part).to_bytes(4, "big") + part for part in parts])


class Mac:
    """HMAC-SHA256 under one key of at most 64 bytes, for keys that are used often."""

    __slots__ = ("_inner", "_outer")

    def __init__(self, key: bytes) -> None:
        block = key.ljust(_BLOCK, b"\x00")
        if len(block) != _BLOCK:
            raise ValueError("a key of more than 64 bytes")
        self._inner, self._outer = block.translate(_INNER), block.translate(_OUTER)

    def __call__(self, data: bytes) -> bytes:
        if len(data) > _PIECE:  # too much to be copied behind the key
            inner = sha256(self._inner)
            inner.update(data)
            return sha256(self._outer + inner.digest()).digest()
        return sha256(self._outer + sha256(self._inner + data).digest()).digest()

    def __reduce__(self) -> NoReturn:
        raise TypeError("a key does not travel to another process: load it there")

    def expand(self, info: bytes) -> bytes:
        """HKDF-Expand with SHA-256 to 32 bytes."""
        return sha256(self._outer + sha256(self._inner + info + b"\x01").digest()).digest()


def mac(key: bytes, data: bytes) -> bytes:
    """HMAC-SHA256, 32 bytes."""
    return hmac.digest(key, data, "sha256")


def expand(key: bytes, info: bytes) -> bytes:
    """HKDF-Expand with SHA-256 to 32 bytes."""
    return hmac.digest(key, info + b"\x01", "sha256")


def to_base64(data: bytes) -> bytes:
    """base64url without padding."""
    return binascii.b2a_base64(data, newline=False).translate(_TO_URL).rstrip(b"=")


def is_base64(text: bytes) -> bool:
    """Whether it is base64url as `to_base64` writes it, and not empty."""
    return text != b"" and not _others(text) and text[-1] in _LAST[len(text) % 4]


def _others(text: bytes) -> bool:
    """Whether it holds other characters; a long one is not copied for it."""
    if len(text) <= _PIECE:
        return text.translate(None, _ALPHABET) != b""
    pieces = (text[at : at + _PIECE] for at in range(0, len(text), _PIECE))
    return any(piece.translate(None, _ALPHABET) for piece in pieces)


def from_base64(text: bytes) -> bytes:
    """The bytes of what `is_base64` let pass."""
    return binascii.a2b_base64(text.translate(_FROM_URL) + b"==="[: -len(text) % 4])


def to_base32(data: bytes) -> str:
    """base32 in lower case without padding: a-z2-7."""
    return base64.b32encode(data).decode("ascii").rstrip("=").lower()


def from_base32(text: str) -> bytes:
    """The bytes of 8n characters of a-z2-7, which the caller has checked."""
    return base64.b32decode(text.upper())
