"""What is sealed besides messages: results, schedules, blobs; and the keyed hashes that stand for names.

Each purpose has its own key, so that who may read results can forge no message. A record binds its purpose
and its id: moved to another id it does not open. Sealed with the primary key, opened with the key it names.
Knows keys; knows nothing of what is inside, or of stores.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import cache
from hashlib import sha256
from typing import Any, Final, Literal

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from fnqueue.codec.secret import reveal
from fnqueue.errors import EnvelopeError
from fnqueue.security.keyring import KeyRecord, KeyRing
from fnqueue.security.primitives import from_base64, lp, to_base32

Purpose = Literal["result", "schedule", "blob", "token", "group", "audit"]

_VERSION: Final = b"\x01"
_NONCE: Final = slice(9, 33)
_ZERO: Final = bytes(12)
_KEY_ID_LENGTH: Final = (8).to_bytes(4, "big")
_sorted = msgspec.json.Encoder(enc_hook=reveal, order="deterministic").encode


# ------------------------------------------------------------------ sealed records


def seal_record(
    keyring: KeyRing, purpose: Purpose, context_id: str, data: bytes, *, entropy: Callable[[int], bytes] = os.urandom
) -> bytes:
    """`data` sealed for one purpose and one id: 1 byte version, 8 key id, 24 nonce, then AES-256-GCM.

    49 bytes longer than `data`. Raises KeysMissing without a primary key.
    """
    key = keyring.primary
    aad = _aad(key, purpose, context_id)
    hedge = b"fnq1 hedge" + entropy(32) + len(aad).to_bytes(4, "big") + aad + data
    nonce = key.mac_for(purpose)(hedge)[:24]
    return _VERSION + key.key_id.encode() + nonce + _cipher(key, purpose, nonce).encrypt(_ZERO, data, aad)


def unseal_record(keyring: KeyRing, purpose: Purpose, context_id: str, sealed: bytes) -> bytes:
    """The data of `seal_record`. Raises EnvelopeError MALFORMED, UNKNOWN_KEY, REVOKED_KEY or UNSEAL; KeysMissing
    where no key at all has a state part."""
    if len(sealed) < 49 or sealed[:1] != _VERSION:
        raise EnvelopeError("MALFORMED", "not a sealed record")
    key_id = sealing_key_id(sealed)
    key = keyring.get(key_id)
    if key is None:
        raise EnvelopeError("UNKNOWN_KEY", f"key {key_id!r} is not in the key ring")
    if key.state == "revoked":
        raise EnvelopeError("REVOKED_KEY", f"key {key_id} is revoked")
    if purpose not in key.purposes and keyring.keepers:  # else nothing opens here: that is said louder
        raise EnvelopeError("UNKNOWN_KEY", key.lacks("state") or "")
    try:
        cipher = _cipher(key, purpose, sealed[_NONCE])
        return cipher.decrypt(_ZERO, sealed[33:], _aad(key, purpose, context_id))
    except InvalidTag:
        raise EnvelopeError("UNSEAL", f"the {purpose} record does not open") from None


def sealing_key_id(sealed: bytes) -> str:
    """The id of the key that a record is sealed with, as it says itself."""
    return sealed[1:9].decode("latin-1")


def _aad(key: KeyRecord, purpose: str, context_id: str) -> bytes:
    # lp of four parts; three of them are the same for a whole purpose, and key ids are as long as each other.
    context = context_id.encode()
    return b"".join((_aad_head(purpose), len(context).to_bytes(4, "big"), context, _KEY_ID_LENGTH, key.key_id.encode()))


@cache
def _aad_head(purpose: str) -> bytes:
    return lp(b"fnq1 record", purpose.encode())


def _cipher(key: KeyRecord, purpose: str, nonce: bytes) -> AESGCM:
    return AESGCM(key.mac_for(purpose).expand(b"fnq1 record" + nonce))


# ------------------------------------------------------------------ keyed hashes


def mac(key: KeyRecord, purpose: Purpose, data: bytes) -> bytes:
    """HMAC-SHA256 under one purpose's key, 32 bytes. Put `lp` around parts that are joined."""
    return key.mac_for(purpose)(data)


def group_id(key: KeyRecord, queue: str, group: str) -> str:
    """26 characters a-z2-7 that stand for a group of a queue, and tell nobody which."""
    return _name(key, queue, group)


def dedupe_id(key: KeyRecord, task: str, tenant: str | None, dedupe: str) -> str:
    """26 characters that stand for a deduplication key of a task, per tenant.

    After a rotation look under the accepted keys as well: the first call may have been hashed with one.
    """
    # Four parts and a tag of presence: no tenant is another name than the tenant "".
    return _name(key, "fnq1 dedupe", task, "-" if tenant is None else f"+{tenant}", dedupe)


def _name(key: KeyRecord, *parts: str) -> str:
    return to_base32(mac(key, "group", lp(*[part.encode() for part in parts])))[:26]


# ------------------------------------------------------------------ is it the same call?


def call_digest(task: str, sealed: Mapping[str, Any]) -> bytes:
    """16 bytes that two sealings of one call have in common, whatever their keys: task, arguments, principal, node.

    Another digest under the same id is an ID_CONFLICT. No key is in it, so that a rotation changes nothing and a
    task costs a microsecond: keep it inside a seal or under a MAC, or small arguments are found by trying.
    A call whose arguments are elsewhere says it itself, as its sender found it.
    """
    field = sealed.get
    elsewhere = field("bl")
    if elsewhere is not None:
        return from_base64(elsewhere["d"].encode())
    same = (task, field("args") or None, field("kwargs") or None, field("p"), field("w"))
    return sha256(_sorted(same)).digest()[:16]
