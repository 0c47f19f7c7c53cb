"""What an operator asks of queues: make, look at, empty, remove, and bring dead letters back.

Nothing here is called at run time: on Amazon these need rights that a worker does not have.
Knows the wire; knows nothing of batches of calls.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from fnqueue import quotas
from fnqueue.broker.base import QueueAttributes
from fnqueue.broker.names import is_fifo
from fnqueue.broker.sqs.shapes import queue_of_arn
from fnqueue.broker.sqs.wire import Wire
from fnqueue.errors import OptionInvalid, QueueMissing

_PAGE = 1000


def listed(wire: Wire) -> list[str]:
    """ListQueues, without the prefix, sorted. Names of a longer prefix that begins with ours are among them."""
    members: dict[str, Any] = {"MaxResults": _PAGE}
    if wire.url.prefix:
        members["QueueNamePrefix"] = wire.url.prefix
    found: list[str] = []
    while True:
        answer = wire.ask("list_queues", **members)
        found += [wire.short_name(url.rpartition("/")[2]) for url in answer.get("QueueUrls", ())]
        if not answer.get("NextToken"):
            return sorted(found)
        members["NextToken"] = answer["NextToken"]


def looked_at(wire: Wire, queue: str) -> QueueAttributes:
    found = wire.call("get_queue_attributes", queue, AttributeNames=["All"]).get("Attributes", {})
    number = {name: int(value) for name, value in found.items() if str(value).isdecimal()}
    redrive = json.loads(found.get("RedrivePolicy") or "{}")
    target = redrive.get("deadLetterTargetArn")
    return QueueAttributes(
        visible=number.get("ApproximateNumberOfMessages", 0),
        in_flight=number.get("ApproximateNumberOfMessagesNotVisible", 0),
        delayed=number.get("ApproximateNumberOfMessagesDelayed", 0),
        visibility_seconds=number.get("VisibilityTimeout", 30),
        delay_seconds=number.get("DelaySeconds", 0),
        retention_seconds=number.get("MessageRetentionPeriod", quotas.RETENTION_SECONDS_DEFAULT),
        wait_time_seconds=number.get("ReceiveMessageWaitTimeSeconds", 0),
        max_body_bytes=number.get("MaximumMessageSize", quotas.BODY_BYTES_MAX),
        fifo=found.get("FifoQueue") == "true",
        content_deduplication=found.get("ContentBasedDeduplication") == "true",
        dead_letter_queue=queue_of_arn(target, wire.url.prefix) if target else None,
        max_receive_count=int(redrive["maxReceiveCount"]) if target else None,
    )


def created(wire: Wire, queue: str, attributes: Mapping[str, str]) -> None:
    """Make it, or set the attributes on the one that is there: CreateQueue refuses other values than it has."""
    try:
        wire.call("set_queue_attributes", queue, Attributes=dict(attributes))
    except QueueMissing:
        wanted = {name: value for name, value in attributes.items() if value}  # "" takes away what is not there yet
        if is_fifo(queue):
            wanted["FifoQueue"] = "true"
        answer = wire.ask("create_queue", queue, QueueName=wire.full_name(queue), Attributes=wanted)
        wire.remember(queue, wire.url_in(answer))


def redrive_policy(wire: Wire, dead_letter_queue: str | None, max_receive_count: int | None) -> str:
    """The attribute's value; empty: none. On Amazon the dead-letter queue must be there (QueueMissing)."""
    if (dead_letter_queue is None) != (max_receive_count is None):
        raise OptionInvalid("dead_letter_queue and max_receive_count go together")
    if dead_letter_queue is None or max_receive_count is None:
        return ""
    if not 1 <= max_receive_count <= quotas.RECEIVE_COUNT_MAX:
        raise OptionInvalid(f"max_receive_count={max_receive_count!r} must be 1 to {quotas.RECEIVE_COUNT_MAX}")
    arn = arn_of(wire, dead_letter_queue, makes=True)
    return json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": max_receive_count})


def arn_of(wire: Wire, queue: str, *, makes: bool = False) -> str:
    answer = wire.call("get_queue_attributes", queue, makes=makes, AttributeNames=["QueueArn"])
    return str(answer["Attributes"]["QueueArn"])


def removed(wire: Wire, queue: str) -> None:
    wire.call("delete_queue", queue)
    wire.forget(queue)
