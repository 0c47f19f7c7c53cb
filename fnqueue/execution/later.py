"""A message that waits is hidden, parked in the store, or sent again with a delay; and the `Plan` that says so.

Pure but for the clock.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from fnqueue import quotas
from fnqueue.broker.base import Entry
from fnqueue.broker.names import is_fifo
from fnqueue.clock import Clock
from fnqueue.execution.delivery import Delivery
from fnqueue.execution.hidden import Hidden
from fnqueue.state.parked import Parked
from fnqueue.store.base import Record

#: The largest that is read. Parked once more it would look like an older one, and be taken for superseded.
GENERATION_MAX = 999_999


@dataclass(slots=True)
class Plan:
    """The writes of one delivery, in the order records, parking, sends, message.

    `records` tell the outcome: where one is refused, a twin's word stands. `parking` follows from them.
    `hide_seconds` None: the message is deleted. `keep`: the message is not touched (it was deleted before the run).
    """

    delivery: Delivery
    event: Any = None
    records: list[Record] = field(default_factory=list)
    parking: list[Record] = field(default_factory=list)
    sends: list[tuple[str, Entry]] = field(default_factory=list)
    hide_seconds: int | None = None
    keep: bool = False
    park: bool = False  # the fallback when the queue refuses to hide: see settle
    fate: str = "deleted"
    #: The call has ended for good and nothing is kept to run it again: its large arguments may go.
    spent: bool = False


class Later:
    """One per worker; used by one thread at a time. Without a store, and so without `parked`, nothing is parked."""

    def __init__(self, clock: Clock, parked: Parked | None) -> None:
        self._clock, self._parked = clock, parked
        self.hidden = Hidden(clock)

    def later(self, plan: Plan, seconds: float, attempts: int) -> None:
        """Hide, park, or without a store send again with a delay."""
        delivery = plan.delivery
        parks = self._parked is not None and delivery.generation < GENERATION_MAX
        if self._can_hide(delivery, seconds):
            self.hide(plan, seconds)
            # On FIFO a refusal leaves it where it is: parked, it would come back behind the rest of its group.
            plan.park = parks and not is_fifo(delivery.queue)
        elif parks:
            self.park(plan, seconds)
        elif self._parked is not None:
            self.hide(plan, min(seconds, quotas.HIDE_SECONDS_MAX))
        elif is_fifo(delivery.queue):
            self.hide(plan, seconds)
        else:
            self.send_again(plan, seconds, attempts)

    def _can_hide(self, delivery: Delivery, seconds: float) -> bool:
        held = self._clock.now() - delivery.message.first_received_at
        if held + seconds >= quotas.HIDE_TOTAL_SECONDS_MAX:
            return False
        if is_fifo(delivery.queue):
            return True  # whatever else it costs: parked, it would come back behind the rest of its group
        return (
            seconds <= quotas.HIDE_SECONDS_MAX
            and delivery.receipt.receive_count < quotas.HIDE_RECEIVE_COUNT_MAX
            and not self.hidden.full()
        )

    def hide(self, plan: Plan, seconds: float) -> None:
        plan.hide_seconds = min(math.ceil(seconds), quotas.VISIBILITY_SECONDS_MAX)
        plan.fate = "hidden"

    def park(self, plan: Plan, seconds: float) -> None:
        """The sealed bytes become a record; the message goes. The next delivery is a generation further."""
        assert self._parked is not None
        delivery = plan.delivery
        due = self._clock.now() + seconds
        plan.parking = self._parked.records(
            delivery.id or delivery.message.message_id,
            queue=delivery.queue,
            body=delivery.body,
            due=due,
            until=max(due, delivery.expires_at or due),
            generation=delivery.generation + 1,
            group=delivery.message.group,
        )
        plan.hide_seconds, plan.fate = None, "parked"

    def send_again(self, plan: Plan, seconds: float, attempts: int) -> None:
        delivery = plan.delivery
        held = min(math.ceil(seconds), quotas.DELAY_SECONDS_MAX)
        attributes = {"g": str(delivery.generation + 1), "a": str(attempts)}
        if seconds > held:  # the next delivery is one of several hops
            attributes["n"] = str(math.ceil(self._clock.now() + seconds))
        plan.sends.append(
            (
                delivery.queue,
                Entry(
                    id=delivery.id or delivery.message.message_id,
                    body=delivery.body,
                    delay_seconds=held,
                    group=delivery.message.group,
                    attributes=attributes,
                ),
            )
        )
        plan.fate = "sent again"
