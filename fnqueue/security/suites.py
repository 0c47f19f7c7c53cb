"""The closed table of suites: how a message is tagged and sealed, and which parts a key of each has.

A key carries its suite, and a message whose suite is not its key's is refused: there is no negotiation, no
"none", no plaintext. What differs between suites is two objects that a key holds: a `Tag`, which says who sent
it, and a `Sealing`, which says who may read it. All else is one path. A new suite is a line in the table and
perhaps one such class. Those of public keys are in asymmetric.py, that of AWS KMS in kms/.
Knows keys and bytes; knows nothing of headers, frames or fates.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hmac import compare_digest
from types import MappingProxyType
from typing import Final, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from fnqueue.security.primitives import Mac, expand, to_base64

NONCE_BYTES: Final = 24
_ZERO: Final = bytes(12)  # the key is fresh for every message, so its one nonce may be zero


@dataclass(frozen=True, slots=True)
class Suite:
    """`signer`: the types of which a key has exactly one; `others`: of each group at most one."""

    digit: str
    name: str
    signer: tuple[str, ...]
    others: tuple[tuple[str, ...], ...]


SUITES: Final = MappingProxyType(
    {
        "1": Suite("1", "local", ("root",), ()),
        "3": Suite("3", "signed", ("sign", "verify"), (("shared",), ("state",))),
        "4": Suite("4", "split", ("sign", "verify"), (("seal", "open"), ("state",))),
        "5": Suite("5", "kms", ("sign", "verify"), (("kms",), ("state",))),
    }
)
DIGITS: Final = MappingProxyType({suite.name: suite.digit for suite in SUITES.values()})


class Unsealable(Exception):
    """The ciphertext does not open under this key and this context."""


class Tag(Protocol):
    """One key's tags in one context. `text`: all up to the tag, exactly as transported; a tag: its base64."""

    def make(self, text: bytes, /) -> bytes: ...
    def holds(self, text: bytes, tag: bytes, /) -> bool: ...


class Sealer(Protocol):
    """Seals one message. `aad`: the context and all up to the header's end."""

    @property
    def dk(self) -> str | None:
        """What the header's `dk` says: a wrapped key. None in suites that send none."""
        ...

    def seal(self, aad: bytes, frame: bytes, random32: bytes, /) -> bytes: ...


class Opener(Protocol):
    """Opens one message."""

    def unseal(self, aad: bytes, ciphertext: bytes, /) -> bytes:
        """Raises Unsealable."""
        ...


class Sealing(Protocol):
    """How one key's messages are sealed."""

    @property
    def key_id(self) -> str | None:
        """What the header's `ek` names; None: the signer's own."""
        ...

    @property
    def opens(self) -> bool:
        """Whether it can open, too."""
        ...

    def to_seal(self, environment: str, queue: str, /) -> Sealer: ...

    def knows(self, environment: str, queue: str, dk: str | None, /) -> bool:
        """Whether `to_open` asks nobody."""
        ...

    def to_open(self, environment: str, queue: str, dk: str | None, /) -> Opener:
        """`dk`: what the header says. Raises Unsealable."""
        ...


class HmacTag:
    """Suite 1: what `itsdangerous.Signer(sig, salt=b"fnq1 hmac" + ctx, key_derivation="hmac",
    digest_method=sha256)` writes. The Signer derives its key at every call; here that is done once for a
    context. A test holds the two equal, byte for byte.
    """

    __slots__ = ("_mac",)

    def __init__(self, sig: Mac, ctx: bytes) -> None:
        self._mac = Mac(sig(b"fnq1 hmac" + ctx))

    def make(self, text: bytes) -> bytes:
        return to_base64(self._mac(text))

    def holds(self, text: bytes, tag: bytes) -> bool:
        # The texts are compared, not the bytes: a second spelling of the same bytes is not the tag.
        return compare_digest(to_base64(self._mac(text)), tag)


class Symmetric:
    """Suites 1 and 3, and each data key of 5: AES-256-GCM with a fresh key per message. Who seals can open, too."""

    __slots__ = ("_hedge", "_info", "_seal", "key_id")
    opens, dk = True, None

    def __init__(self, prk: bytes, suite: str, key_id: str | None) -> None:
        self._seal, self._hedge = Mac(expand(prk, b"seal")), Mac(expand(prk, b"hedge"))
        self._info, self.key_id = b"fnq1 msg" + suite.encode(), key_id

    def to_seal(self, environment: str, queue: str) -> Symmetric:
        return self

    def knows(self, environment: str, queue: str, dk: str | None) -> bool:
        return True

    def to_open(self, environment: str, queue: str, dk: str | None) -> Symmetric:
        return self

    def seal(self, aad: bytes, frame: bytes, random32: bytes) -> bytes:
        # Hedged: should the system's randomness ever repeat, two different messages still get two nonces.
        nonce = self._hedge(random32 + len(aad).to_bytes(4, "big") + aad + frame)[:NONCE_BYTES]
        return nonce + AESGCM(self._seal.expand(self._info + nonce)).encrypt(_ZERO, frame, aad)

    def unseal(self, aad: bytes, ciphertext: bytes) -> bytes:
        cipher = AESGCM(self._seal.expand(self._info + ciphertext[:NONCE_BYTES]))
        try:
            return cipher.decrypt(_ZERO, ciphertext[NONCE_BYTES:], aad)
        except InvalidTag:
            raise Unsealable from None


def accepted(names: Iterable[str]) -> Mapping[str, frozenset[str]]:
    """FNQUEUE_SUITES -> the digits that a logical queue takes, "" for all others: "split", "mail=signed|split".

    Empty: a queue takes what its keys are of. Raises ValueError for what is no suite.
    """
    found: dict[str, frozenset[str]] = {}
    for name in names:
        queue, _, suites = name.rpartition("=")
        unknown = [suite for suite in suites.split("|") if suite not in DIGITS]
        if unknown:
            raise ValueError(f"{unknown[0]!r} is no suite; there are {', '.join(DIGITS)}")
        found[queue] = found.get(queue, frozenset()) | {DIGITS[suite] for suite in suites.split("|")}
    return found
