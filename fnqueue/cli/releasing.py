"""A dead letter that expired is released: the same call in a new envelope, for the same principal, sealed by us.

The new call has an id of its own, and names the old one, or where that began, as its root. The old id gives the new
one: what a crash between sending and deleting leaves is released again as a copy of the new call. Its principal's `via`
names who released it. What made the old one take effect once (a schedule's time, a dedupe key) stays with the old one.
Needs a key that signs and one that opens.
"""

from __future__ import annotations

from typing import Any

import msgspec

from fnqueue.broker.base import Entry
from fnqueue.broker.names import binding, is_fifo
from fnqueue.codec.secret import MASK
from fnqueue.dispatch.delegating import issued
from fnqueue.errors import EnvelopeError
from fnqueue.runtime import Runtime
from fnqueue.security import frame
from fnqueue.security.blobs.reference import Blob, Reference
from fnqueue.security.envelope import Verified, new_id, seal
from fnqueue.security.ids import derived_id, milliseconds
from fnqueue.security.principal import Principal
from fnqueue.security.records import call_digest

#: What a new envelope takes over of the old one's sealed part.
KEPT = ("args", "kwargs", "bg", "ry")


def opened(runtime: Runtime, message: Verified) -> dict[str, Any]:
    """The sealed part, with its arguments wherever they are. Raises EnvelopeError, BlobsUnavailable."""
    sealed = message.unseal()
    if sealed.get("bl") is None:
        return sealed
    if runtime.blobs is None:
        raise EnvelopeError("BLOB_MISSING", "its arguments are elsewhere, and FNQUEUE_BLOBS_URL is not set here")
    try:
        return sealed | frame.read_arguments(runtime.blobs.get(msgspec.convert(sealed["bl"], Reference)))
    except frame.Unfit as error:
        raise EnvelopeError("FRAME", str(error)) from None


def shown(value: Any) -> Any:
    """Arguments as they travel, but for what is a Secret: that nobody is shown."""
    if isinstance(value, dict):
        return MASK if value.keys() == {"$secret"} else {name: shown(each) for name, each in value.items()}
    return [shown(each) for each in value] if isinstance(value, list) else value


def renewed(runtime: Runtime, message: Verified, *, queue: str, group: str | None, by: str) -> Entry:
    """The entry to be sent to `queue`, physical. Large arguments are put where they belong before it returns.

    Raises EnvelopeError for what does not open, and what sealing raises.
    """
    sealed, now = opened(runtime, message), runtime.clock.now()
    principal = Principal.from_wire(sealed["p"]).through(by)
    task = runtime.registry.find(message.task)
    lasts = task.options.expires_seconds if task is not None else _lasted(message)
    id = id_after(message, now)  # noqa: A001 - the envelope's word
    ring, environment, root = runtime.ring(), runtime.settings.environment, message.root or message.id
    content = {name: sealed[name] for name in KEPT if name in sealed} | {"p": principal.to_wire()}
    # What was made under a mandate is not to get a wider one.
    if task is not None and message.key.limits.mint:
        mandate = issued(ring.sealer, environment, task, principal, root, now + lasts)
        content |= {"m": mandate} if mandate is not None else {}
    about: dict[str, Any] = {
        "keyring": ring,
        "environment": environment,
        "queue": binding(queue),
        "id": id,
        "task": message.task,
        "created_at": now,
        "expires_at": now + lasts,
        "principal_kind": message.principal_kind,
        "traceparent": message.traceparent,
        "root": root,
        "sealed": content,
    }
    body = _sealed(runtime, about)
    return Entry(id=id, body=body, group=group, dedupe=f"{id}.0" if is_fifo(queue) else None)


def id_after(message: Verified, now: float) -> str:
    """Of the call that this one is released as."""
    if not message.key.can("state"):  # part of a key, which derives no ids
        return new_id(now)
    return derived_id(milliseconds(message.id), message.key, f"{message.environment} {message.id}", "release")


def _sealed(runtime: Runtime, about: dict[str, Any]) -> str:
    limit = runtime.engine.broker.max_body_bytes - 16
    try:
        body = seal(**about, room=limit)
    except frame.TooLong:
        body = ""
    if body and len(body) <= limit:
        return body
    blobs, made = runtime.blobs, list[Blob]()
    if blobs is None:
        raise EnvelopeError("BLOB_MISSING", "its arguments are large, and FNQUEUE_BLOBS_URL is not set here")
    digest = call_digest(about["task"], about["sealed"])

    def offload(arguments: bytes) -> Reference:
        reference, blob = blobs.seal_call(arguments, digest, expires_at=about["expires_at"])
        made.append(blob)
        return reference

    body = seal(**about, offload=offload)
    blobs.put(made[0])
    return body


def _lasted(message: Verified) -> float:
    return message.expires_at - max(message.created_at, message.not_before or 0)
