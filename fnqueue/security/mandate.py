"""Mandates: for whom, for which tasks and until when those who may not speak for users defer calls all the same.

    key id . claims . tag

A web node that defers a call for a user signs one and puts it into the call's seal, if its task says what it defers
(`@fn.task(defers=...)`). A worker whose key may not mint (`;mint=no`) puts it into the calls that the task makes.
Whoever opens such a call proves it again: by a key that may mint, of this environment, for this call tree (`rt`), this
person with no more rights, this task, and an expiry that is not later. So a stolen worker can make calls that the calls
it has seen had leave to make, and invent nobody.

A call that was made under a mandate hands the same one on, so it names all that may follow. A producer that seals later
steps before they are due (a workflow) makes one for all of them in the same way.
Only for keys that sign: with a root key whoever verifies could write one.
Knows keys and principals; knows no tasks and no messages.
"""

from __future__ import annotations

import re
from typing import Annotated, Final

import msgspec

from fnqueue.errors import EnvelopeError, KeyInvalid
from fnqueue.security.keyrecord import KeyRecord, matches
from fnqueue.security.keyring import KeyRing
from fnqueue.security.primitives import from_base64, is_base64, lp, to_base64
from fnqueue.security.principal import WirePrincipal

_ROUNDING_SECONDS: Final = 0.001  # of a time that was made a datetime and back
_CLAIMS_MAX: Final = 20_000  # characters
_GRAMMAR: Final = re.compile(rf"([a-z2-7]{{8}})\.([A-Za-z0-9_-]{{1,{_CLAIMS_MAX}}})\.([A-Za-z0-9_-]{{86}})")


class Mandate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """p: the principal with all rights it may have. t: names of tasks, which may end in `*`. r: the id of the first
    call of the tree. x: the latest expiry of a call under it, unix seconds."""

    p: WirePrincipal
    t: tuple[str, ...]
    r: str
    x: Annotated[int, msgspec.Meta(ge=0, lt=2**40)]

    def forbids(self, *, task: str, principal: WirePrincipal, root: str | None, expires_at: int) -> str | None:
        """Why it does not cover this call; None: it does. The text names tasks and no people."""
        if root != self.r:
            return "it is of another tree of calls"
        if not any(matches(task, name) for name in self.t):
            return f"{task} is not among the tasks that it names: {', '.join(self.t)}"
        if expires_at > self.x:
            return "the call would expire after it"
        return None if _is_within(principal, self.p) else "the call is for somebody else, or with more rights"


_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(Mandate).decode


def issue(key: KeyRecord, environment: str, mandate: Mandate) -> str:
    """The text of a mandate, signed by a key that may mint and has a pair to sign with.

    Raises KeyInvalid for one that nobody would read, because there are so many roles or tasks in it.
    """
    claims = to_base64(_encode(mandate))
    if len(claims) > _CLAIMS_MAX:
        raise KeyInvalid(
            f"a mandate for {len(mandate.t)} tasks, {len(mandate.p.r)} roles and {len(mandate.p.s)} scopes has "
            f"{len(claims):,} characters, and may have {_CLAIMS_MAX:,}: name fewer, attenuate() takes roles away"
        )
    text = key.key_id.encode() + b"." + claims
    return (text + b"." + key.tag_for(_context(environment)).make(text)).decode("ascii")


def can_issue(key: KeyRecord) -> bool:
    return key.suite != "1" and key.limits.mint and key.can("sign")


def read(text: str) -> Mandate:
    """What it says, without any proof. Raises EnvelopeError KEY_NOT_FOR_TASK."""
    match = _GRAMMAR.fullmatch(text)
    if match is None or not is_base64(match[2].encode()):
        raise EnvelopeError("KEY_NOT_FOR_TASK", "what stands for a mandate is none")
    try:
        return _decode(from_base64(match[2].encode()))
    except (ValueError, RecursionError):
        raise EnvelopeError("KEY_NOT_FOR_TASK", "what stands for a mandate is none") from None


def prove(text: str | None, ring: KeyRing, environment: str) -> tuple[Mandate, KeyRecord]:
    """What it says, once it is proved, and the key that signed it.

    Raises EnvelopeError KEY_NOT_FOR_TASK; REVOKED_KEY, UNKNOWN_KEY of its key.
    """
    if text is None:
        raise EnvelopeError("KEY_NOT_FOR_TASK", "its key speaks for users only under a mandate, and there is none")
    mandate, (key_id, _, tag) = read(text), text.split(".")
    key = ring.get(key_id)
    if key is None:
        raise EnvelopeError("UNKNOWN_KEY", f"key {key_id} of its mandate is not in the key ring")
    if key.state == "revoked":
        raise EnvelopeError("REVOKED_KEY", f"key {key_id} of its mandate is revoked")
    proved = key.suite != "1" and key.tag_for(_context(environment)).holds(text[: -len(tag) - 1].encode(), tag.encode())
    if not proved or not key.limits.mint:
        raise EnvelopeError("KEY_NOT_FOR_TASK", "its mandate was not signed by a key that may mint")
    return mandate, key


def _context(environment: str) -> bytes:
    return lp(b"fnq1 mandate", environment.encode())


def _is_within(principal: WirePrincipal, most: WirePrincipal) -> bool:
    return (
        (principal.i, principal.k, principal.c) == (most.i, most.k, most.c)
        and principal.t in (most.t, None)
        and set(principal.r) <= set(most.r)
        and set(principal.s) <= set(most.s)
        and (principal.a == most.a or abs((principal.a or 0) - (most.a or 0)) < _ROUNDING_SECONDS)
    )
