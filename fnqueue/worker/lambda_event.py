"""What AWS Lambda gives to a handler of SQS's messages: records, and how each is a message of one of our queues.

Whoever may invoke the function may make an event up, so nothing in it is believed: the queue that it names is bound by
the seal, a receipt opens nothing, and a record that cannot be read is told as failed. Source: AWS Lambda Developer
Guide, "Using Lambda with Amazon SQS". Knows no task.
"""

from __future__ import annotations

import re
from collections.abc import Container, Mapping
from typing import Any

from fnqueue.broker.base import Message
from fnqueue.broker.names import is_dead_letter, logical
from fnqueue.broker.sqs import shapes
from fnqueue.broker.sqs.url import SqsUrl
from fnqueue.errors import EventInvalid

_ARN = re.compile(r"arn:aws[a-z-]{0,20}:sqs:([a-z0-9-]{1,40}):([0-9]{12}):([A-Za-z0-9_-]{1,80}(?:\.fifo)?)")
_COUNT = re.compile(r"[0-9]{1,15}", re.ASCII)
_NUMBERS = ("ApproximateReceiveCount", "SentTimestamp", "ApproximateFirstReceiveTimestamp")

Record = Mapping[str, Any]


def records_of(event: object) -> dict[str, Record]:
    """By message id, in their order. Raises EventInvalid for what no event source mapping of SQS sends: nothing of it
    is run, because a failure could not be told. A message that was received twice, as while a batching window was
    longer than its visibility timeout, is one: the later of them, whose receipt is good."""
    records = event.get("Records") if isinstance(event, dict) else None
    if not isinstance(records, list) or not records:
        raise EventInvalid("it has no Records")
    found: dict[str, Record] = {}
    for number, record in enumerate(records):
        if not isinstance(record, dict) or record.get("eventSource") != "aws:sqs":
            raise EventInvalid(f"record {number} is not of SQS")
        message_id = record.get("messageId")
        if not isinstance(message_id, str) or not message_id:
            raise EventInvalid(f"record {number} has no messageId")
        found[message_id] = record
    return found


def message_of(record: Record, url: SqsUrl, queues: Container[str], deadline: float) -> Message:
    """`queues`: logical names. `deadline`: on the monotonic clock. Raises ValueError: what is wrong with it."""
    body, receipt = record.get("body"), record.get("receiptHandle")
    if not isinstance(body, str) or not isinstance(receipt, str) or not receipt:
        raise ValueError("it has no body or no receiptHandle")
    queue = _queue(record.get("eventSourceARN"), url, queues)
    attributes = _texts(record.get("attributes"), "attributes")
    for name in _NUMBERS:
        if name in attributes and not _COUNT.fullmatch(attributes[name]):
            raise ValueError(f"its {name} is no number")
    raw = {
        "MessageId": record["messageId"],
        "Body": body,
        "ReceiptHandle": receipt,
        "Attributes": attributes,
        "MessageAttributes": _message_attributes(record.get("messageAttributes")),
    }
    return shapes.incoming(raw, queue=queue, deadline=deadline, prefix=url.prefix)


def _queue(arn: object, url: SqsUrl, queues: Container[str]) -> str:
    """The physical name of one that this application's tasks have."""
    found = _ARN.fullmatch(arn) if isinstance(arn, str) else None
    if found is None:
        raise ValueError("its eventSourceARN is no queue's")
    region, account, name = found.groups()
    queue = name.removeprefix(url.prefix)
    wrong = region != url.region or account != (url.account or account) or not name.startswith(url.prefix)
    if wrong or is_dead_letter(queue) or logical(queue) not in queues:
        raise ValueError(f"its queue {name} in {region} is none that tasks of this application have under {url.shown}")
    return queue


def _texts(given: object, what: str) -> dict[str, str]:
    if given is None:
        return {}
    if not isinstance(given, dict) or not all(isinstance(part, str) for pair in given.items() for part in pair):
        raise ValueError(f"its {what} are not texts")
    return given


def _message_attributes(given: object) -> dict[str, dict[str, str]]:
    """Those that are texts: ours are."""
    if given is None:
        return {}
    if not isinstance(given, dict):
        raise ValueError("its messageAttributes are no map")
    return {
        name: {"DataType": "String", "StringValue": value["stringValue"]}
        for name, value in given.items()
        if isinstance(name, str) and isinstance(value, dict) and isinstance(value.get("stringValue"), str)
    }
