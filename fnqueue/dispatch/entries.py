"""Where a call goes and how: its physical queue by priority, its delay, its group, and the entry for the broker.

What the queue cannot hold for so long is parked. Knows nothing of what the call says.
"""

from __future__ import annotations

import math
from typing import Any

from fnqueue import quotas
from fnqueue.broker.base import Entry
from fnqueue.broker.names import binding, is_fifo, physical
from fnqueue.dispatch.calls import SendPowers
from fnqueue.errors import DelayNeedsStore, OptionInvalid
from fnqueue.security.keyring import KeyRing
from fnqueue.security.records import group_id
from fnqueue.task.task import Task


class Entries:
    """Safe between threads."""

    def __init__(self, powers: SendPowers) -> None:
        self._powers = powers

    def physical_queue(self, task: Task[Any, Any, Any], queue: str) -> str:
        """The one of a logical queue that the task's priority means. Raises OptionInvalid."""
        priority = task.priority
        if priority != "normal" and not self.has_priorities(queue):
            raise OptionInvalid(
                f"{task.name}: priority={priority!r}: on SQS a priority is a queue of its own; "
                f"name {queue!r} in FNQUEUE_PRIORITY_QUEUES, and run: fnqueue queues create"
            )
        return physical(queue, priority)

    def has_priorities(self, queue: str) -> bool:
        """On SQS a queue has three physical ones only where the settings say so: each costs its polls."""
        wanted = self._powers.priority_queues
        return "*" in wanted or queue in wanted or self._powers.broker.receive_max > quotas.RECEIVE_MAX

    def delay(self, task: Task[Any, Any, Any], now: float) -> float:
        options = task.call_options
        if options.not_before is not None:
            return max(0.0, options.not_before.timestamp() - now)
        return options.delay_seconds or 0.0

    def make(
        self, ring: KeyRing, task: Task[Any, Any, Any], queue: str, call_id: str, body: str, delay: float, now: float
    ) -> tuple[Entry, float | None]:
        fifo = is_fifo(queue)
        group = group_of(ring, task, queue)
        if fifo and group is None:
            raise OptionInvalid(
                f"{task.name}: {queue!r} is a FIFO queue and needs a group: "
                f"{task.name.rpartition('.')[2]}.using(group=...).defer(...)"
            )
        dedupe = f"{call_id}.0" if fifo else None
        held = math.ceil(delay)
        if delay and (fifo or held > quotas.DELAY_SECONDS_MAX):
            if self._powers.parked is not None:
                return Entry(id=call_id, body=body, group=group, dedupe=dedupe), now + delay
            held = self._hop(task, fifo, held)
        return Entry(id=call_id, body=body, delay_seconds=held, group=group, dedupe=dedupe), None

    def _hop(self, task: Task[Any, Any, Any], fifo: bool, seconds: int) -> int:
        if fifo or seconds > quotas.HOP_TOTAL_SECONDS_MAX:
            longest = "no delay on a FIFO queue" if fifo else "at most 24 h"
            raise DelayNeedsStore(
                f"{task.name}: a delay of {seconds:,} s needs a store ({longest} without one): set FNQUEUE_STORE_URL"
            )
        return quotas.DELAY_SECONDS_MAX


def group_of(ring: KeyRing, task: Task[Any, Any, Any], queue: str) -> str | None:
    """The MessageGroupId of a task's calls in a queue."""
    options = task.call_options
    group = options.group if options.group is not None else options.tenant
    if group is None:
        return None
    return group if options.group_clear else group_id(ring.primary, binding(queue), group)
