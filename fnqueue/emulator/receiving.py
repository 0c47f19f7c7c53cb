"""ReceiveMessage: looks, waits, and shows what was found, as far as it was asked for.

A poll that waits also listens for its client's end: a message that was taken for one who had gone is given back as
if nobody had seen it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping
from typing import Any

from fnqueue.broker.embedded import checks
from fnqueue.broker.embedded.line import Delivered, attributes_of
from fnqueue.broker.embedded.queues import Queue
from fnqueue.broker.embedded.service.address import Address, of_full
from fnqueue.broker.embedded.service.entries import Value, given_back
from fnqueue.broker.embedded.service.service import Received, check_receive, check_wait, sequence_number
from fnqueue.emulator import md5
from fnqueue.emulator import members as m
from fnqueue.emulator.call import Call

_EVERYTHING = {"All", ".*", "*"}
_NAME_MAX = 256 + len(".*")


async def receive_message(call: Call, asked: m.ReceiveMessage) -> dict[str, Any] | None:
    address = call.address(asked.queue_url)
    count = 1 if asked.max_number_of_messages is None else asked.max_number_of_messages
    check_receive(count, asked.visibility_timeout)
    wait = asked.wait_time_seconds
    check_wait(wait or 0)
    wanted = Wanted(asked)
    asked.attribute_names = asked.message_system_attribute_names = asked.message_attribute_names = None
    if wait:
        received = await _waited(call, address, asked, count, wait)
    else:
        received = await _looked(call, address, asked, count)
        if wait is None and received.queue.wait_time_seconds:  # R3: it is a poll that waits
            received = await _waited_on(call, address, asked, count, received)
    if received is None or not received.messages:
        return {}
    message_id = received.queue.message_ids()
    return {"Messages": [_shown(call, received.queue, message_id, one, wanted) for one in received.messages]}


async def _looked(call: Call, address: Address, asked: m.ReceiveMessage, count: int) -> Received:
    received = await call.desk.do(
        lambda: call.service.receive(
            address,
            count=count,
            visibility_seconds=asked.visibility_timeout,
            attempt=asked.receive_request_attempt_id,
        ),
        durable=False,  # what a power failure takes back is that it was hidden: it comes again, a little sooner
    )
    if received.messages:  # who waits must know when these are visible again
        seconds = asked.visibility_timeout
        hidden = received.queue.visibility_seconds if seconds is None else seconds
        call.desk.look_at(address.full, call.desk.clock.now() + hidden)
    return received


async def _waited_on(
    call: Call, address: Address, asked: m.ReceiveMessage, count: int, received: Received
) -> Received | None:
    """As long as the queue says, where the first look found nothing. None when the client has gone."""
    if not received.messages:
        return await _waited(call, address, asked, count, received.queue.wait_time_seconds)
    if not call.gone().done():
        return received
    await call.desk.do(lambda: call.service.undo_receive(address, received))
    return None


async def _waited(call: Call, address: Address, asked: m.ReceiveMessage, count: int, wait: float) -> Received | None:
    """None when the client has gone."""
    until, gone = call.desk.clock.monotonic() + wait, call.gone()
    try:
        while not gone.done():
            received = await _looked_or_woken(call, address, asked, count, until, gone)
            if received is not None:
                return received
        return None
    finally:
        gone.cancel()


async def _looked_or_woken(
    call: Call, address: Address, asked: m.ReceiveMessage, count: int, until: float, gone: asyncio.Future[None]
) -> Received | None:
    """None: look again, if the client is still there. In line before looking, so that nothing is missed between."""
    desk, name = call.desk, address.full
    place, passes_on = desk.stand(name), True
    try:
        received = await _looked(call, address, asked, count)
        left = until - desk.clock.monotonic()
        if received.messages and gone.done():
            await desk.do(lambda: call.service.undo_receive(address, received))
            return None
        if received.messages:
            desk.wake(name)  # there may be more
            return received
        if left <= 0 or desk.stopping:
            return received
        if received.due_at is not None:
            desk.look_at(name, received.due_at)
        await asyncio.wait((place, gone), timeout=left, return_when=asyncio.FIRST_COMPLETED)
        passes_on = gone.done()
        return None
    finally:
        desk.leave(name, place, passes_on=passes_on)


# ------------------------------------------------------------------ what is shown


class Wanted:
    """The names that were asked for. They may be many, so each is looked at once, whatever is received.

    They are kept while a poll waits: those that are too long for any attribute are not.
    """

    __slots__ = ("beginnings", "everything", "names", "system")

    def __init__(self, asked: m.ReceiveMessage) -> None:
        system = asked.message_system_attribute_names or asked.attribute_names or ()
        self.system = frozenset(name for name in system if len(name) <= _NAME_MAX)
        self.names = frozenset(name for name in asked.message_attribute_names or () if len(name) <= _NAME_MAX)
        self.everything = not _EVERYTHING.isdisjoint(self.names)
        self.beginnings = frozenset(name.removesuffix(".*") for name in self.names if name.endswith(".*"))

    def chosen(self, attributes: Mapping[str, Value]) -> dict[str, Value]:
        """R10"""
        if self.everything:
            return dict(attributes)
        return {name: value for name, value in attributes.items() if name in self.names or self._begins(name)}

    def _begins(self, name: str) -> bool:
        return bool(self.beginnings) and any(name[:end] in self.beginnings for end in range(len(name) + 1))


def _shown(
    call: Call, queue: Queue, message_id: Callable[[int], str], found: Delivered, wanted: Wanted
) -> dict[str, Any]:
    """R7: of attributes those that were asked for."""
    row, receives, _, _, _, _, kept, _, body = found
    shown: dict[str, Any] = {
        "MessageId": message_id(row),
        "ReceiptHandle": checks.handle((queue.id, row, receives)),
        "MD5OfBody": md5.of_body(body),
        "Body": body,
    }
    attributes, system = given_back(attributes_of(kept)) if kept else ({}, {})
    if wanted.system and (shown_system := _shown_system(call, queue, found, system, wanted.system)):
        shown["Attributes"] = shown_system
    if wanted.names and attributes:
        chosen = wanted.chosen(attributes)
        if chosen:
            shown["MD5OfMessageAttributes"] = md5.of_attributes(chosen)  # R11: of those that are returned
            shown["MessageAttributes"] = {name: _value(value) for name, value in chosen.items()}
    return shown


def _shown_system(
    call: Call, queue: Queue, found: Delivered, system: Mapping[str, str], names: Collection[str]
) -> dict[str, str]:
    """R8"""
    row, receives, sent_at, first_received_at, group, dedupe, _, source, _ = found
    address = of_full(source) if source else None
    all_: dict[str, str | None] = {
        "SenderId": call.account,
        "ApproximateFirstReceiveTimestamp": _milliseconds(first_received_at),
        "ApproximateReceiveCount": str(receives),
        "SentTimestamp": _milliseconds(sent_at),
        "MessageGroupId": group,
        "MessageDeduplicationId": dedupe,
        "SequenceNumber": sequence_number(row) if queue.fifo else None,
        "DeadLetterQueueSourceArn": address.arn if address else None,
        **system,
    }
    every = "All" in names
    return {name: value for name, value in all_.items() if value is not None and (every or name in names)}


def _value(value: Value) -> dict[str, Any]:
    if value.data is not None:
        return {"BinaryValue": value.data, "DataType": value.data_type}
    return {"StringValue": value.text, "DataType": value.data_type}


def _milliseconds(seconds: float) -> str:
    return str(round(seconds * 1000))
