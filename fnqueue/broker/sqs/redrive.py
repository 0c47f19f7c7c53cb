"""Dead letters go back to a queue, as new messages.

Amazon moves them by itself (StartMessageMoveTask) when all are to go. A limit, or a server that does not
know that call, means receiving, sending and deleting here: in that order, so that a stop between two
makes a copy and loses nothing. On a FIFO queue the copy's deduplication id absorbs it.
Knows the wire, and the broker's verbs for messages through the seam.
"""

from __future__ import annotations

from collections.abc import Sequence

from fnqueue import quotas
from fnqueue.broker.base import Broker, Entry, Message
from fnqueue.broker.names import is_fifo
from fnqueue.broker.sqs.wire import Answer, Wire
from fnqueue.errors import BrokerError, BrokerRefused, BrokerUnreachable, SendRefused

_VISIBILITY_SECONDS = 120  # for one round of receive, send, delete
_LOOK_SECONDS = 1.0


def by_task(wire: Wire, source: str, source_arn: str, destination_arn: str) -> int | None:
    """Let SQS do it, and wait for its end. None: this server or this queue cannot.

    Raises BrokerError when the move fails half-way; what was moved stays moved.
    """
    members = {"SourceArn": source_arn, "DestinationArn": destination_arn}
    try:
        # The patient client because it tries least often: a second start would be refused.
        wire.ask("start_message_move_task", source, patient=True, **members)
    except (BrokerRefused, BrokerUnreachable):
        # Not known to the server (some answer 500), not a dead-letter queue in its eyes, or not allowed:
        # by hand, then, which tells what is wrong if it cannot either.
        return None
    while (task := _newest(wire, source, source_arn)).get("Status") in ("RUNNING", "CANCELLING"):
        wire.pause(_LOOK_SECONDS)
    moved = int(task.get("ApproximateNumberOfMessagesMoved", 0))
    if task.get("Status") != "COMPLETED":
        reason = task.get("FailureReason", "no reason given")
        raise BrokerError(f"redrive of {source!r}: {task.get('Status')} after {moved} messages: {reason}")
    return moved


def by_hand(broker: Broker, source: str, destination: str, limit: int | None) -> int:
    """Raises SendRefused when the destination does not take a message, which then stays where it is."""
    wait_seconds = 0 if broker.creates_queues else 1  # Amazon may answer "nothing" at once though there is something
    moved = 0
    while limit is None or moved < limit:
        wanted = quotas.RECEIVE_MAX if limit is None else min(quotas.RECEIVE_MAX, limit - moved)
        messages = broker.receive(
            source, max_messages=wanted, wait_seconds=wait_seconds, visibility_seconds=_VISIBILITY_SECONDS
        )
        if not messages:
            break
        moved += _round(broker, source, destination, messages)
    return moved


def _round(broker: Broker, source: str, destination: str, messages: Sequence[Message]) -> int:
    failures = broker.send(destination, [_anew(message, destination) for message in messages])
    refused = {failure.index for failure in failures}
    broker.delete(source, [m.receipt for i, m in enumerate(messages) if i not in refused])
    if failures:
        broker.change_visibility(source, [(messages[i].receipt, 0) for i in sorted(refused)])
        first = failures[0]
        raise SendRefused(first.code, f"queue {destination!r}: {first.text}", sender_fault=first.sender_fault)
    return len(messages)


def _anew(message: Message, destination: str) -> Entry:
    # The old deduplication id would be swallowed if the message died within five minutes of its sending.
    dedupe = f"redrive-{message.message_id}" if is_fifo(destination) else None
    return Entry(
        id=message.message_id, body=message.body, group=message.group, dedupe=dedupe, attributes=message.attributes
    )


def _newest(wire: Wire, source: str, source_arn: str) -> Answer:
    answer = wire.ask("list_message_move_tasks", source, SourceArn=source_arn)
    tasks: list[Answer] = answer.get("Results", [])
    return tasks[0] if tasks else {}
