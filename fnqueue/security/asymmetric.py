"""What suites 3 and up add: Ed25519 says who sent a message, HPKE lets only the workers read it.

Loaded when a ring has a key of these suites. Half of a pair may be absent: a `verify` or `seal` part holds only
what is public, and what cannot be done without the other half is not attempted (`KeyRing` says who lacks what).
Knows keys and bytes, as suites.py does.
"""

from __future__ import annotations

from typing import Final

import cryptography.hazmat.backends.openssl.backend  # noqa: F401 - else keys import it when they are made: see forks
from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from itsdangerous import Signer
from itsdangerous.signer import SigningAlgorithm

from fnqueue.security.primitives import lp
from fnqueue.security.suites import Unsealable

_PRIME: Final = 2**255 - 19
_HPKE: Final = hpke.Suite(hpke.KEM.X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM)


class Ed25519Pair:
    """`private` None: it verifies only."""

    __slots__ = ("private", "public")

    def __init__(self, seed: bytes | None, public: bytes | None = None) -> None:
        self.private = None if seed is None else Ed25519PrivateKey.from_private_bytes(seed)
        known = self.private.public_key() if self.private else Ed25519PublicKey.from_public_bytes(public or b"")
        self.public: Ed25519PublicKey = known


class _Algorithm(SigningAlgorithm):
    """The Signer's own key is not used: a pair is loaded once, and not from bytes for every message."""

    def __init__(self, pair: Ed25519Pair, ctx: bytes) -> None:
        self._pair, self._head = pair, lp(b"fnq1 ed25519") + ctx

    def get_signature(self, key: bytes, value: bytes) -> bytes:
        assert self._pair.private is not None, "KeyRing.sealer lets no other key here"
        return self._pair.private.sign(self._head + value)

    def verify_signature(self, key: bytes, value: bytes, sig: bytes) -> bool:
        try:
            self._pair.public.verify(sig, self._head + value)
        except InvalidSignature:
            return False
        return True


class Ed25519Tag:
    """Suites 3 and up: itsdangerous' Signer with Ed25519 over lp("fnq1 ed25519") || ctx || text."""

    __slots__ = ("holds", "make")

    def __init__(self, pair: Ed25519Pair, ctx: bytes) -> None:
        signer = Signer(b"", key_derivation="none", algorithm=_Algorithm(pair, ctx))
        self.make, self.holds = signer.get_signature, signer.verify_signature


class Hpke:
    """Suite 4: RFC 9180, base mode, X25519, HKDF-SHA256, AES-256-GCM; the aad is its `info`. `private` None: seals
    only. The ciphertext begins with the 32 bytes of the ephemeral key."""

    __slots__ = ("_private", "_public", "key_id", "opens")
    dk = None

    def __init__(self, private: bytes | None, public: bytes, key_id: str) -> None:
        self._private = None if private is None else X25519PrivateKey.from_private_bytes(private)
        self._public, self.key_id = X25519PublicKey.from_public_bytes(public), key_id
        self.opens = private is not None

    def to_seal(self, environment: str, queue: str) -> Hpke:
        return self

    def knows(self, environment: str, queue: str, dk: str | None) -> bool:
        return True

    def to_open(self, environment: str, queue: str, dk: str | None) -> Hpke:
        return self

    def seal(self, aad: bytes, frame: bytes, random32: bytes) -> bytes:
        return _HPKE.encrypt(
            frame, self._public, aad
        )  # its ephemeral key is its randomness; there is no nonce to hedge

    def unseal(self, aad: bytes, ciphertext: bytes) -> bytes:
        assert self._private is not None, "Verified.unseal lets no other key here"
        try:
            return _HPKE.decrypt(ciphertext, self._private, aad)
        except InvalidTag:
            raise Unsealable from None


# ------------------------------------------------------------------ public halves


def verify_of(seed: bytes) -> bytes:
    return Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()


def seal_of(private: bytes) -> bytes:
    return X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()


def is_weak(kind: str, public: bytes) -> bool:
    """Whether a public key (`verify`, `seal`) is a point of small order or none: then anybody could sign or read."""
    if kind == "verify":
        # The point of Curve25519 that belongs to it: u = (1 + y) / (1 - y). Small order stays small order.
        y = int.from_bytes(public, "little") % 2**255
        public = ((1 + y) * pow(1 - y, -1, _PRIME) % _PRIME).to_bytes(32, "little") if (y - 1) % _PRIME else bytes(32)
    try:
        X25519PrivateKey.from_private_bytes(bytes(range(32))).exchange(X25519PublicKey.from_public_bytes(public))
    except ValueError:
        return True
    return False
