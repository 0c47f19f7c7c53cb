"""What waits in a queue, in new envelopes: under the primary key of now, there or in another queue.

The call stays the call: id, times, principal and arguments are what they were, so handles, `once` and dedupe keys hold,
and a copy that a crash leaves behind is recognised. Needs a key that opens and one that signs.
"""

from __future__ import annotations

from typing import Any

import click
import msgspec

from fnqueue.broker.base import Entry
from fnqueue.broker.names import binding, is_fifo
from fnqueue.cli import screen
from fnqueue.cli.context import find_application
from fnqueue.cli.dead_letters import Dead, Visit, home
from fnqueue.cli.discovery import Application
from fnqueue.cli.faults import Fault, reported
from fnqueue.cli.operator import as_option, operator, reason_option
from fnqueue.errors import BrokerError, EnvelopeError
from fnqueue.runtime import Runtime
from fnqueue.security import mandate as mandates
from fnqueue.security.blobs.reference import Reference
from fnqueue.security.envelope import Verified, seal
from fnqueue.security.keyrecord import UNLIMITED


@click.command()
@click.argument("queue")
@click.option("--to", metavar="QUEUE", help="Send them there. Default: they stay where they are.")
@click.option("--limit", type=click.IntRange(1), help="At most so many. Default: as many as there are now.")
@as_option
@reason_option
@click.pass_context
@reported
def reseal(ctx: click.Context, queue: str, to: str | None, limit: int | None, who: str | None, reason: str) -> None:
    """Seal anew what waits in QUEUE, with the primary key: before the old key is revoked, or to move a backlog.

    QUEUE is a queue's own name, or its dead-letter queue's, as billing__dead. Stop its workers first, or they take what
    they can meanwhile. What is hidden until it is tried again is not seen: run it once more later. Needs --reason.
    """
    app: Application = find_application(ctx, needs_tasks=False)
    runtime = app.runtime
    ring = runtime.ring()
    lacking = ring.lacking("open") + ([sentence] if (sentence := ring.primary.lacks("sign", "seal")) else [])
    if lacking:
        raise Fault("\n".join(lacking))
    if to is not None and is_fifo(to) != is_fifo(queue):
        raise Fault(f"{queue} and {to}: both must be FIFO queues, or neither")
    count = limit or runtime.engine.broker.attributes(queue).visible
    done, left = 0, dict.fromkeys(("already", "expired", "refused"), 0)
    with operator(runtime, who, reason, needs_reason="to seal messages anew") as by:
        visit = Visit(runtime, queue)
        try:
            for batch in visit.walk(count) if count else ():
                for dead in batch:
                    why = _left(runtime, visit, dead, to) or ("" if by.may(visit.task_of(dead)) else "refused")
                    if why:
                        left[why] += 1
                        continue
                    by.record("reseal", f"seals {dead.id} of {queue} anew", queue=queue, to=to or queue, id=dead.id)
                    _move(runtime, visit, dead, to or queue)
                    done += 1
        finally:
            visit.close()
    click.echo(f"{screen.count(done, 'message')} sealed anew with {ring.primary.key_id} in {to or queue}")
    for word, number in left.items():
        if number:
            click.echo(f"{screen.count(number, 'message')} left: {_WHY[word]}", err=True)


_WHY = {
    "already": "sealed with that key already",
    "expired": "expired; see fnqueue dlq release",
    "refused": "not ours, or not to be opened with these keys, or beyond what their key may do, or not for this user",
}


def _left(runtime: Runtime, visit: Visit, dead: Dead, to: str | None) -> str:
    """Why it stays as it is; "": it does not."""
    try:
        verified = visit.taken(dead)
        if dead.expired(runtime.clock.now()):
            return "expired"
        if to is None and verified.key is runtime.ring().primary:
            return "already"
        verified.unseal()
    except EnvelopeError:
        return "refused"
    return ""


def _move(runtime: Runtime, visit: Visit, dead: Dead, to: str) -> None:
    """Send first: a crash between the two leaves a copy with the same id."""
    message = dead.message
    fifo = is_fifo(to)
    entry = Entry(
        id=dead.id,
        body=_anew(runtime, visit.taken(dead), binding(home(to))),
        group=message.group,
        dedupe=f"{dead.id}.{message.message_id}"[:128] if fifo else None,
        attributes=dict(message.attributes),
    )
    failures = runtime.engine.broker.send(to, [entry])
    if failures:
        raise BrokerError(f"{to!r} did not take a message: {failures[0].text}")
    visit.discard([dead])


def _anew(runtime: Runtime, old: Verified, queue: str) -> str:
    sealed: dict[str, Any] = old.unseal()
    reference = sealed.pop("bl", None)
    kept = None if reference is None else msgspec.convert(reference, Reference)
    if "m" in sealed:
        sealed["m"] = _signed_anew(runtime, sealed["m"])
    return seal(
        keyring=runtime.ring(),
        environment=runtime.settings.environment,
        queue=queue,
        id=old.id,
        task=old.task,
        created_at=old.created_at,
        expires_at=old.expires_at,
        principal_kind=old.principal_kind,
        not_before=old.not_before,
        traceparent=old.traceparent,
        root=old.root,
        sealed=sealed,
        offload=None if kept is None else lambda _: kept,  # its large arguments stay where they are
    )


def _signed_anew(runtime: Runtime, mandate: str) -> str:
    """It would end with the key that signed it, too. One that proves nothing, or would gain by it, stays as it is."""
    ring, environment = runtime.ring(), runtime.settings.environment
    try:
        said, signer = mandates.prove(mandate, ring, environment)
    except EnvelopeError:
        return mandate
    gains = signer.limits not in (UNLIMITED, ring.primary.limits)
    return mandate if gains or not mandates.can_issue(ring.primary) else mandates.issue(ring.primary, environment, said)
