"""What an outcome means for store and broker, decided before anything is written. Pure but for reading the clock.

The table of outcomes in the design and the
table of fates of refused messages are the two functions `plan` and `_refused`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from fnqueue import quotas
from fnqueue.broker.names import binding, is_fifo
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
from fnqueue.execution.dead_letters import DeadLetters, body_hash
from fnqueue.execution.delivery import Delivery
from fnqueue.execution.later import Later, Plan
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

KEEP_FAILURE_SECONDS = 604_800.0


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
    later: Later = field(init=False)
    _dead_letters: DeadLetters = field(init=False)

    def __post_init__(self) -> None:
        self.later = Later(self.clock, self.parked)
        self._dead_letters = DeadLetters(self.clock, self.has_dead_letter, self.later)

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
        delivery, plan.spent = plan.delivery, True
        if delivery.once is not None and self.replay is not None:
            plan.records.append(self.replay.done_record(delivery.once))
        if self.results is not None:
            keep = delivery.task.options.keep_result_seconds
            record = self._record(delivery)
            if outcome.elsewhere is None:
                plan.records.append(self.results.succeeded(record, outcome.value, keep_seconds=keep))
            else:
                plan.records.append(self.results.succeeded_elsewhere(record, outcome.elsewhere, keep_seconds=keep))
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
        self.later.later(plan, outcome.delay_seconds, attempts)
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
        copied = self._wants_copy(delivery) and self._dead_letters.copy(plan, code)
        plan.spent = not copied
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
            self._dead_letters.copy_hostile(plan, code)
        elif code == "CONTEXT":
            # Never deleted: the misconfigured one is most likely this worker.
            self.later.hide(plan, delivery.backoff_seconds)
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
            self.later.hide(plan, outcome.retry_after_seconds)
        elif code == "REPLAY":
            self._repeated(plan, outcome.detail)
        else:
            self.later.hide(plan, delivery.backoff_seconds)
        plan.event = MessageRefused(
            code=code,
            fate=plan.fate,
            queue=delivery.queue,
            detail=outcome.detail,
            id=delivery.id,
            task=delivery.task_name,
            body_sha256=body_hash(delivery.body) if delivery.id is None or code in HOSTILE else None,
        )

    def conflicts(self, plan: Plan) -> None:
        """It ran, and at the end another call's record was found under its id: that one's word stands."""
        plan.parking, plan.sends, plan.hide_seconds, plan.spent = [], [], None, False
        self._refused(plan, Refused("ID_CONFLICT", "it ran, and another call that was sealed under its id had ended"))

    def _refuse_for_good(self, plan: Plan, code: str, detail: str) -> None:
        self._ends_once(plan)
        if self.results is not None and plan.delivery.id is not None:
            plan.records.append(self._failure(plan.delivery, TaskError(code, detail), code))
        self._dead_letters.copy(plan, code)

    def _unknown(self, plan: Plan, code: str, detail: str) -> None:
        delivery = plan.delivery
        since = delivery.message.sent_at
        if code == "TASK_NOT_SERVED":
            # Counted from when it could first run: the queue may have held it back for a while.
            since = max(since, min(delivery.due_at, since + quotas.DELAY_SECONDS_MAX))
        if self.clock.now() - since < self.unknown_grace_seconds:
            self.later.hide(plan, delivery.backoff_seconds)
        elif delivery.id is not None:
            self._refuse_for_good(plan, code, detail)
        else:
            self._dead_letters.copy(plan, code)

    def _ended_state(self, plan: Plan, code: str, detail: str) -> None:
        delivery, plan.spent = plan.delivery, True
        self._ends_once(plan)
        # Without an id it is a schedule ticket that was refused: no call that anybody could ask after.
        if self.results is not None and delivery.id is not None:
            keep = delivery.task.options.keep_failure_seconds if delivery.task is not None else KEEP_FAILURE_SECONDS
            plan.records.append(self.results.ended(self._record(delivery), code, keep_seconds=keep, reason=detail))

    def _repeated(self, plan: Plan, state: str) -> None:
        """An earlier delivery stored its end and was cut off before the message was gone: finish what it began."""
        plan.spent = state == "SUCCESS"
        if state == "FAILURE" and self._wants_copy(plan.delivery):
            record = plan.delivery.record
            self._dead_letters.copy(plan, (record.reason if record is not None else None) or "FAILED")

    def _not_yet(self, plan: Plan, outcome: Refused) -> None:
        delivery, wait = plan.delivery, outcome.retry_after_seconds
        wait = max(0.0, delivery.due_at - self.clock.now()) if wait is None else wait
        if self.results is None and not is_fifo(delivery.queue):
            # Hidden, it would come back with a receive count that looks like an attempt.
            self.later.send_again(plan, wait, delivery.attempts_hint)
        else:
            self.later.later(plan, wait, delivery.attempts_hint)

    # ---------------------------------------------------------------- the dead-letter queue

    def _wants_copy(self, delivery: Delivery) -> bool:
        return delivery.task is None or delivery.task.options.dead_letter


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
