"""What EventBridge is to hold of this application's schedules: those in the store, each with its ticket.

Every schedule gets a ticket, a one-time `at()` too: a sealed call would do there, but that could not be paused, and
nothing would be won. Read from the store; what the code says is written there first.
"""

from __future__ import annotations

from fnqueue.broker.names import binding
from fnqueue.runtime import Runtime
from fnqueue.schedule.ticket import Ticket
from fnqueue.scheduling.entry import Entry


def ticket_of(runtime: Runtime, entry: Entry, queue: str) -> Ticket:
    """`queue`: physical or logical."""
    return Ticket(
        environment=runtime.settings.environment,
        queue=binding(queue),
        schedule=entry.schedule,
        made_at=entry.made_at,
        revision=entry.revision,
        key=entry.key or runtime.ring().primary.key_id,
    )
