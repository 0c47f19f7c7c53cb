"""What earlier deliveries left behind: the record of a redelivery, and the right to run of `once`.

A first delivery reads and writes nothing here, but for `once` and for the calls of schedules.
Both functions return the outcome that ends the delivery, or None: it may go on, and `delivery.record` is what it
starts from. The right to run is asked for before anything is written: a bystander must not look like a crash.
"""

from __future__ import annotations

from typing import Any

from fnqueue.broker.names import binding
from fnqueue.errors import FnQueueError, TaskError
from fnqueue.execution.delivery import Delivery
from fnqueue.execution.powers import Powers
from fnqueue.outcome import DeadLettered, Outcome, Refused, Rescheduled
from fnqueue.state.replay import Conflict, Done, Elsewhere, Replay
from fnqueue.state.results import Results, TaskRecord
from fnqueue.task.handle import pause
from fnqueue.task.task import Task

#: The detail of a REPLAY refusal: the call lives on in a message that was sent later, so this one may go.
SUPERSEDED = "superseded"
#: How far apart those are set that were running together when their workers ended.
APART_SECONDS = 10.0
WITHIN_SECONDS = 2.0


def look_back(delivery: Delivery, task: Task[Any, Any, Any], powers: Powers) -> Outcome | None:
    """Before a run. A store that does not answer cannot say that it may: the message is hidden, and nothing written."""
    try:
        return _look_back(delivery, task, powers)
    except FnQueueError as error:
        delivery.once = None  # if it was taken, it lapses by itself
        detail = f"the store could not be asked: {type(error).__name__}"
        return Refused("REPLAY", detail, retry_after_seconds=delivery.backoff_seconds)


def _look_back(delivery: Delivery, task: Task[Any, Any, Any], powers: Powers) -> Outcome | None:
    end = recall(delivery, powers)
    if end is not None:
        return end
    known = delivery.record
    delivery.record = _starting(delivery, known, powers)
    once = task.options.once or delivery.tick is not None or powers.replay_required
    if once and powers.replay is not None:
        end = _take_once(delivery, powers, powers.replay)
    if end is None and powers.results is not None and delivery.redelivered:
        end = _start_again(delivery, powers, powers.results, known)
    return end


def recall(delivery: Delivery, powers: Powers, *, copy: bool = False) -> Outcome | None:
    """Take up the record that earlier deliveries wrote, if there is one: also for a call that must not run.

    `copy`: a first delivery asks, too, because it may be of a copy.
    """
    if powers.results is None or not (delivery.redelivered or copy):
        return None
    known = powers.results.read(_id(delivery))
    delivery.looked_back = True
    if known is None or not known.readable:
        return None  # one that is not sealed with a key of ours proves nothing
    if delivery.call is not None and known.call not in (None, delivery.call):
        return Refused("ID_CONFLICT", _another(known.state))
    delivery.record = known
    if known.final:
        return Refused("REPLAY", known.state)
    if known.fence[0] > delivery.generation or _is_parked(delivery, known, powers):
        return Refused("REPLAY", SUPERSEDED)
    # An earlier delivery may not have been able to read whose it is: KMS was away, say.
    delivery.record = known.changed(
        fence=delivery.fence, call=known.call or delivery.call, principal=known.principal or delivery.principal
    )
    return None


def _is_parked(delivery: Delivery, known: TaskRecord, powers: Powers) -> bool:
    """Whether an earlier delivery of this message parked it, and was cut off before the message was deleted."""
    parked = powers.parked
    return parked is not None and known.state == "RETRY" and parked.holds(known.id, delivery.generation + 1)


def _starting(delivery: Delivery, known: TaskRecord | None, powers: Powers) -> TaskRecord:
    if powers.results is None:
        counted = delivery.attempts_hint + delivery.receipt.receive_count
        return first_record(delivery, powers.worker).changed(attempts=counted)
    if known is None:
        return first_record(delivery, powers.worker).changed(attempts=1)
    return powers.results.again(known, fence=delivery.fence, worker=powers.worker or None)


def _take_once(delivery: Delivery, powers: Powers, replay: Replay) -> Outcome | None:
    assert delivery.expires_at is not None
    taken = replay.take(
        _id(delivery),
        fence=delivery.fence,
        lease_seconds=powers.lease_seconds,
        until=max(delivery.expires_at, delivery.tick or 0),
        call=delivery.call,
    )
    if isinstance(taken, Conflict):
        return Refused("ID_CONFLICT", _another(taken.state))
    if isinstance(taken, Done):
        return Refused("REPLAY", "FAILURE" if taken.dead else "SUCCESS")
    if isinstance(taken, Elsewhere):
        return Refused("REPLAY", "elsewhere", retry_after_seconds=taken.retry_after_seconds)
    delivery.once = taken
    return None


def _start_again(delivery: Delivery, powers: Powers, results: Results, known: TaskRecord | None) -> Outcome | None:
    """Write the start down, so that a crash of this run is known to the next; or end a row of crashes."""
    record = delivery.record
    assert record is not None
    if record.crashes >= powers.max_crashes:
        delivery.record = record.changed(attempts=record.attempts - 1)
        return DeadLettered(_crashed(record.crashes, powers.max_crashes))
    if _is_suspect(record, known):
        apart = powers.draw(0, APART_SECONDS)
        return Rescheduled(apart, TaskError("WorkerEnded", _crashed(record.crashes, powers.max_crashes)), counts=False)
    if known is not None and record.crashes >= 2:
        # The queue counts in whole seconds, so several that were set apart may come at the same one.
        pause(powers.clock, powers.draw(0, WITHIN_SECONDS))
    started = results.write_started(record if known is not None else record.changed(starts=1))
    if started is not None:
        delivery.record = started
        return None
    found = results.read(record.id)
    if found is not None and not found.readable:
        return None  # no twin's word, but something that no key of ours sealed: it must not keep the call from running
    return Refused("REPLAY", "elsewhere", retry_after_seconds=1)


def _is_suspect(record: TaskRecord, known: TaskRecord | None) -> bool:
    """Whether it was running when workers ended, twice or more, the last time just now.

    It may be the one that ends them, or run beside that one each time because their leases end together. So they
    are set apart in time before the start that decides: a bystander then ends, and only the culprit crashes again.
    """
    return known is not None and known.state == "STARTED" and record.crashes >= 2


def first_record(delivery: Delivery, worker: str) -> TaskRecord:
    """The record of a task whose store holds none yet, and which has not run."""
    return TaskRecord(
        id=_id(delivery),
        task=delivery.task_name or "",
        queue=binding(delivery.queue),
        expires_at=delivery.expires_at or delivery.message.sent_at,
        attempts=0,
        deferred_at=delivery.due_at,
        started_at=delivery.started_at,
        principal=delivery.principal,
        call=delivery.call,
        worker=worker or None,
        fence=delivery.fence,
    )


def _id(delivery: Delivery) -> str:
    return delivery.id or delivery.message.message_id


def _another(state: str) -> str:
    return f"another call was sealed under this id, and is {state}"


def _crashed(crashes: int, most: int) -> str:
    return f"{crashes} workers ended while this ran, without an outcome (max_crashes={most})"
