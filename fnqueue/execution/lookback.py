"""What earlier deliveries left behind: the record of a redelivery, and the right to run of `once`.

A first delivery reads and writes nothing here, but for `once`.
Returns the outcome that ends the delivery, or None: it may run, and `delivery.record` is what it starts from.
"""

from __future__ import annotations

from typing import Any

from fnqueue.broker.names import binding
from fnqueue.execution.delivery import Delivery
from fnqueue.execution.powers import Powers
from fnqueue.outcome import DeadLettered, Outcome, Refused
from fnqueue.state.replay import Done, Elsewhere, Replay
from fnqueue.state.results import Results, TaskRecord
from fnqueue.task.task import Task


def look_back(delivery: Delivery, task: Task[Any, Any, Any], powers: Powers) -> Outcome | None:
    record = first_record(delivery, powers.worker)
    if powers.results is None:
        delivery.record = record.changed(attempts=delivery.attempts_hint + delivery.receipt.receive_count)
        return None
    delivery.record = record
    if delivery.redelivered:
        end = _redelivered(delivery, powers, powers.results, record)
        if end is not None:
            return end
    if task.options.once and powers.replay is not None:
        return _take_once(delivery, powers, powers.replay)
    return None


def _redelivered(delivery: Delivery, powers: Powers, results: Results, record: TaskRecord) -> Outcome | None:
    known = results.read(record.id)
    if known is not None and known.final:
        if known.readable:
            return Refused("REPLAY", known.state)
        known = None  # not sealed with a key of ours: it proves nothing
    if known is None:
        record = record.changed(starts=1)
    else:
        record = results.again(known, fence=delivery.fence, worker=powers.worker or None)
        if record.crashes >= powers.max_crashes:
            delivery.record = known
            return DeadLettered(_crashed(record.crashes, powers.max_crashes))
    started = results.write_started(record)
    if started is None:
        return Refused("REPLAY", "elsewhere", retry_after_seconds=1)
    delivery.record = started
    return None


def _take_once(delivery: Delivery, powers: Powers, replay: Replay) -> Outcome | None:
    assert delivery.id is not None and delivery.expires_at is not None
    taken = replay.take(
        delivery.id, fence=delivery.fence, lease_seconds=powers.lease_seconds, until=delivery.expires_at
    )
    if isinstance(taken, Done):
        return Refused("REPLAY", "FAILURE" if taken.dead else "SUCCESS")
    if isinstance(taken, Elsewhere):
        return Refused("REPLAY", "elsewhere", retry_after_seconds=taken.retry_after_seconds)
    delivery.once = taken
    return None


def first_record(delivery: Delivery, worker: str) -> TaskRecord:
    """The record of a task whose store holds none yet."""
    return TaskRecord(
        id=delivery.id or delivery.message.message_id,
        task=delivery.task_name or "",
        queue=binding(delivery.queue),
        expires_at=delivery.expires_at or delivery.message.sent_at,
        deferred_at=delivery.due_at,
        started_at=delivery.started_at,
        principal=delivery.principal,
        worker=worker or None,
        fence=delivery.fence,
    )


def _crashed(crashes: int, most: int) -> str:
    return f"{crashes} workers ended while this ran, without an outcome (max_crashes={most})"
