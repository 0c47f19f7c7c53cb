"""A call becomes a sealed entry, in steps that have no effect, so that a refusal leaves nothing behind.

check arguments -> principal -> policy (defer phase) -> middleware -> seal. Last, and only then, its dedupe key is
claimed. Knows no framework: who is asking, and whether a transaction is open, are handed in.
"""

from __future__ import annotations

import math
from typing import Any

from fnqueue import quotas
from fnqueue.broker.names import binding
from fnqueue.claims import Claim, Claims
from fnqueue.clock import to_datetime
from fnqueue.context import running
from fnqueue.dispatch.calls import Prepared, SendPowers, Tick
from fnqueue.dispatch.delegating import mandate_for
from fnqueue.dispatch.entries import Entries
from fnqueue.dispatch.uniqueness import Unique, Wire, unique
from fnqueue.errors import ArgumentsDoNotFit, MessageTooLarge, OptionInvalid, PolicyDenied, PolicyUndecided
from fnqueue.events import CallDenied
from fnqueue.middleware import OutgoingCall, around_send
from fnqueue.security.blobs.blobs import Blobs
from fnqueue.security.blobs.reference import Blob, Reference
from fnqueue.security.envelope import TooLong, call_digest, seal
from fnqueue.security.frame import SealedPart
from fnqueue.security.ids import new_id
from fnqueue.security.keyring import KeyRing
from fnqueue.security.policy import PolicyContext
from fnqueue.security.principal import Principal
from fnqueue.task.options import MEANT, retry_of
from fnqueue.task.task import Task


class Preparer:
    """Safe between threads."""

    def __init__(self, powers: SendPowers, entries: Entries, claims: Claims) -> None:
        self._powers, self._entries, self._claims = powers, entries, claims

    def prepare(
        self,
        task: Task[Any, Any, Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        principal: Principal,
        *,
        hint: str,
        tick: Tick | None = None,
        here: bool = False,
    ) -> Prepared:
        """Everything but the send. `hint` is said when a policy denies and nobody is logged in. `here`: it is not to be
        sent but to run now, whoever has its dedupe key."""
        wire = self._check(task, args, kwargs)
        # One moment for policy and seal: a login that is fresh now must be so at the run, however long this takes.
        now = self._powers.clock.now() if tick is None or tick.made_at is None else tick.made_at
        self._authorise(task, args, kwargs, principal, hint, now)
        if self._powers.middleware:
            prepared = self._through_middleware(task, args, kwargs, principal, tick, now)
        else:
            call = OutgoingCall(task=task.name, args=args, kwargs=kwargs, queue=task.queue, principal=principal)
            prepared = self._seal(task, call, wire, tick, now)
        if prepared.winner is not None and not here:
            self._powers.forget([prepared.blob])
        return prepared

    def _through_middleware(
        self,
        task: Task[Any, Any, Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        principal: Principal,
        tick: Tick | None,
        now: float,
    ) -> Prepared:
        sealed: list[Prepared] = []

        def seal_changed(changed: OutgoingCall) -> Prepared:
            wire = self._check(task, changed.args, changed.kwargs)
            if _is_changed(changed, args, kwargs, principal):
                self._authorise(task, changed.args, changed.kwargs, changed.principal, "", now)
            sealed.append(self._seal(task, changed, wire, tick, now))
            return sealed[-1]

        call = OutgoingCall(task=task.name, args=args, kwargs=dict(kwargs), queue=task.queue, principal=principal)
        try:
            prepared = around_send(self._powers.middleware, seal_changed)(call)
            if not isinstance(prepared, Prepared):
                raise OptionInvalid(f"{task.name}: a middleware's send() must return what call_next returned")
        except BaseException:
            self._claims.settle(sealed, unsent={call.id for call in sealed})
            self._powers.forget(call.blob for call in sealed)
            raise
        return prepared

    def _check(self, task: Task[Any, Any, Any], args: Any, kwargs: Any) -> Wire:
        try:
            return task.binder.check(args, kwargs)
        except ArgumentsDoNotFit as error:
            raise _with_option_hint(error, task, kwargs) from None

    def _authorise(
        self, task: Task[Any, Any, Any], args: Any, kwargs: Any, principal: Principal, hint: str, now: float
    ) -> None:
        powers = self._powers
        context = PolicyContext(
            phase="defer",
            task=task.name,
            args=task.binder.bound(args, kwargs),
            principal=principal,
            deferred_at=to_datetime(now),
        )
        decision = powers.policy_of(task).decide(context)
        if decision.verdict in ("allow", "skip"):
            return
        if decision.verdict == "error":
            raise PolicyUndecided(
                f"{task.name}: the policy could not decide: {decision.reason}. Nothing was sent.",
                task=task.name,
                reason=decision.reason,
            )
        powers.events.publish(
            CallDenied(
                task=task.name,
                principal_kind=principal.kind,
                reason=decision.reason,
                principal=principal.subject,
            )
        )
        text = f"{task.name} {decision.reason}"
        if principal.kind == "anonymous":
            text += hint
        raise PolicyDenied(text, task=task.name, reason=decision.reason)

    # ---------------------------------------------------------------- seal

    def _seal(
        self, task: Task[Any, Any, Any], call: OutgoingCall, wire: Wire, tick: Tick | None, now: float
    ) -> Prepared:
        powers, options = self._powers, task.call_options
        queue, delay = self._entries.physical_queue(task, call.queue), self._entries.delay(task, now)
        not_before = now + delay if delay else None
        expires = max(now, not_before or 0) + (options.expires_seconds or task.options.expires_seconds)
        call_id = new_id(now) if tick is None else tick.id
        ring, made_by = powers.keys(), running.get()
        due = max(now, not_before or 0)
        mandate, expires = mandate_for(
            ring.sealer, powers.environment, task, call.principal, made_by, call_id, due, expires
        )
        about: dict[str, Any] = {
            "keyring": ring,
            "environment": powers.environment,
            "queue": binding(queue),
            "id": call_id,
            "task": task.name,
            "created_at": now,
            "not_before": not_before,
            "expires_at": expires,
            "principal_kind": call.principal.kind,
            "traceparent": call.traceparent,
            "root": made_by.root if made_by is not None else None,
        }
        sealed = SealedPart({"args": wire[0], "kwargs": wire[1], "p": call.principal.to_wire()})
        if call.baggage:
            sealed["bg"] = call.baggage
        if tick is not None:
            sealed["tk"] = [tick.schedule, tick.time, str(math.ceil(tick.until))]
        if mandate is not None:
            sealed["m"] = mandate
        if options.retry is not None:
            sealed["ry"] = retry_of(options.retry).to_wire()
        about["sealed"] = sealed
        body, blob = self._sealed(task, call, about)
        entry, parked_until = self._entries.make(ring, task, queue, call_id, body, delay, now)
        may = options.dedupe or (tick is None and (options.unique_for_seconds or task.options.unique_for_seconds))
        one = unique(task, call, wire, now, expires) if may else None
        name = self._put(blob) if blob is not None else None
        # Last: whatever is refused after it would hold the key.
        claim = self._claim(ring, task, one, call_id, name) if one is not None else None
        return Prepared(
            id=call_id,
            task=task.name,
            queue=queue,
            entry=entry,
            expires_at=expires,
            principal_kind=call.principal.kind,
            delay_seconds=delay,
            parked_until=parked_until,
            claim=claim,
            blob=name,
        )

    def _put(self, blob: Blob) -> str:
        """Now, and not when it is sent: after a commit there must be little left that can fail."""
        assert self._powers.blobs is not None
        self._powers.blobs.put(blob)
        return blob.name

    def _claim(self, ring: KeyRing, task: Task[Any, Any, Any], one: Unique, call_id: str, blob: str | None) -> Claim:
        try:
            return self._claims.take(ring, task.name, one, call_id, self._powers.waits)
        except BaseException:
            self._powers.forget([blob])
            raise

    def _sealed(self, task: Task[Any, Any, Any], call: OutgoingCall, about: dict[str, Any]) -> tuple[str, Blob | None]:
        """The body, and what is too large for it, sealed for itself and not put anywhere yet."""
        blobs = self._powers.blobs
        # What travels beside the body counts too: the generation, and its name and type.
        limit = min(self._powers.max_body_bytes, self._powers.broker.max_body_bytes) - 16
        size = 0
        try:
            body = seal(**about, room=None if blobs is None else limit)
        except TooLong as error:
            size = error.size
        else:
            if len(body) <= limit:
                return body, None
            if blobs is None:
                raise _too_large(task, len(body), limit + 16, call, OFF)
        if size > quotas.BLOB_BYTES_MAX:
            raise _too_large(task, size, quotas.BLOB_BYTES_MAX, call)
        assert blobs is not None
        return self._offloaded(task, about, blobs)

    def _offloaded(self, task: Task[Any, Any, Any], about: dict[str, Any], blobs: Blobs) -> tuple[str, Blob]:
        made: list[Blob] = []
        digest = call_digest(task.name, about["sealed"])  # here: it takes as much memory as what is offloaded

        def offload(arguments: bytes) -> Reference:
            reference, blob = blobs.seal_call(arguments, digest, expires_at=about["expires_at"])
            made.append(blob)
            return reference

        return seal(**about, offload=offload), made[0]


#: What to do about it where large calls are off.
OFF = ", or set FNQUEUE_BLOBS_URL (s3://bucket/prefix), where large arguments are then kept, sealed"


def _too_large(
    task: Task[Any, Any, Any], size: int, limit: int, call: OutgoingCall, advice: str = ""
) -> MessageTooLarge:
    return MessageTooLarge(task=task.name, size=size, limit=limit, largest=_largest(call), advice=advice)


def _with_option_hint(error: ArgumentsDoNotFit, task: Task[Any, Any, Any], kwargs: dict[str, Any]) -> ArgumentsDoNotFit:
    slots, parameters = type(task.call_options).__slots__, task.binder.parameters
    options = {MEANT.get(name, name): value for name, value in kwargs.items() if name not in parameters}
    options = {name: value for name, value in options.items() if name in slots}
    if not options:
        return error
    # Numbers only: a group may be somebody's e-mail address.
    shown = ", ".join(f"{name}={value if isinstance(value, int | float) else '...'}" for name, value in options.items())
    return ArgumentsDoNotFit(
        f"{error} Options go in task.using({shown}).defer(...)", task=task.name, parameter=error.parameter
    )


def _is_changed(call: OutgoingCall, args: Any, kwargs: dict[str, Any], principal: Principal) -> bool:
    """Whether a middleware made another call of it than the policy allowed. By identity: values may not compare."""
    given, now = (*args, *kwargs.values()), (*call.args, *call.kwargs.values())
    same = len(given) == len(now) and all(new is old for new, old in zip(now, given, strict=True))
    return not same or call.kwargs.keys() != kwargs.keys() or call.principal != principal


def _largest(call: OutgoingCall) -> str:
    named = [(f"args[{i}]", value) for i, value in enumerate(call.args)] + list(call.kwargs.items())
    if not named:
        return "none"
    name, value = max(named, key=lambda pair: len(str(pair[1])))
    return f"{name} (about {len(str(value)):,} characters)"
