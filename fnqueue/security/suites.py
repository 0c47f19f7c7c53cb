"""The closed table of suites: how a message is sealed and what its tag is.

A key record carries its suite, and a message whose suite is not its key's is refused: there is no
negotiation, no "none", no plaintext. A new suite is one class here and one line in the table.
Knows keys and bytes; knows nothing of headers, frames or fates.
"""

from __future__ import annotations

from hmac import compare_digest
from types import MappingProxyType
from typing import Final, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from fnqueue.security.keyring import Context, KeyRecord
from fnqueue.security.primitives import to_base64

NONCE_BYTES: Final = 24
_ZERO: Final = bytes(12)  # the key is fresh for every message, so its one nonce may be zero


class Unsealable(Exception):
    """The ciphertext does not open under this key and this context."""


class Suite(Protocol):
    """`prefix`: the text up to the header; `text`: up to the ciphertext, in base64; both exactly as transported."""

    name: str
    tag_characters: int

    def seal(self, key: KeyRecord, context: Context, prefix: bytes, frame: bytes, random32: bytes) -> bytes: ...
    def tag(self, key: KeyRecord, context: Context, text: bytes) -> bytes: ...
    def verify(self, key: KeyRecord, context: Context, text: bytes, tag: bytes) -> bool: ...
    def unseal(self, key: KeyRecord, context: Context, prefix: bytes, ciphertext: bytes) -> bytes: ...


class Local:
    """Suite 1: HMAC-SHA256 outside, AES-256-GCM with a fresh key per message inside.

    The tag is what `itsdangerous.Signer(sig, salt=b"fnq1 hmac" + ctx, key_derivation="hmac",
    digest_method=sha256)` writes. The Signer derives its key at every call; here that is done once for a
    context. A test holds the two equal, byte for byte.
    """

    name = "local"
    tag_characters = 43

    def seal(self, key: KeyRecord, context: Context, prefix: bytes, frame: bytes, random32: bytes) -> bytes:
        aad = context.ctx + prefix
        # Hedged: should the system's randomness ever repeat, two different messages still get two nonces.
        nonce = key.hedge(random32 + len(aad).to_bytes(4, "big") + aad + frame)[:NONCE_BYTES]
        return nonce + AESGCM(key.seal.expand(b"fnq1 msg1" + nonce)).encrypt(_ZERO, frame, aad)

    def tag(self, key: KeyRecord, context: Context, text: bytes) -> bytes:
        return to_base64(context.tag(text))

    def verify(self, key: KeyRecord, context: Context, text: bytes, tag: bytes) -> bool:
        # The texts are compared, not the bytes: a second spelling of the same bytes is not the tag.
        return compare_digest(self.tag(key, context, text), tag)

    def unseal(self, key: KeyRecord, context: Context, prefix: bytes, ciphertext: bytes) -> bytes:
        """Raises Unsealable."""
        cipher = AESGCM(key.seal.expand(b"fnq1 msg1" + ciphertext[:NONCE_BYTES]))
        try:
            return cipher.decrypt(_ZERO, ciphertext[NONCE_BYTES:], context.ctx + prefix)
        except InvalidTag:
            raise Unsealable from None


SUITES: Final = MappingProxyType[str, Suite]({"1": Local()})
