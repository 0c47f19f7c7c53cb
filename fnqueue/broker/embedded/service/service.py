"""QueueService: what SQS does, operation by operation, with its rules and its refusals.

Each verb is one transaction, or joins its caller's. Refusals are BrokerRefused, whose code is the name of SQS's error
(`QueueDoesNotExist`). A verb waits for nothing: `touched` names the queues in which somebody who waits may find a
message now, and `Received.due_at` says when there may be one.
Rows in brackets are those of the specification sheet. Knows neither protocols nor URLs.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Any, NamedTuple

import msgspec

from fnqueue import quotas
from fnqueue.broker.embedded import checks
from fnqueue.broker.embedded.checks import Delivery, Fault
from fnqueue.broker.embedded.line import Delivered, Line
from fnqueue.broker.embedded.queues import Queue
from fnqueue.broker.embedded.service import attributes, entries, receiving
from fnqueue.broker.embedded.service.address import Address, refuse, refuse_value
from fnqueue.broker.embedded.service.administration import Administration
from fnqueue.broker.embedded.service.entries import Message
from fnqueue.broker.embedded.service.receiving import Receiving
from fnqueue.broker.embedded.standard import StandardLine
from fnqueue.broker.names import is_fifo
from fnqueue.clock import Clock
from fnqueue.database import Connection, Database
from fnqueue.errors import BrokerRefused

_LOOKS = 20
_AGAIN_SECONDS = 0.1
_HANDLE_CHARS_MAX = 64
_SEQUENCE_BASE, _SEQUENCE_STEP = 18_000_000_000_000_000_000, 256  # F7: 20 digits, and gaps
_ROW_MAX = 2**62


class Sent(msgspec.Struct):
    message_id: str
    sequence_number: str | None = None


class Batch(NamedTuple):
    ids: Sequence[str]
    messages: Sequence[Message]


class Received(NamedTuple):
    """`due_at`: where nothing was found, when something may be visible; unix seconds."""

    queue: Queue
    messages: list[Delivered]
    due_at: float | None


class QueueService(Administration):
    """On `database`, which its maker closes. `strict`: also the rules that hinder development, 60 s each [C9, G2]."""

    def __init__(self, database: Database, *, clock: Clock, strict: bool = False) -> None:
        super().__init__(database, clock=clock, strict=strict)
        self._receiving = Receiving(clock)

    # ------------------------------------------------------------------ send

    def send(self, address: Address, message: Message) -> Sent:
        """Raises BrokerRefused."""
        (sent,) = self.send_each(address, [message])
        if isinstance(sent, BrokerRefused):
            raise sent
        return sent

    def send_each(self, address: Address, messages: Sequence[Message]) -> list[Sent | BrokerRefused]:
        """Of several who each send one message. Raises BrokerRefused for what is wrong with all of them."""

        def work(connection: Connection) -> list[Sent | BrokerRefused]:
            row = self._row(connection, address)
            queue, most = row.queue, attributes.max_bytes(row.options)
            fifo, content = queue.fifo, bool(queue.content_deduplication)
            bodies = None if fifo else entries.bare_bodies(messages, most)
            if bodies is not None:
                return self._append_bare(connection, queue, bodies)

            def fault_of(one: Message) -> Fault | None:
                needed = entries.needed_fault(one, fifo=fifo, content=content) if one.body else None
                return needed or entries.fault(one, fifo=fifo, content=content, bytes_max=most, single=True)

            sent = self._append_good(connection, queue, messages, [fault_of(one) for one in messages])
            return [
                BrokerRefused(entries.shape_of(each.code), each.text) if isinstance(each, Fault) else each
                for each in sent
            ]

        self.touched.add(address.full)
        return self._database.write(work)

    def send_batch(self, address: Address, ids: Sequence[str], messages: Sequence[Message]) -> list[Sent | Fault]:
        """Raises BrokerRefused for what fails the whole batch [B1]."""
        (sent,) = self.send_batches(address, [Batch(ids, messages)])
        if isinstance(sent, BrokerRefused):
            raise sent
        return sent

    def send_batches(self, address: Address, batches: Sequence[Batch]) -> list[list[Sent | Fault] | BrokerRefused]:
        """Of several who each send one. Raises BrokerRefused for what is wrong with all of them."""

        def work(connection: Connection) -> list[list[Sent | Fault] | BrokerRefused]:
            row = self._row(connection, address)
            most = attributes.max_bytes(row.options)
            bare: list[str] = []
            told: list[list[Sent | Fault] | BrokerRefused | int] = []  # a number: of how many of `bare`
            for ids, messages in batches:
                try:
                    entries.checked_entry_ids(ids)
                    bodies = None if row.queue.fifo else entries.bare_bodies(messages, most)
                    if bodies is None or sum(map(len, bodies)) > quotas.BODY_BYTES_MAX:
                        told.append(self._append_batch(connection, row.queue, messages, most))
                    else:
                        told.append(len(bodies))
                        bare += bodies
                except BrokerRefused as error:
                    told.append(error.with_traceback(None))
            sent = iter(self._append_bare(connection, row.queue, bare))
            return [list(islice(sent, each)) if isinstance(each, int) else each for each in told]

        self.touched.add(address.full)
        return self._database.write(work)

    def _append_batch(
        self, connection: Connection, queue: Queue, messages: Sequence[Message], bytes_max: int
    ) -> list[Sent | Fault]:
        fifo, content = queue.fifo, bool(queue.content_deduplication)
        _check_together(messages, fifo=fifo, content=content)
        faults = [entries.fault(one, fifo=fifo, content=content, bytes_max=bytes_max, single=False) for one in messages]
        return self._append_good(connection, queue, messages, faults)

    def _append_bare(self, connection: Connection, queue: Queue, bodies: Sequence[str]) -> list[Any]:
        message_id = queue.message_ids()
        numbers = StandardLine(connection, queue, self._clock.now()).send_plain(bodies)
        return [Sent(message_id(row)) for row in numbers]

    def _append_good(
        self, connection: Connection, queue: Queue, messages: Sequence[Message], faults: Sequence[Fault | None]
    ) -> list[Sent | Fault]:
        """Those that have no fault."""
        good = [one for one, fault in zip(messages, faults, strict=True) if fault is None]
        sent = iter(self._append(connection, queue, good))
        return [next(sent) if fault is None else fault for fault in faults]

    def _append(self, connection: Connection, queue: Queue, messages: Sequence[Message]) -> list[Sent]:
        fifo = queue.fifo
        delay_seconds = 0 if fifo else queue.delay_seconds
        made = [entries.entry_of(one, delay_seconds=delay_seconds) for one in messages]
        # A delay of 0 that a client names is 0, whatever the queue's is; on FIFO queues it means the queue's [M6].
        line_queue = queue._replace(delay_seconds=0) if delay_seconds else queue
        numbers = self._line(connection, line_queue).send(made)
        message_id = queue.message_ids()
        return [Sent(message_id(row), sequence_number(row) if fifo else None) for row in numbers]

    # ------------------------------------------------------------------ receive

    def receive(self, address: Address, *, count: int, visibility_seconds: int | None, attempt: str | None) -> Received:
        def work(connection: Connection) -> Received:
            queue = self._row(connection, address).queue
            _check_attempt(attempt, fifo=queue.fifo)
            seconds = queue.visibility_seconds if visibility_seconds is None else visibility_seconds
            line = self._line(connection, queue)
            found: list[Delivered] = []
            for _ in range(_LOOKS):
                found = self._receiving.take(connection, queue, count, seconds, attempt)
                if found or not line.is_ready():
                    break  # else the expired and the dead are gone now: there may be more behind them
            if queue.dead_letter_queue is not None and len(found) < count:
                self.touched.add(queue.dead_letter_queue)  # some may have gone there
            if found:
                return Received(queue, found, None)
            later = self._clock.now() + _AGAIN_SECONDS
            return Received(queue, found, later if line.is_ready() else line.due_at())

        check_receive(count, visibility_seconds)
        return self._database.write(work)

    def undo_receive(self, address: Address, received: Received) -> None:
        self.touched.add(address.full)
        self._database.write(
            lambda connection: receiving.undo(connection, received.queue, received.messages, self._clock.now())
        )

    # ------------------------------------------------------------------ delete and hide

    def delete(self, address: Address, handles: Sequence[str], ids: Sequence[str] | None = None) -> list[Fault | None]:
        """`ids`: those of a batch's entries. Raises BrokerRefused for what fails the whole batch [B1]."""

        def work(connection: Connection) -> list[Fault | None]:
            queue = self._row(connection, address).queue
            if ids is not None:
                entries.checked_entry_ids(ids)
            deliveries = [_delivery(text, queue) for text in handles]
            refused = self._line(connection, queue).delete([each for each in deliveries if each is not None])
            if not refused and None not in deliveries:
                return [None] * len(handles)
            return [_delete_fault(text, delivery, refused) for text, delivery in zip(handles, deliveries, strict=True)]

        if is_fifo(address.name):
            self.touched.add(address.full)  # it lets the next of the group go
        return self._database.write(work)

    def change_visibility(
        self, address: Address, changes: Sequence[tuple[str, int | None]], ids: Sequence[str] | None = None
    ) -> list[Fault | None]:
        """`ids`: as for `delete`."""

        def work(connection: Connection) -> list[Fault | None]:
            queue = self._row(connection, address).queue
            if ids is not None:
                entries.checked_entry_ids(ids)
            line = self._line(connection, queue)
            return [_change(line, queue, text, seconds) for text, seconds in changes]

        self.touched.add(address.full)
        return self._database.write(work)


def sequence_number(row: int) -> str:
    """A duplicate has the first one's, because it has its row [F2]."""
    return str(_SEQUENCE_BASE + row * _SEQUENCE_STEP)


def check_receive(count: int, visibility_seconds: int | None) -> None:
    if not 1 <= count <= quotas.RECEIVE_MAX:  # R1
        refuse_value(count, "MaxNumberOfMessages", "Must be between 1 and 10, if provided.")
    if visibility_seconds is not None and (fault := checks.visibility_fault(visibility_seconds)):
        refuse(fault.text)


def check_wait(seconds: int) -> None:
    if not 0 <= seconds <= quotas.WAIT_TIME_SECONDS_MAX:  # R2
        refuse_value(seconds, "WaitTimeSeconds", "Must be >= 0 and <= 20, if provided.")


# ------------------------------------------------------------------ checks


def _check_together(messages: Sequence[Message], *, fifo: bool, content: bool) -> None:
    for message in messages if fifo else ():
        fault = entries.needed_fault(message, fifo=fifo, content=content)
        if fault is not None:
            refuse(fault.text)  # M7: InvalidParameterValue in a batch, whatever it is alone
    total = sum(map(entries.size_of, messages))
    if total > quotas.BODY_BYTES_MAX:  # L3
        text = f"Batch requests cannot be longer than {quotas.BODY_BYTES_MAX} bytes. You have sent {total} bytes."
        refuse(text, "BatchRequestTooLong")


def _check_attempt(attempt: str | None, *, fifo: bool) -> None:
    if attempt is None:
        return
    if not fifo:
        why = "The request include parameter that is not valid for this queue type."
        refuse_value(attempt, "ReceiveRequestAttemptId", why)
    if fault := checks.token_fault(attempt, "ReceiveRequestAttemptId"):  # L16
        refuse(fault.text)


def _delivery(text: str, queue: Queue) -> Delivery | None:
    """Clients send anything, also numbers that no column holds."""
    found = checks.parse(text, queue.id) if len(text) <= _HANDLE_CHARS_MAX else None
    return found if found is not None and 0 <= found[1] < _ROW_MAX and 0 <= found[2] < _ROW_MAX else None


def _delete_fault(text: str, delivery: Delivery | None, refused: Sequence[Delivery]) -> Fault | None:
    if delivery is None:
        return checks.not_a_handle(text)
    return checks.handle_expired(text) if delivery in refused else None


def _change(line: Line, queue: Queue, text: str, seconds: int | None) -> Fault | None:
    if seconds is None:
        return Fault("MissingParameter", "The request must contain the parameter VisibilityTimeout.")
    fault: Any = checks.visibility_fault(seconds)
    if fault is None:
        delivery = _delivery(text, queue)
        if delivery is None:
            return checks.not_a_handle(text)
        fault, _ = line.change(delivery, seconds)
    return fault  # type: ignore[no-any-return]
