"""Entries, receipts and messages as SQS's JSON, and back; batches packed into trips.

A trip is one call: at most ten entries, and together at most 1 MiB, where SQS counts the body and, of
each attribute, name, type and value. The id of a batch entry is its index in the caller's batch.
Pure: asks nobody.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from fnqueue import quotas
from fnqueue.broker.base import Entry, Failure, Message, Receipt

WireEntry = dict[str, Any]
Trip = list[WireEntry]

SYSTEM_ATTRIBUTES = [
    "ApproximateReceiveCount",
    "SentTimestamp",
    "ApproximateFirstReceiveTimestamp",
    "MessageGroupId",
    "MessageDeduplicationId",
    "DeadLetterQueueSourceArn",
]
_TYPE = "String"


def pack(entries: Sequence[Entry], *, bytes_max: int) -> tuple[list[Trip], list[Failure]]:
    """In order. `bytes_max`: of a trip. An entry that no queue takes is a Failure, and is not sent.

    A single entry may exceed `bytes_max` up to SQS's own limit: it then goes alone, and the queue decides.
    """
    trips: list[Trip] = []
    failures = []
    room = 0
    for index, entry in enumerate(entries):
        size = size_of(entry)
        if size > quotas.BODY_BYTES_MAX:
            failures.append(_too_large(index, size))
            continue
        if not trips or size > room or len(trips[-1]) == quotas.BATCH_ENTRIES_MAX:
            trips.append([])
            room = bytes_max
        trips[-1].append(_outgoing(index, entry))
        room -= size
    return trips, failures


def size_of(entry: Entry) -> int:
    """Bytes as SQS counts them."""
    size = _bytes(entry.body)
    for name, value in entry.attributes.items():
        size += _bytes(name) + len(_TYPE) + _bytes(value)
    return size


def deletions(receipts: Sequence[Receipt]) -> list[Trip]:
    return list(_tens({"Id": str(i), "ReceiptHandle": r.handle} for i, r in enumerate(receipts)))


def visibility_changes(changes: Sequence[tuple[Receipt, int]]) -> list[Trip]:
    return list(
        _tens(
            {"Id": str(i), "ReceiptHandle": receipt.handle, "VisibilityTimeout": seconds}
            for i, (receipt, seconds) in enumerate(changes)
        )
    )


def incoming(raw: Mapping[str, Any], *, queue: str, deadline: float, prefix: str) -> Message:
    """One message of a ReceiveMessage answer. `deadline`: on the monotonic clock."""
    system = raw.get("Attributes", {})
    source = system.get("DeadLetterQueueSourceArn")
    sent = _seconds(system.get("SentTimestamp"))
    return Message(
        message_id=raw["MessageId"],
        body=raw["Body"],
        receipt=Receipt(queue, raw["ReceiptHandle"], int(system.get("ApproximateReceiveCount", 1)), deadline),
        sent_at=sent,
        first_received_at=_seconds(system.get("ApproximateFirstReceiveTimestamp")) or sent,
        group=system.get("MessageGroupId"),
        dedupe=system.get("MessageDeduplicationId"),
        attributes=_texts(raw.get("MessageAttributes", {})),
        dead_letter_source=queue_of_arn(source, prefix) if source else None,
    )


def queue_of_arn(arn: str, prefix: str) -> str:
    """`arn:aws:sqs:eu-west-1:123456789012:shop-billing` -> `billing`."""
    return arn.rpartition(":")[2].removeprefix(prefix)


def _outgoing(index: int, entry: Entry) -> WireEntry:
    wire: WireEntry = {"Id": str(index), "MessageBody": entry.body}
    if entry.delay_seconds:  # left out, the queue's own delay holds; a FIFO queue takes no other
        wire["DelaySeconds"] = entry.delay_seconds
    if entry.group is not None:
        wire["MessageGroupId"] = entry.group
    if entry.dedupe is not None:
        wire["MessageDeduplicationId"] = entry.dedupe
    if entry.attributes:
        wire["MessageAttributes"] = {
            name: {"DataType": _TYPE, "StringValue": value} for name, value in entry.attributes.items()
        }
    return wire


def _too_large(index: int, size: int) -> Failure:
    text = f"Message must be shorter than {quotas.BODY_BYTES_MAX} bytes, and has {size}."
    return Failure(index, "InvalidParameterValue", text)


def _bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())


def _tens(entries: Iterable[WireEntry]) -> Iterator[Trip]:
    trip: Trip = []
    for entry in entries:
        trip.append(entry)
        if len(trip) == quotas.BATCH_ENTRIES_MAX:
            yield trip
            trip = []
    if trip:
        yield trip


def _seconds(milliseconds: str | None) -> float:
    return int(milliseconds) / 1000 if milliseconds else 0.0


def _texts(attributes: Mapping[str, Any]) -> dict[str, str]:
    """Text and numbers. Bytes come from a stranger: none of ours have any."""
    return {name: value["StringValue"] for name, value in attributes.items() if "StringValue" in value}
