"""Move tasks: dead letters go back by themselves, a trip at a time (T1 to T8 of the specification sheet).

A task is a row, so one that was running when the process ended goes on with the next. Each message goes to the
task's destination, or to the queue that it came from.
Knows nothing of who calls `step`.
"""

from __future__ import annotations

import base64
import uuid
from typing import NamedTuple

import msgspec

from fnqueue.broker.embedded import queues, redrive
from fnqueue.broker.embedded.queues import Queue
from fnqueue.broker.embedded.service import rows
from fnqueue.broker.embedded.service.address import Address, of_arn, refuse, refuse_value
from fnqueue.broker.names import is_fifo
from fnqueue.database import Connection

_TRIP = 200
_PER_SECOND_MAX = 500
_NEW = """
    INSERT INTO move_task (id, source, destination, per_second, status, started_at, to_move)
    VALUES (?, ?, ?, ?, 'RUNNING', ?, ?)
"""
_COLUMNS = "id, source, destination, per_second, status, reason, started_at, to_move, moved"
_OF_SOURCE = f"SELECT {_COLUMNS} FROM move_task WHERE source = ? ORDER BY number DESC LIMIT ?"  # noqa: S608
_ACTIVE = f"SELECT {_COLUMNS} FROM move_task WHERE status IN ('RUNNING', 'CANCELLING')"  # noqa: S608
_MOVED = "UPDATE move_task SET moved = moved + ? WHERE id = ?"
_END = "UPDATE move_task SET status = ?, reason = ? WHERE id = ?"


class Task(NamedTuple):
    id: str
    source: str
    destination: str | None
    per_second: int | None
    status: str
    reason: str | None
    started_at: float
    to_move: int
    moved: int


def start(
    connection: Connection, source_arn: str, destination_arn: str | None, per_second: int | None, now: float, count: int
) -> str:
    """The task's handle. `count`: what is in the source. Raises BrokerRefused."""
    source = resource(connection, source_arn, "SourceArn")
    destination = None if destination_arn is None else resource(connection, destination_arn, "DestinationArn")
    if per_second is not None and not 1 <= per_second <= _PER_SECOND_MAX:  # L23
        why = f"Must be between 1 and {_PER_SECOND_MAX}, if provided."
        refuse_value(per_second, "MaxNumberOfMessagesPerSecond", why)
    if not rows.sources(connection, source, "", 1):  # T2
        refuse("Source queue must be configured as a Dead Letter Queue.")
    if destination is not None and is_fifo(destination.name) != is_fifo(source.name):
        refuse("Source queue and destination queue must be of the same type, FIFO or standard.")
    if any(task.source == source.full for task in active(connection)):  # T3
        refuse(
            "There is already a task running. Only one active task is allowed for a source queue arn at a given time."
        )
    task = str(uuid.uuid4())
    target = None if destination is None else destination.full
    connection.execute(_NEW, (task, source.full, target, per_second, now, count))
    return handle(task, source)


def of_source(connection: Connection, source_arn: str, count: int) -> list[Task]:
    """The newest first."""
    source = resource(connection, source_arn, "SourceArn")
    return [Task(*row) for row in connection.execute(_OF_SOURCE, (source.full, count))]


def cancel(connection: Connection, text: str) -> int:
    """How many were moved. Raises BrokerRefused."""
    found = _read_handle(text)
    if found is None:
        refuse("Value for parameter TaskHandle is invalid.")
    task, source_arn = found
    source = resource(connection, source_arn, "SourceArn")
    running = [one for one in active(connection) if one.id == task and one.source == source.full]
    if not running or running[0].status != "RUNNING":  # T6
        refuse("Task does not exist.", "ResourceNotFoundException")
    connection.execute(_END, ("CANCELLING", None, task))
    return running[0].moved


def active(connection: Connection) -> list[Task]:
    return [Task(*row) for row in connection.execute(_ACTIVE)]


def step(connection: Connection, now: float) -> set[str]:
    """One trip of every task that is under way; the queues that got messages."""
    touched: set[str] = set()
    for task in active(connection):
        touched |= _step(connection, task, now)
    return touched


def _step(connection: Connection, task: Task, now: float) -> set[str]:
    if task.status == "CANCELLING":
        _end(connection, task, "CANCELLED")
        return set()
    source = queues.find(connection, task.source)
    if source is None:
        _end(connection, task, "FAILED", "AWS.SimpleQueueService.NonExistentQueue")
        return set()
    allowed = _TRIP
    if task.per_second is not None:
        allowed = min(_TRIP, int(task.per_second * (now - task.started_at)) + 1 - task.moved)
    if allowed <= 0:
        return set()
    found = redrive.visible_with_source(connection, source, now, min(allowed, max(1, task.to_move - task.moved)))
    moved = [(row, target) for row, came_from in found if (target := _target(connection, task, came_from))]
    for row, target in moved:
        redrive.move_one_back(connection, source, target, row, now)
    connection.execute(_MOVED, (len(moved), task.id))
    if len(moved) < len(found):  # T5: a destination is not there
        homeless = task.destination is None and any(came_from is None for _, came_from in found)
        why = "CouldNotDetermineMessageSource" if homeless else "AWS.SimpleQueueService.NonExistentQueue"
        _end(connection, task, "FAILED", why)
    elif not found or task.moved + len(moved) >= task.to_move:
        _end(connection, task, "COMPLETED")
    return {target.name for _, target in moved}


def _target(connection: Connection, task: Task, came_from: str | None) -> Queue | None:
    name = task.destination or came_from
    return None if name is None else queues.find(connection, name)


def _end(connection: Connection, task: Task, status: str, reason: str | None = None) -> None:
    connection.execute(_END, (status, reason, task.id))


# ------------------------------------------------------------------ arns and handles


def resource(connection: Connection, arn: str, parameter: str) -> Address:
    """The queue of an ARN. Raises BrokerRefused."""
    address = of_arn(arn)
    if address is None or rows.find(connection, address) is None:  # T1
        text = f"The resource that you specified for the {parameter} parameter doesn't exist."
        refuse(text, "ResourceNotFoundException")
    return address


def handle(task: str, source: Address) -> str:  # T7
    return base64.b64encode(msgspec.json.encode({"taskId": task, "sourceArn": source.arn})).decode()


def _read_handle(text: str) -> tuple[str, str] | None:
    try:
        found = msgspec.json.decode(base64.b64decode(text, validate=True), type=dict[str, str])
        return found["taskId"], found["sourceArn"]
    except (ValueError, KeyError, msgspec.MsgspecError):
        return None
