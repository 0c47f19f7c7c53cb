"""The copy of a message that the dead-letter queue keeps, and how many a minute it keeps of hostile ones."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from fnqueue import quotas
from fnqueue.broker.base import Entry
from fnqueue.broker.bodies import can_be_sent
from fnqueue.broker.names import dead_letter, is_dead_letter, is_fifo
from fnqueue.clock import Clock
from fnqueue.execution.later import Later, Plan
from fnqueue.outcome import HOSTILE

HOSTILE_PER_MINUTE = 10
#: A body beyond this goes to the dead-letter queue without its reason, or the queue would not take it.
ROOM_FOR_ATTRIBUTES = quotas.BODY_BYTES_MAX - 256


class DeadLetters:
    """One per worker; used by one thread at a time. `keeps(queue)`: whether a copy can be kept there."""

    def __init__(self, clock: Clock, keeps: Callable[[str], bool], later: Later) -> None:
        self._clock, self._keeps, self._later = clock, keeps, later
        self._hostile: list[float] = []

    def copy_hostile(self, plan: Plan, code: str) -> None:
        """A copy if there is room this minute: whoever can write to the queue must not fill another with rubbish."""
        now = self._clock.monotonic()
        self._hostile = [at for at in self._hostile if now - at < 60]
        if len(self._hostile) < HOSTILE_PER_MINUTE and self.copy(plan, code):
            self._hostile.append(now)

    def copy(self, plan: Plan, code: str) -> bool:
        """Add the copy to the plan's sends. False: none is kept."""
        delivery = plan.delivery
        target = dead_letter(delivery.queue)
        if is_dead_letter(delivery.queue):
            # A worker pointed at a dead-letter queue runs nothing, and must not empty it either.
            self._later.hide(plan, delivery.backoff_seconds)
            return False
        # What no queue would take got into this one by its file; another must not refuse it again and again.
        if not self._keeps(target) or not can_be_sent(delivery.body):
            return False
        entry_id = delivery.id or delivery.message.message_id
        fifo, attributes = is_fifo(delivery.queue), {"reason": code, "source": delivery.queue}
        # A settlement that is repeated makes one copy, and two messages that claim one id make two.
        copy = body_hash(delivery.body)[:16] if code in HOSTILE else "dead"
        plan.sends.append(
            (
                target,
                Entry(
                    id=entry_id,
                    body=delivery.body,
                    group=delivery.message.group or ("dead" if fifo else None),
                    dedupe=f"{entry_id}.{delivery.generation}.{copy}" if fifo else None,
                    attributes=attributes if len(delivery.body.encode()) <= ROOM_FOR_ATTRIBUTES else {},
                ),
            )
        )
        plan.fate = "dead-lettered"
        return True


def body_hash(body: str) -> str:
    """SHA-256, 64 characters: what is said of a body that is not kept."""
    return hashlib.sha256(body.encode()).hexdigest()
