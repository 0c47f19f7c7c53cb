"""The envelope `fq1`: what travels through queue, store and schedule. Nothing else is ever executed.

    fq1 . suite . key id . header . ciphertext . tag

The header is clear and the arguments are sealed; the tag is over the exact transported text and over the
receiver's own queue and environment, so a message that was edited, relabelled, moved or revived does not
open. Opening is `verify`, `check_times`, `check_limits`, `unseal`, in this order; who may not read stops
before the last. Every refusal is an EnvelopeError whose code is a row of the table of fates.
Knows keys, and time as it is handed in; knows nothing of tasks, queues or stores.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Container, Mapping
from typing import Any, Final, cast

import msgspec

from fnqueue.errors import ArgumentError, EnvelopeError, KeyInvalid
from fnqueue.quotas import BODY_BYTES_MAX, FUTURE_SKEW_SECONDS, NOT_BEFORE_SKEW_SECONDS
from fnqueue.security import frame
from fnqueue.security import header as headers
from fnqueue.security import mandate as mandates
from fnqueue.security.blobs.reference import Reference
from fnqueue.security.frame import TooLong
from fnqueue.security.header import Header, Parts
from fnqueue.security.ids import derived_id, new_id
from fnqueue.security.keyring import Context, KeyRecord, KeyRing
from fnqueue.security.primitives import from_base64, to_base64
from fnqueue.security.principal import KINDS, LETTERS, Kind, WirePrincipal
from fnqueue.security.records import (
    call_digest,
    dedupe_id,
    group_id,
    mac,
    seal_record,
    unseal_record,
)
from fnqueue.security.suites import Sealing, Unsealable

__all__ = [
    "Header",
    "TooLong",
    "Verified",
    "call_digest",
    "dedupe_id",
    "derived_id",
    "group_id",
    "mac",
    "new_id",
    "peek",
    "seal",
    "seal_record",
    "unseal_record",
    "verify",
]

_SHOWN_MAX: Final = 80


def seal(
    *,
    keyring: KeyRing,
    environment: str,
    queue: str,
    id: str,
    task: str,
    created_at: float,
    expires_at: float,
    principal_kind: Kind,
    sealed: Mapping[str, Any],
    not_before: float | None = None,
    traceparent: str | None = None,
    root: str | None = None,
    room: int | None = None,
    offload: Callable[[bytes], Reference] | None = None,
    entropy: Callable[[int], bytes] = os.urandom,
) -> str:
    """The body of a message, sealed with the primary key for the logical `queue` in `environment`.

    `sealed`: the sealed part, see `frame.Sealed`; `room`, `offload`: see `frame.write`. Times in unix seconds; in the
    header they are whole, and neither runs early nor expires early for it. Raises ArgumentError for arguments that no
    worker would open, TooLong, KeysMissing without a primary key, KeyInvalid when that key may not be used for this
    task, and ValueError for a header that contradicts itself; in suite kms KmsUnavailable.
    """
    key = keyring.sealer
    if key.limits and not key.limits.allow(task=task, queue=queue, kind=principal_kind, mandated="m" in sealed):
        why = (
            "" if key.limits.mint else ": for users only what the task that makes the call names, @fn.task(defers=...)"
        )
        raise KeyInvalid(
            f"the primary key {key.key_id} is limited, and {task} in queue {queue!r} is outside its limits{why}"
        )
    try:
        content = frame.write(sealed, LETTERS[principal_kind], room=room, offload=offload)
    except frame.Unfit as error:
        raise ArgumentError(f"{task}: {error}; nothing was sent", task=task) from None
    if not key.limits.mint and principal_kind != "user" and _has_rights(sealed["p"]):
        raise KeyInvalid(
            f"the primary key {key.key_id} may not mint, and gives no roles, scopes or login to a {principal_kind}; "
            f"{task} was to be for one that has some"
        )
    context, sealing = key.context(environment, queue), cast(Sealing, key.sealing)
    sealer = sealing.to_seal(environment, queue)
    header = Header(
        id=id,
        task=task,
        queue=queue,
        environment=environment,
        created_at=int(created_at),
        expires_at=math.ceil(expires_at),
        principal_kind=LETTERS[principal_kind],
        not_before=None if not_before is None else math.ceil(not_before),
        traceparent=traceparent,
        root=root,
        sealing_key=sealing.key_id,
        data_key=sealer.dk,
    )
    prefix = f"fq1.{key.suite}.{key.key_id}.".encode() + headers.write(header)
    ciphertext = sealer.seal(context.ctx + prefix, content, entropy(32))
    text = prefix + b"." + to_base64(ciphertext)
    return (text + b"." + context.tag.make(text)).decode("ascii")


# ------------------------------------------------------------------ opening


class Verified:
    """A message whose tag is true. What it says in clear may be believed; it is not yet read, nor may it run.

    Times in unix seconds. `principal_kind` in full; `key`: the record it was sealed with.
    """

    __slots__ = (
        "_context",
        "_header",
        "_now",
        "_parts",
        "_ring",
        "created_at",
        "environment",
        "expires_at",
        "id",
        "key",
        "not_before",
        "principal_kind",
        "queue",
        "root",
        "task",
        "traceparent",
    )

    def __init__(
        self, header: Header, key: KeyRecord, context: Context, parts: Parts, now: float, ring: KeyRing
    ) -> None:
        self.id, self.task, self.queue, self.environment = header.id, header.task, header.queue, header.environment
        self.created_at, self.not_before, self.expires_at = header.created_at, header.not_before, header.expires_at
        self.principal_kind: Kind = KINDS[header.principal_kind]
        self.traceparent, self.root = header.traceparent, header.root
        self.key = key
        self._header, self._context, self._parts, self._now = header, context, parts, now
        self._ring = ring

    def check_times(self) -> None:
        """Step 7, against the `now` of `verify`. Raises EnvelopeError EXPIRED, FROM_FUTURE or NOT_YET."""
        now, not_before = self._now, self.not_before
        if now >= self.expires_at:
            raise EnvelopeError("EXPIRED", f"{now - self.expires_at:.0f} s ago")
        if self.created_at > now + FUTURE_SKEW_SECONDS:
            raise EnvelopeError("FROM_FUTURE", f"made {self.created_at - now:.0f} s from now: is a clock wrong?")
        if not_before is not None and not_before > now + NOT_BEFORE_SKEW_SECONDS:
            raise EnvelopeError("NOT_YET", f"due in {not_before - now:.0f} s")

    def check_limits(self, serves: Callable[[str], bool] | None = None) -> None:
        """Step 8. `serves`: whether a task of this name is registered and allowed here.

        Raises EnvelopeError TASK_NOT_SERVED, or KEY_NOT_FOR_TASK when the key's own limits forbid it.
        """
        if serves is not None and not serves(self.task):
            raise EnvelopeError("TASK_NOT_SERVED", f"no task named {self.task!r} is served here")
        # Whether a user may be spoken for is told by what is sealed: see `unseal`.
        if self.key.limits and not self.key.limits.allow(task=self.task, kind=self.principal_kind, mandated=True):
            raise EnvelopeError("KEY_NOT_FOR_TASK", f"key {self.key.key_id} is not for {self.task!r}")

    @property
    def asks(self) -> bool:
        """Whether `unseal` asks KMS, which may take a while."""
        header, sealing = self._header, self.key.sealing
        return sealing is not None and not sealing.knows(header.environment, header.queue, header.data_key)

    def unseal(self) -> dict[str, Any]:
        """Steps 10 and 11: the sealed part. Raises EnvelopeError UNSEAL or FRAME; UNKNOWN_KEY where the part of the
        key that opens is not in the ring, or another one than was sealed for. In suite kms also KmsUnavailable."""
        header, parts, key = self._header, self._parts, self.key
        sealing = key.sealing
        if sealing is None or not sealing.opens:
            raise EnvelopeError("UNKNOWN_KEY", key.lacks("open") or "")
        if header.sealing_key != sealing.key_id:
            raise EnvelopeError("UNKNOWN_KEY", f"sealed for {header.sealing_key}, and here is {sealing.key_id}")
        try:
            aad = self._context.ctx + parts.prefix
            opener = sealing.to_open(header.environment, header.queue, header.data_key)
            sealed = frame.read(opener.unseal(aad, from_base64(parts.ciphertext)), header.principal_kind)
        except Unsealable:
            raise EnvelopeError("UNSEAL", "the ciphertext does not open") from None
        except frame.Unfit as error:
            raise EnvelopeError("FRAME", str(error)) from None
        if not key.limits.mint:
            self._check_unminted(sealed)
        return sealed

    def _check_unminted(self, sealed: dict[str, Any]) -> None:
        if self.principal_kind == "user":
            self._check_mandate(sealed)
        elif _has_rights(sealed["p"]):
            raise EnvelopeError("KEY_NOT_FOR_TASK", f"its key may not mint, and gives rights to {self.principal_kind}")

    def _check_mandate(self, sealed: dict[str, Any]) -> None:
        """Raises EnvelopeError KEY_NOT_FOR_TASK; REVOKED_KEY, UNKNOWN_KEY of the key that signed the mandate."""
        mandate, signer = mandates.prove(sealed.get("m"), self._ring, self.environment)
        if signer.limits and not signer.limits.allow(task=self.task, queue=self.queue, kind=self.principal_kind):
            raise EnvelopeError("KEY_NOT_FOR_TASK", f"key {signer.key_id} of its mandate is not for {self.task!r}")
        principal = msgspec.convert(sealed["p"], WirePrincipal)
        reason = mandate.forbids(task=self.task, principal=principal, root=self.root, expires_at=self.expires_at)
        if reason is not None:
            raise EnvelopeError("KEY_NOT_FOR_TASK", f"its mandate does not cover it: {reason}")

    def __repr__(self) -> str:
        return f"<Verified {self.task} {self.id} key {self.key.key_id}>"


def verify(
    body: str,
    *,
    keyring: KeyRing,
    environment: str,
    queue: str,
    now: float,
    max_body_bytes: int = BODY_BYTES_MAX,
    suites: Container[str] | None = None,
) -> Verified:
    """Steps 1 to 6: is this message whole, and ours? `queue`: the receiver's own logical one. `suites`: the digits
    of those it takes; None: all.

    Raises EnvelopeError MALFORMED, UNKNOWN_KEY, REVOKED_KEY, SUITE, KEY_NOT_FOR_TASK, BAD_TAG or CONTEXT.
    """
    parts = headers.parse(body, max_body_bytes)
    key = _key(keyring, parts, queue)
    if suites is not None and key.suite not in suites:
        raise EnvelopeError("SUITE", f"queue {queue!r} does not take suite {key.suite} (FNQUEUE_SUITES)")
    context = key.context(environment, queue)
    if not context.tag.holds(parts.text, parts.tag):
        raise _tag_refused(key, parts, environment, queue)
    header = headers.read(parts.header)
    if header.queue != queue or header.environment != environment:
        # Only a holder of the key can make this, and none of ours does: its clear text lies.
        raise EnvelopeError("MALFORMED", "the header names another queue or environment than its tag")
    return Verified(header, key, context, parts, now, keyring)


def peek(body: str) -> Header:
    """The header as it says, without any proof: for tools that show messages. Raises EnvelopeError MALFORMED."""
    return headers.read(headers.parse(body, BODY_BYTES_MAX).header)


def _key(keyring: KeyRing, parts: Parts, queue: str) -> KeyRecord:
    """Step 3."""
    key = keyring.get(parts.key_id)
    if key is None:
        raise EnvelopeError("UNKNOWN_KEY", f"key {parts.key_id} is not in the key ring")
    if key.state == "revoked":
        raise EnvelopeError("REVOKED_KEY", f"key {key.key_id} is revoked")
    if parts.suite != key.suite:
        raise EnvelopeError("SUITE", f"suite {parts.suite}, and key {key.key_id} is of suite {key.suite}")
    if key.limits and not key.limits.allow(queue=queue):
        raise EnvelopeError("KEY_NOT_FOR_TASK", f"key {key.key_id} is not for queue {queue!r}")
    return key


def _has_rights(principal: Mapping[str, Any]) -> bool:
    """Whether a policy could let it through for more than who it is."""
    return bool(principal.get("r") or principal.get("s") or principal.get("a") is not None)


def _tag_refused(key: KeyRecord, parts: Parts, environment: str, queue: str) -> EnvelopeError:
    """An edited message, or one of another queue or environment that came here by mistake?"""
    try:
        header = headers.decode(parts.header)
    except ValueError:
        return EnvelopeError("BAD_TAG", "the tag is false")
    if header.queue == queue and header.environment == environment:
        return EnvelopeError("BAD_TAG", "the tag is false")
    theirs = key.context(header.environment, header.queue)
    there = "true" if theirs.tag.holds(parts.text, parts.tag) else "false too"
    return EnvelopeError(
        "CONTEXT",
        f"sealed for queue {header.queue[:_SHOWN_MAX]!r} in environment {header.environment[:_SHOWN_MAX]!r}, and here "
        f"is queue {queue!r} in environment {environment!r}; there its tag is {there}",
    )
