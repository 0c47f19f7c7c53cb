"""What an outcome means for store and broker, decided before anything is written. Pure but for reading the clock.

A `Plan` is data: records, sends, and what becomes of the message. The table of outcomes in the design and the
table of fates of refused messages are the two functions `plan` and `_refused`.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from fnqueue import quotas
from fnqueue.broker.base import Entry
from fnqueue.broker.names import binding, dead_letter, is_dead_letter, is_fifo
from fnqueue.clock import Clock
from fnqueue.errors import TaskError
from fnqueue.events import (
    MessageRefused,
    TaskDeadLettered,
    TaskFailed,
    TaskReleased,
    TaskRescheduled,
    TaskSucceeded,
)
from fnqueue.execution.delivery import Delivery
from fnqueue.execution.hidden import Hidden
from fnqueue.execution.lookback import first_record
from fnqueue.outcome import (
    ENDED,
    HOSTILE,
    UNKNOWN,
    DeadLettered,
    Failed,
    Outcome,
    Refused,
    Released,
    Rescheduled,
    Succeeded,
)
from fnqueue.state.parked import Parked
from fnqueue.state.replay import Replay
from fnqueue.state.results import Results, TaskRecord
from fnqueue.store.base import Record

HOSTILE_PER_MINUTE = 10
KEEP_FAILURE_SECONDS = 604_800.0
#: The largest that is read. Parked once more it would look like an older one, and be taken for superseded.
GENERATION_MAX = 999_999
#: A body beyond this goes to the dead-letter queue without its reason, or the queue would not take it.
ROOM_FOR_ATTRIBUTES = quotas.BODY_BYTES_MAX - 256


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


@dataclass(slots=True, kw_only=True)
class Planner:
    """One per worker; used by one thread at a time. `has_dead_letter(queue)`: whether a copy can be kept."""

    clock: Clock
    results: Results | None
    replay: Replay | None
    parked: Parked | None
    has_dead_letter: Callable[[str], bool]
    unknown_grace_seconds: float = 3600.0
    worker: str = ""
    wanted: Callable[[type[Any]], bool] = lambda event: True  # whether anybody listens to such an event
    hidden: Hidden = field(init=False)
    _hostile: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.hidden = Hidden(self.clock)

    # ---------------------------------------------------------------- the table of outcomes

    def plan(self, delivery: Delivery, outcome: Outcome) -> Plan:
        plan = Plan(delivery, keep=delivery.deleted)
        if isinstance(outcome, Succeeded):
            self._succeeded(plan, outcome)
        elif isinstance(outcome, Rescheduled):
            self._rescheduled(plan, outcome)
        elif isinstance(outcome, Failed):
            self._failed(plan, outcome.error, "FAILED", expected=outcome.expected)
        elif isinstance(outcome, DeadLettered):
            self._dead_lettered(plan, outcome)
        elif isinstance(outcome, Refused):
            self._refused(plan, outcome)
        else:
            self._released(plan, outcome)
        return plan

    def _succeeded(self, plan: Plan, outcome: Succeeded) -> None:
        delivery = plan.delivery
        if delivery.once is not None and self.replay is not None:
            plan.records.append(self.replay.done_record(delivery.once))
        if self.results is not None:
            keep = delivery.task.options.keep_result_seconds
            plan.records.append(self.results.succeeded(self._record(delivery), outcome.value, keep_seconds=keep))
        if self.wanted(TaskSucceeded):
            plan.event = TaskSucceeded(**_ended(delivery))

    def _rescheduled(self, plan: Plan, outcome: Rescheduled) -> None:
        delivery = plan.delivery
        counts = outcome.counts and delivery.started_at is not None
        if delivery.once is not None and self.replay is not None:
            due = self.clock.now() + outcome.delay_seconds
            plan.records.append(self.replay.failed_record(delivery.once, retry_at=due))
        if self.results is not None and delivery.id is not None and delivery.knows_its_past:
            plan.records.append(self.results.retrying(self._uncounted(delivery, counts), outcome.error))
        attempts = self._uncounted(delivery, counts).attempts if delivery.record is not None else delivery.attempts_hint
        self._later(plan, outcome.delay_seconds, attempts)
        plan.event = TaskRescheduled(
            **_ended(delivery),
            delay_seconds=outcome.delay_seconds,
            error_type=outcome.error.type if outcome.error else None,
            error_message=outcome.error.message if outcome.error else None,
        )

    def _failed(self, plan: Plan, error: TaskError, code: str, *, expected: bool = False) -> None:
        delivery = plan.delivery
        self._ends_once(plan)
        if self.results is not None:
            plan.records.append(self._failure(delivery, error, code))
        copied = self._wants_copy(delivery) and self._dead_letter(plan, code)
        plan.event = TaskFailed(
            **_ended(delivery),
            error_type=error.type,
            error_message=error.message,
            frames=error.frames,
            expected=expected,
            dead_letter=copied,
        )

    def _dead_lettered(self, plan: Plan, outcome: DeadLettered) -> None:
        error = outcome.error or TaskError("DeadLetter", outcome.reason)
        ran = plan.delivery.started_at is not None
        self._failed(plan, error, "DEAD_LETTER" if ran else "CRASHED")
        plan.event = TaskDeadLettered(**_ended(plan.delivery), reason=outcome.reason)

    def _released(self, plan: Plan, outcome: Released) -> None:
        delivery = plan.delivery
        self._give_once_back(plan)
        if delivery.recorded and self.results is not None:
            record = self.results.released(self._record(delivery))
            plan.records += [record] if record is not None else []
        plan.hide_seconds = 0
        plan.event = TaskReleased(**_ended(delivery))

    def _record(self, delivery: Delivery) -> TaskRecord:
        return delivery.record or first_record(delivery, self.worker)

    def _uncounted(self, delivery: Delivery, counts: bool) -> TaskRecord:
        """The record, without the attempt that this delivery was when that does not count."""
        record = self._record(delivery)
        return record if counts or record.attempts == 0 else record.changed(attempts=record.attempts - 1)

    def _failure(self, delivery: Delivery, error: TaskError, code: str) -> Record:
        assert self.results is not None
        keep = delivery.task.options.keep_failure_seconds if delivery.task is not None else KEEP_FAILURE_SECONDS
        return self.results.failed(self._record(delivery), error, keep_seconds=keep, reason=code)

    def _ends_once(self, plan: Plan) -> None:
        if plan.delivery.once is not None and self.replay is not None:
            plan.records.append(self.replay.dead_record(plan.delivery.once))

    def _give_once_back(self, plan: Plan) -> None:
        if plan.delivery.once is not None and self.replay is not None:
            plan.records.append(self.replay.released_record(plan.delivery.once))

    # ---------------------------------------------------------------- the table of fates

    def _refused(self, plan: Plan, outcome: Refused) -> None:
        code, delivery = outcome.code, plan.delivery
        if code in HOSTILE:
            self._hostile_message(plan, code)
        elif code == "CONTEXT":
            # Never deleted: the misconfigured one is most likely this worker.
            self._hide(plan, backoff(delivery))
        elif code == "DECODE":
            self._refuse_for_good(plan, code, outcome.detail)
        elif code in UNKNOWN:
            self._unknown(plan, code, outcome.detail)
        elif code == "NOT_YET":
            self._not_yet(plan, outcome)
        elif code in ENDED:
            self._ended_state(plan, code, outcome.detail)
        elif code == "REPLAY" and outcome.retry_after_seconds is not None:
            self._give_once_back(plan)
            self._hide(plan, outcome.retry_after_seconds)
        elif code == "REPLAY":
            self._repeated(plan, outcome.detail)
        else:
            self._hide(plan, backoff(delivery))
        plan.event = MessageRefused(
            code=code,
            fate=plan.fate,
            queue=delivery.queue,
            detail=outcome.detail,
            id=delivery.id,
            task=delivery.task_name,
            body_sha256=_sha256(delivery.body) if delivery.id is None or code in HOSTILE else None,
        )

    def conflicts(self, plan: Plan) -> None:
        """It ran, and at the end another call's record was found under its id: that one's word stands."""
        plan.parking, plan.sends, plan.hide_seconds = [], [], None
        self._refused(plan, Refused("ID_CONFLICT", "it ran, and another call that was sealed under its id had ended"))

    def _hostile_message(self, plan: Plan, code: str) -> None:
        now = self.clock.monotonic()
        self._hostile = [at for at in self._hostile if now - at < 60]
        if len(self._hostile) < HOSTILE_PER_MINUTE and self._dead_letter(plan, code):
            self._hostile.append(now)

    def _refuse_for_good(self, plan: Plan, code: str, detail: str) -> None:
        self._ends_once(plan)
        if self.results is not None and plan.delivery.id is not None:
            plan.records.append(self._failure(plan.delivery, TaskError(code, detail), code))
        self._dead_letter(plan, code)

    def _unknown(self, plan: Plan, code: str, detail: str) -> None:
        delivery = plan.delivery
        since = delivery.message.sent_at
        if code == "TASK_NOT_SERVED":
            # Counted from when it could first run: the queue may have held it back for a while.
            since = max(since, min(delivery.due_at, since + quotas.DELAY_SECONDS_MAX))
        if self.clock.now() - since < self.unknown_grace_seconds:
            self._hide(plan, backoff(delivery))
        elif delivery.id is not None:
            self._refuse_for_good(plan, code, detail)
        else:
            self._dead_letter(plan, code)

    def _ended_state(self, plan: Plan, code: str, detail: str) -> None:
        delivery = plan.delivery
        self._ends_once(plan)
        # Without an id it is a schedule ticket that was refused: no call that anybody could ask after.
        if self.results is not None and delivery.id is not None:
            keep = delivery.task.options.keep_failure_seconds if delivery.task is not None else KEEP_FAILURE_SECONDS
            plan.records.append(self.results.ended(self._record(delivery), code, keep_seconds=keep, reason=detail))

    def _repeated(self, plan: Plan, state: str) -> None:
        """An earlier delivery stored its end and was cut off before the message was gone: finish what it began."""
        if state == "FAILURE" and self._wants_copy(plan.delivery):
            record = plan.delivery.record
            self._dead_letter(plan, (record.reason if record is not None else None) or "FAILED")

    def _not_yet(self, plan: Plan, outcome: Refused) -> None:
        delivery, wait = plan.delivery, outcome.retry_after_seconds
        wait = max(0.0, delivery.due_at - self.clock.now()) if wait is None else wait
        if self.results is None and not is_fifo(delivery.queue):
            # Hidden, it would come back with a receive count that looks like an attempt.
            self._send_again(plan, wait, delivery.attempts_hint)
        else:
            self._later(plan, wait, delivery.attempts_hint)

    # ---------------------------------------------------------------- later

    def _later(self, plan: Plan, seconds: float, attempts: int) -> None:
        """Hide, park, or without a store send again with a delay."""
        delivery = plan.delivery
        parks = self.parked is not None and delivery.generation < GENERATION_MAX
        if self._can_hide(delivery, seconds):
            self._hide(plan, seconds)
            # On FIFO a refusal leaves it where it is: parked, it would come back behind the rest of its group.
            plan.park = parks and not is_fifo(delivery.queue)
        elif parks:
            self.park(plan, seconds)
        elif self.parked is not None:
            self._hide(plan, min(seconds, quotas.HIDE_SECONDS_MAX))
        elif is_fifo(delivery.queue):
            self._hide(plan, seconds)
        else:
            self._send_again(plan, seconds, attempts)

    def _can_hide(self, delivery: Delivery, seconds: float) -> bool:
        held = self.clock.now() - delivery.message.first_received_at
        if held + seconds >= quotas.HIDE_TOTAL_SECONDS_MAX:
            return False
        if is_fifo(delivery.queue):
            return True  # whatever else it costs: parked, it would come back behind the rest of its group
        return (
            seconds <= quotas.HIDE_SECONDS_MAX
            and delivery.receipt.receive_count < quotas.HIDE_RECEIVE_COUNT_MAX
            and not self.hidden.full()
        )

    def _hide(self, plan: Plan, seconds: float) -> None:
        plan.hide_seconds = min(math.ceil(seconds), quotas.VISIBILITY_SECONDS_MAX)
        plan.fate = "hidden"

    def park(self, plan: Plan, seconds: float) -> None:
        """The sealed bytes become a record; the message goes. The next delivery is a generation further."""
        assert self.parked is not None
        delivery = plan.delivery
        due = self.clock.now() + seconds
        plan.parking = self.parked.records(
            delivery.id or delivery.message.message_id,
            queue=delivery.queue,
            body=delivery.body,
            due=due,
            until=max(due, delivery.expires_at or due),
            generation=delivery.generation + 1,
            group=delivery.message.group,
        )
        plan.hide_seconds, plan.fate = None, "parked"

    def _send_again(self, plan: Plan, seconds: float, attempts: int) -> None:
        delivery = plan.delivery
        held = min(math.ceil(seconds), quotas.DELAY_SECONDS_MAX)
        attributes = {"g": str(delivery.generation + 1), "a": str(attempts)}
        if seconds > held:  # the next delivery is one of several hops
            attributes["n"] = str(math.ceil(self.clock.now() + seconds))
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

    # ---------------------------------------------------------------- the dead-letter queue

    def _wants_copy(self, delivery: Delivery) -> bool:
        return delivery.task is None or delivery.task.options.dead_letter

    def _dead_letter(self, plan: Plan, code: str) -> bool:
        delivery = plan.delivery
        target = dead_letter(delivery.queue)
        if is_dead_letter(delivery.queue):
            # A worker pointed at a dead-letter queue runs nothing, and must not empty it either.
            self._hide(plan, backoff(delivery))
            return False
        if not self.has_dead_letter(target):
            return False
        entry_id = delivery.id or delivery.message.message_id
        fifo, attributes = is_fifo(delivery.queue), {"reason": code, "source": delivery.queue}
        # A settlement that is repeated makes one copy, and two messages that claim one id make two.
        copy = _sha256(delivery.body)[:16] if code in HOSTILE else "dead"
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


def backoff(delivery: Delivery) -> float:
    """1 s doubling to 15 min by deliveries."""
    return float(min(quotas.HIDE_SECONDS_MAX, 2 ** min(delivery.receipt.receive_count - 1, 10)))


def _sha256(body: str) -> str:
    return hashlib.sha256(body.encode()).hexdigest()


def _ended(delivery: Delivery) -> dict[str, Any]:
    started, finished = delivery.started_at, delivery.finished_at
    return {
        "id": str(delivery.id),
        "task": str(delivery.task_name),
        "queue": binding(delivery.queue),
        "attempt": delivery.attempt,
        "wait_seconds": max(0.0, started - delivery.due_at) if started is not None else None,
        "duration_seconds": max(0.0, finished - started) if started is not None and finished is not None else None,
        "traceparent": delivery.traceparent,
    }
