"""Status tokens: who holds one, and is whom it was made for, may read one call's state until it expires.

    key id . call id . task . call expires . token expires . tag

The tag is itsdangerous', under a key and a salt of its own; the salt holds the subject (the user or the
session), which is not in the token: it stands in urls and logs. Whatever is wrong, the answer is the same.
Knows keys; knows nothing of stores or requests.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from itsdangerous import Signer

from fnqueue.errors import TokenInvalid
from fnqueue.security.keyring import KeyRecord, KeyRing
from fnqueue.security.primitives import from_base64, is_base64, lp, to_base64

_GRAMMAR: Final = re.compile(
    r"(?P<key>[a-z2-7]{8})\.(?P<id>[0-9a-z]{26})\.(?P<task>[A-Za-z0-9_-]{0,700})"
    r"\.(?P<call>[0-9]{1,12})\.(?P<expires>[0-9]{1,12})\.(?P<tag>[A-Za-z0-9_-]{43})"
)
_CHARS_MAX: Final = 1024


@dataclass(frozen=True, slots=True)
class StatusClaims:
    """What a token says. Times in unix seconds; `call_expires_at` 0: not known."""

    id: str
    task: str
    call_expires_at: int
    expires_at: int


def make(
    keyring: KeyRing, *, id: str, task: str = "", subject: str, call_expires_at: float = 0, expires_at: float
) -> str:
    """A token, safe in a url. `subject`: whom it is bound to, as "user:7" or a session's id."""
    key = keyring.primary
    text = f"{key.key_id}.{id}.{to_base64(task.encode()).decode()}.{math.ceil(call_expires_at)}.{math.ceil(expires_at)}"
    token = _signer(key, subject).sign(text).decode("ascii")
    if not _GRAMMAR.fullmatch(token):
        raise ValueError("a status token is for a call's id, a task of at most 525 bytes and times of our age")
    return token


def read(keyring: KeyRing, token: str, *, subject: str, now: float) -> StatusClaims:
    """What a token says, if it is ours, whole, `subject`'s and not expired. Raises TokenInvalid for all else."""
    match = _GRAMMAR.fullmatch(token) if len(token) <= _CHARS_MAX else None
    # itsdangerous takes junk in base64 for what it stands between, so the grammar comes first.
    if (
        match is None
        or not is_base64(match["tag"].encode())
        or (match["task"] and not is_base64(match["task"].encode()))
    ):
        raise TokenInvalid
    key = keyring.get(match["key"])
    if key is None or key.state == "revoked" or not key.can("state") or not _signer(key, subject).validate(token):
        raise TokenInvalid
    claims = StatusClaims(match["id"], _task(match["task"]), int(match["call"]), int(match["expires"]))
    if now >= claims.expires_at:
        raise TokenInvalid
    return claims


def _task(text: str) -> str:
    try:
        return from_base64(text.encode()).decode()
    except ValueError:
        raise TokenInvalid from None


def _signer(key: KeyRecord, subject: str) -> Signer:
    salt = b"fnq1 status" + lp(subject.encode())
    return Signer(key.purpose("token"), salt=salt, key_derivation="hmac", digest_method=sha256)
