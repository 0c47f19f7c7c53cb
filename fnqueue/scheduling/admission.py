"""A schedule ticket becomes the call of its time: the same that our own ticker would have sent, under the same id.

EventBridge ticks, and whoever can send to the queue can, too: what a ticket says was sealed by us, and the time beside
it was written by anybody. So a time must be one of the schedule's own, not to come, let through by the misfire policy
as of when the message was *sent* (which the queue says, not the sender), and not from before the schedule was made,
changed or resumed. What is left to a forger is a true time of a true schedule, and that takes effect once: the id is
derived from (schedule, time), and its replay record is kept until no ticket for that time can be let through.

Judged is the first delivery. A call that had begun is retried, whatever became of the schedule meanwhile.

Fates: an invented time is NO_OCCURRENCE (hostile: dead-letter queue, for it may be a schedule that was edited there);
one to come is FROM_FUTURE (hidden for a while) or, within five minutes, NOT_YET; too old is EXPIRED; of a schedule
that is paused, deleted or changed since, REVOKED; taken or overlapping, REPLAY: those are deleted, and told. None of
them writes a record under the call's id, which is another's to write.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, NamedTuple

from fnqueue.broker.names import binding, logical
from fnqueue.clock import to_datetime
from fnqueue.dispatch.calls import Prepared
from fnqueue.errors import (
    ArgumentError,
    EnvelopeError,
    ExpressionInvalid,
    MessageTooLarge,
    OptionInvalid,
    PolicyDenied,
    UnknownTask,
)
from fnqueue.events import ScheduleFired, ScheduleSkipped
from fnqueue.execution.delivery import Delivery
from fnqueue.execution.opening import End
from fnqueue.outcome import Refused
from fnqueue.quotas import FUTURE_SKEW_SECONDS, NOT_BEFORE_SKEW_SECONDS
from fnqueue.runtime import Runtime
from fnqueue.schedule.due import is_let_through
from fnqueue.schedule.expression import Expression
from fnqueue.schedule.ticket import Ticket, open_ticket
from fnqueue.scheduling.entry import Entry, first_time, read_entry
from fnqueue.scheduling.firing import Firing
from fnqueue.scheduling.overlap import runs_still
from fnqueue.security.keyring import KeyRecord
from fnqueue.state.schedules import Kept, KeptSchedules

#: Refusals that give the time up, and so are told as a skipped one.
_GIVEN_UP = frozenset({"EXPIRED", "REVOKED", "DENIED", "REPLAY"})


class _Fire(NamedTuple):
    """`time`: as our ticker has it. `sent`: when the message was."""

    ticket: Ticket
    expression: Expression
    time: datetime
    sent: datetime
    key: KeyRecord


class Admission:
    """Safe between threads. What a worker hands to execution as `exchange`."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._firing = Firing(runtime)

    def exchange(self, delivery: Delivery) -> str:
        """The body of the call that the ticket in `delivery` stands for. Raises EnvelopeError, End."""
        runtime, kept = self._runtime, self._runtime.schedules
        if kept is None or runtime.replay is None:
            raise EnvelopeError(
                "TASK_NOT_SERVED",
                "a schedule ticket needs a store, or its time could run twice: set FNQUEUE_STORE_URL",
            )
        ticket, written = open_ticket(
            delivery.body,
            runtime.ring(),
            environment=runtime.settings.environment,
            queue=binding(delivery.queue),
        )
        fire = self._fire(ticket, written, delivery)
        try:
            return self._exchanged(fire, delivery, kept)
        except EnvelopeError as error:
            if error.code in _GIVEN_UP:
                self._skipped(fire, error.detail)
            raise

    # ---------------------------------------------------------------- the steps

    def _fire(self, ticket: Ticket, written: datetime, delivery: Delivery) -> _Fire:
        now = self._runtime.clock.now()
        if self._runtime.registry.find(ticket.schedule.task) is None:
            raise EnvelopeError("TASK_NOT_SERVED", f"no task named {ticket.schedule.task!r} is served here")
        try:
            expression = ticket.schedule.parsed(ticket.made_at)
        except ExpressionInvalid as error:  # a zone that this machine does not know yet
            raise EnvelopeError("TASK_NOT_SERVED", str(error)) from None
        time = _occurrence(expression, written)
        if time is None:
            raise EnvelopeError("NO_OCCURRENCE", f"schedule {ticket.schedule.name!r} has no time {written.isoformat()}")
        wait = time.timestamp() - now
        if wait > FUTURE_SKEW_SECONDS:
            raise EnvelopeError("FROM_FUTURE", f"schedule {ticket.schedule.name!r}: in {wait:.0f} s")
        if wait > NOT_BEFORE_SKEW_SECONDS:
            raise End(Refused("NOT_YET", f"due in {wait:.0f} s", retry_after_seconds=wait))
        key = self._runtime.ring().get(ticket.key)
        if key is None:
            raise EnvelopeError("UNKNOWN_KEY", f"key {ticket.key[:8]!r} is not in the key ring")
        return _Fire(ticket, expression, time, to_datetime(min(now, delivery.message.sent_at)), key)

    def _exchanged(self, fire: _Fire, delivery: Delivery, kept: KeptSchedules) -> str:
        schedule = fire.ticket.schedule
        call_id = self._firing.id(schedule, fire.time, fire.key)
        replay = self._runtime.replay
        begun = delivery.redelivered and replay is not None and replay.holds(call_id)
        found = None if begun else self._judged(fire, call_id, kept)
        prepared = self._prepared(fire, delivery)
        if prepared.winner is not None:
            raise EnvelopeError("REPLAY", f"its dedupe key is held by {prepared.winner}")
        self._runtime.dispatch.keep(prepared)
        if found is not None:
            self._note(*found, fire, call_id, kept)
        return prepared.entry.body

    def _judged(self, fire: _Fire, call_id: str, kept: KeptSchedules) -> tuple[Kept, Entry]:
        """The schedule as the store has it. Raises EnvelopeError where it does not let the time through."""
        schedule, name = fire.ticket.schedule, fire.ticket.schedule.name
        found = kept.get(name)
        if found is None and kept.is_there(name):
            raise EnvelopeError("UNKNOWN_KEY", f"no key here opens the store's record of schedule {name!r}")
        if found is None:
            raise EnvelopeError("REVOKED", f"schedule {name!r} is deleted")
        entry = read_entry(found.data)
        if entry is None:
            raise EnvelopeError("TASK_NOT_SERVED", f"a later version of fnqueue wrote schedule {name!r}")
        # Another one, not only an older one: after a deletion, the clock of whoever puts it anew may be behind.
        if fire.ticket.revision != entry.revision:
            raise EnvelopeError(
                "REVOKED",
                f"schedule {name!r} was changed since: run fnqueue schedule sync --to eventbridge",
            )
        if entry.paused:
            raise EnvelopeError("REVOKED", f"schedule {name!r} is paused")
        if fire.time < max(fire.ticket.made_at, entry.resumed_at or fire.ticket.made_at):
            raise EnvelopeError("EXPIRED", f"schedule {name!r} was made, or resumed, after this time")
        if not is_let_through(schedule, fire.expression, time=fire.time, sent=fire.sent):
            raise EnvelopeError("EXPIRED", f"missed (misfire={schedule.misfire!r})")
        now = to_datetime(self._runtime.clock.now())
        if (
            schedule.overlap == "skip"
            and entry.last_id != call_id
            and runs_still(self._runtime, self._firing.task(schedule), schedule, entry.last_id, now)
        ):
            raise EnvelopeError("REPLAY", "the call of the time before it has not ended (overlap='skip')")
        return found, entry

    def _prepared(self, fire: _Fire, delivery: Delivery) -> Prepared:
        """Checked, authorised and sealed as our own ticks are; as of when EventBridge sent it, so that it expires."""
        schedule = fire.ticket.schedule
        try:
            prepared = self._firing.prepare(
                schedule, fire.time, key=fire.key, queue=logical(delivery.queue), made_at=fire.sent.timestamp()
            )
        except UnknownTask as error:
            raise EnvelopeError("TASK_NOT_SERVED", str(error)) from None
        except PolicyDenied as error:
            raise EnvelopeError("DENIED", str(error)) from None
        except (ArgumentError, OptionInvalid, MessageTooLarge) as error:
            raise EnvelopeError("DECODE", str(error)) from None
        if binding(prepared.queue) != binding(delivery.queue):
            raise EnvelopeError(
                "TASK_NOT_SERVED", f"a middleware sends calls of schedule {schedule.name!r} to {prepared.queue!r}"
            )
        return prepared

    def _note(self, found: Kept, entry: Entry, fire: _Fire, call_id: str, kept: KeptSchedules) -> None:
        """That this time is dealt with: for `schedule list`, for `overlap`, and to spare our own ticker the work.

        Where somebody else was faster, nothing is lost: ids and the replay record decide, and not this.
        """
        if entry.last is None or entry.last <= fire.time:
            entry = entry.changed(last=fire.time, last_id=call_id)
        due = found.due  # a ticker may hold it under a lease
        # What came before it and was missed is made up for by our ticker where the policy says so, and by nobody else.
        before = entry.next is not None and entry.next < fire.time and entry.schedule.misfire != "catch_up"
        if before or entry.next == fire.time:
            entry = entry.changed(next=first_time(fire.expression, fire.time))
            due = entry.due if due is not None else None  # what rests goes on resting
        kept.put(found.name, entry.to_json(), due=due, over=found)
        late = (fire.sent - fire.time).total_seconds()
        self._publish(ScheduleFired, fire, id=call_id, late_seconds=late)

    def _skipped(self, fire: _Fire, reason: str) -> None:
        self._publish(ScheduleSkipped, fire, reason=reason)

    def _publish(self, event: type[Any], fire: _Fire, **said: Any) -> None:
        schedule = fire.ticket.schedule
        self._runtime.events.publish(
            event(schedule=schedule.name, task=schedule.task, time=fire.time.isoformat(), **said)
        )


def _occurrence(expression: Expression, written: datetime) -> datetime | None:
    """The time that EventBridge means. It writes whole seconds, and a `rate()` may count from a fraction of one."""
    if expression.is_occurrence(written):
        return written
    if expression.start is None or not expression.start.microsecond:
        return None
    found = first_time(expression, written)
    return found if found is not None and found < written + timedelta(seconds=1) else None
