"""The few operations on bytes that everything in this room is built from.

Each is a page of a standard in one line (HKDF-Expand of 32 bytes is a single HMAC, RFC 5869), written out
because the ready-made classes cost more than the work; the tests prove them equal to `cryptography`.
Knows no keys and no formats.
"""

from __future__ import annotations

import base64
import binascii
from hmac import digest
from typing import Final

_TO_URL: Final = bytes.maketrans(b"+/", b"-_")
_FROM_URL: Final = bytes.maketrans(b"-_", b"+/")
#: What the last character may be, by the length modulo 4, so that no bits are left over. One is never right.
_LAST: Final = (None, "", "AQgw", "AEIMQUYcgkosw048")


def lp(*parts: bytes) -> bytes:
    """Each part behind its 4-byte length: two different lists never give the same bytes."""
    return b"".join([len(part).to_bytes(4, "big") + part for part in parts])


def mac(key: bytes, data: bytes) -> bytes:
    """HMAC-SHA256, 32 bytes."""
    return digest(key, data, "sha256")


def expand(key: bytes, info: bytes) -> bytes:
    """HKDF-Expand (RFC 5869) with SHA-256 to 32 bytes."""
    return digest(key, info + b"\x01", "sha256")


def to_base64(data: bytes) -> str:
    """base64url without padding."""
    return binascii.b2a_base64(data, newline=False).translate(_TO_URL).rstrip(b"=").decode("ascii")


def is_canonical(text: str) -> bool:
    """Whether base64url text, of whose alphabet the caller is sure, is what `to_base64` would have written."""
    last = _LAST[len(text) % 4]
    return last is None or text[-1] in last


def from_base64(text: str) -> bytes:
    """The bytes of canonical base64url text, which the caller has checked."""
    return binascii.a2b_base64(text.encode("ascii").translate(_FROM_URL) + b"==="[: -len(text) % 4])


def to_base32(data: bytes) -> str:
    """base32 in lower case without padding: a-z2-7."""
    return base64.b32encode(data).decode("ascii").rstrip("=").lower()


def from_base32(text: str) -> bytes:
    """The bytes of 8n characters of a-z2-7, which the caller has checked."""
    return base64.b32decode(text.upper())
