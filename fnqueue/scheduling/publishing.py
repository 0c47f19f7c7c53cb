"""What EventBridge is to hold of this application's schedules: those in the store, each with its ticket.

Every schedule gets a ticket, a one-time `at()` too: a sealed call would do there, but it could not be paused, and
nothing would be won. Read from the store, which knows the revision; what the code says is written there first.
Knows the application; what a request looks like is `schedule/published`'s.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from fnqueue.broker.names import binding, is_fifo
from fnqueue.clock import to_datetime
from fnqueue.dispatch.entries import group_of
from fnqueue.errors import OptionInvalid
from fnqueue.runtime import Runtime
from fnqueue.schedule.difference import Wanted
from fnqueue.schedule.expression import Expression
from fnqueue.schedule.published import RETRY_ATTEMPTS_MAX, START_BACK_SECONDS, Target, doubtful, members, unconfirmed
from fnqueue.schedule.ticket import INPUT_BYTES_MAX, Ticket, seal_ticket
from fnqueue.scheduling.entry import Entry
from fnqueue.scheduling.firing import Firing

#: Longer than the mark that it takes the place of it is not.
_ROOM: Final = 64


@dataclass(frozen=True, kw_only=True)
class Destination:
    """`queue_arn`: of a physical queue; of a template's, a reference."""

    queue_arn: Callable[[str], Any]
    role_arn: Any
    dead_letter_arn: Any = None
    retry_attempts: int = RETRY_ATTEMPTS_MAX
    #: Until then it is there. Before, it can hold no start that is past.
    deployed_in_seconds: float = -START_BACK_SECONDS


@dataclass(frozen=True, kw_only=True)
class Publication:
    """`queues`: the physical ones. `others`: of another application on this store, left alone. `warnings` in words."""

    wanted: list[Wanted]
    queues: list[str]
    others: list[str]
    warnings: list[str]


def publication(runtime: Runtime, entries: Iterable[Entry], destination: Destination) -> Publication:
    """Raises OptionInvalid with every fault, one a line; then nothing is to be published."""
    now = to_datetime(runtime.clock.now())
    wanted, queues, others, faults, warnings = list[Wanted](), set[str](), list[str](), list[str](), list[str]()
    for entry in entries:
        name = entry.schedule.name
        if runtime.registry.find(entry.schedule.task) is None:
            others.append(name)
            continue
        try:
            expression = entry.expression()
            queue = _queue(runtime, entry)
            made = _wanted(runtime, entry, expression, queue, destination, now)
        except OptionInvalid as error:
            faults.append(f"schedule {name}: {error}")
            continue
        queues |= {queue} if made.members is not None else set()
        wanted.append(made)
        faults += [f"schedule {name}: {fault}" for fault in unconfirmed(expression)]
        warnings += [f"schedule {name}: {doubt}" for doubt in doubtful(expression)]
    if faults:
        raise OptionInvalid("\n".join(faults))
    return Publication(wanted=wanted, queues=sorted(queues), others=others, warnings=warnings)


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


# ---------------------------------------------------------------- helpers


def _wanted(
    runtime: Runtime, entry: Entry, expression: Expression, queue: str, destination: Destination, now: datetime
) -> Wanted:
    ticket = ticket_of(runtime, entry, queue)
    text = seal_ticket(ticket, runtime.ring())
    if len(text) > INPUT_BYTES_MAX - _ROOM:
        raise OptionInvalid(
            f"its arguments make a ticket of {len(text):,} bytes, and EventBridge takes {INPUT_BYTES_MAX:,}: "
            "pass an id and load the rest in the task"
        )
    target = Target(
        queue_arn=destination.queue_arn(queue),
        role_arn=destination.role_arn,
        dead_letter_arn=destination.dead_letter_arn,
        message_group=_group(runtime, entry, queue),
        retry_attempts=destination.retry_attempts,
    )
    start = now + timedelta(seconds=destination.deployed_in_seconds)
    found = members(entry.schedule, expression, target, text=text, paused=entry.paused, now=now, start=start)
    return Wanted(name=entry.schedule.name, members=found, ticket=ticket, expression=expression)


def _queue(runtime: Runtime, entry: Entry) -> str:
    task = Firing(runtime).task(entry.schedule)
    return runtime.dispatch.physical_queue(task, task.queue)


def _group(runtime: Runtime, entry: Entry, queue: str) -> str | None:
    if not is_fifo(queue):
        return None
    group = group_of(runtime.ring(), Firing(runtime).task(entry.schedule), queue)
    if group is None:
        raise OptionInvalid(f"{queue!r} is a FIFO queue and needs a group: give the schedule group=...")
    return group
