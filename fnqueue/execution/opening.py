"""From a body to the task that it names and its sealed part: the steps of opening, in the order of the table of fates.

A worker opens a whole receive in one go (`ahead`), each step for all of it before the next step: that costs half of
going through all steps message by message, because the processor keeps one step's code at hand. It is a
shortcut and decides nothing: what does not open there, is large, or waited for more than a second, is opened
when its turn comes, and there it gets its refusal.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from fnqueue.broker.names import binding
from fnqueue.errors import EnvelopeError, KmsUnavailable
from fnqueue.execution.delivery import Delivery, Opened
from fnqueue.execution.powers import Powers
from fnqueue.outcome import Outcome, Refused
from fnqueue.schedule.ticket import is_ticket
from fnqueue.security import frame
from fnqueue.security.blobs.reference import Reference
from fnqueue.security.envelope import Verified, verify
from fnqueue.security.ids import milliseconds
from fnqueue.security.keyring import KeyRing
from fnqueue.security.principal import Principal
from fnqueue.security.records import call_digest
from fnqueue.state.revocations import Call
from fnqueue.task.task import Task

#: Then keys, times and limits are looked at again.
AHEAD_SECONDS = 1.0
#: A larger body would keep the others of its receive waiting.
AHEAD_BYTES_MAX = 16_384
#: How long an expired call waits for KMS to say whose it was.
KMS_GRACE_SECONDS = 3_600.0


class End(Exception):
    """A step came to the outcome."""

    def __init__(self, outcome: Outcome) -> None:
        self.outcome = outcome


class Opener:
    """Safe between threads."""

    def __init__(self, powers: Powers) -> None:
        self._powers = powers

    def ahead(self, deliveries: Iterable[Delivery]) -> None:
        """Open what opens. Raises nothing: whatever is wrong shows again when the message's turn comes."""
        try:
            ring, until = self._powers.keys(), self._powers.clock.monotonic() + AHEAD_SECONDS
            small = [delivery for delivery in deliveries if len(delivery.body) <= AHEAD_BYTES_MAX]
            verified = [(delivery, self._try_to_verify(delivery, ring)) for delivery in small]
            for delivery, message in verified:
                if message is not None:
                    delivery.opened = self._try_to_unseal(message, until)
        except Exception:
            return

    def _try_to_verify(self, delivery: Delivery, ring: KeyRing) -> Verified | None:
        try:
            return self._verify(delivery, ring)
        except EnvelopeError:
            return None

    def _try_to_unseal(self, message: Verified, until: float) -> Opened | None:
        try:
            message.check_times()
            message.check_limits(self._serves)
            if message.asks:
                return None  # all that is received would wait for KMS
            return Opened(message, message.unseal(), until)
        except EnvelopeError:
            return None

    def open(self, delivery: Delivery) -> tuple[Task[Any, Any, Any], dict[str, Any]]:
        """The task and the sealed part; `delivery` learns what the header says. Raises EnvelopeError, End."""
        powers, opened = self._powers, delivery.opened
        delivery.opened = None
        if is_ticket(delivery.body):
            delivery.body = self._exchange(delivery)
        if opened is not None and powers.clock.monotonic() > opened.until:
            opened = None
        message = opened.message if opened is not None else self._verify(delivery, powers.keys())
        _identify(delivery, message)
        delivery.task = task = powers.find(message.task)
        if opened is None:
            self._check_times(delivery, message)
        self._check_hint(delivery)
        if opened is None:
            message.check_limits(self._serves)
        assert task is not None
        sealed = opened.sealed if opened is not None else message.unseal()
        self._recognise(delivery, sealed)
        return task, sealed

    def complete(self, delivery: Delivery, sealed: dict[str, Any]) -> dict[str, Any]:
        """The sealed part with its arguments, which were too large for the message. Raises EnvelopeError, and what
        the place of blobs does."""
        blobs = self._powers.blobs
        delivery.principal = subject(sealed)  # who may read that they are missing
        if blobs is None:
            raise EnvelopeError("BLOB_MISSING", "its arguments are elsewhere, and FNQUEUE_BLOBS_URL is not set here")
        arguments = blobs.get(msgspec.convert(sealed["bl"], Reference))
        try:
            return frame.SealedPart(sealed | frame.read_arguments(arguments))
        except frame.Unfit as error:
            raise EnvelopeError("FRAME", str(error)) from None

    def _recognise(self, delivery: Delivery, sealed: dict[str, Any]) -> None:
        elsewhere = sealed.get("bl")
        if elsewhere is not None:
            delivery.blob = elsewhere["n"]
        delivery.tick = _tick(sealed.get("tk"))
        if self._powers.results is not None:  # nothing else keeps it
            delivery.call = call_digest(delivery.task_name or "", sealed)

    def _exchange(self, delivery: Delivery) -> str:
        """The call that a schedule ticket stands for, which then opens as every other, and is what is tried again."""
        if self._powers.exchange is None:
            raise EnvelopeError("TASK_NOT_SERVED", "a schedule ticket, and here no worker runs")
        return self._powers.exchange(delivery)

    def _verify(self, delivery: Delivery, ring: KeyRing) -> Verified:
        powers, queue = self._powers, binding(delivery.queue)
        return verify(
            delivery.body,
            keyring=ring,
            environment=powers.environment,
            queue=queue,
            suites=powers.suites.get(queue, powers.suites.get("")) if powers.suites else None,
            now=powers.clock.now(),
        )

    def _serves(self, name: str) -> bool:
        return self._powers.find(name) is not None

    def _check_times(self, delivery: Delivery, message: Verified) -> None:
        try:
            message.check_times()
        except EnvelopeError as error:
            if error.code == "EXPIRED":
                self._recognise_expired(delivery, message)
            raise

    def _recognise_expired(self, delivery: Delivery, message: Verified) -> None:
        """Who may read that it expired. A key that KMS lends no more must not keep it for ever."""
        try:
            sealed = message.unseal()
        except KmsUnavailable:
            if self._powers.clock.now() < message.expires_at + KMS_GRACE_SECONDS:
                raise
            return
        delivery.principal = subject(sealed)
        self._recognise(delivery, sealed)

    def _check_hint(self, delivery: Delivery) -> None:
        wait = delivery.not_before_hint - self._powers.clock.now() if delivery.not_before_hint else 0
        if wait > 0 and self._powers.results is None:
            raise End(Refused("NOT_YET", "", retry_after_seconds=wait))


def _tick(said: list[str] | None) -> float | None:
    if said is None:
        return None
    return float(said[2]) if len(said) > 2 and said[2].isdecimal() else 0.0


def subject(sealed: dict[str, Any]) -> str:
    """ "user:42": on whose behalf."""
    return Principal.from_wire(sealed["p"]).subject


def revocable(delivery: Delivery, via: tuple[str, ...]) -> Call:
    """What revocations are about, of a delivery that is open. `via`: of its principal."""
    own = str(delivery.id)
    return Call(own, delivery.root or own, delivery.task_name or "", delivery.principal or "", via)


def _identify(delivery: Delivery, message: Verified) -> None:
    delivery.id, delivery.task_name = message.id, message.task
    delivery.root = message.root or message.id
    delivery.deferred_at = milliseconds(message.id) / 1000
    delivery.due_at = max(delivery.deferred_at, message.not_before or 0)
    delivery.expires_at, delivery.traceparent = message.expires_at, message.traceparent
