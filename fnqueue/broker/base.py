"""The broker seam: SQS in its own verbs. An engine implements `Broker` and nothing else.

The contract is the conformance suite in `tests/conformance/broker.py`; this file gives the shapes.
Delivery is at least once. A received message is hidden until its visibility timeout is over; deleting
it under its receipt ends it. Batches report failures entry by entry and never raise for one entry.
Knows nothing of envelopes, tasks or stores: a body is text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

import msgspec

from fnqueue import quotas
from fnqueue.errors import OptionInvalid


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """A message to send. `id` is the envelope's id: sending an entry again is sending the same id again."""

    id: str
    body: str  # ASCII, 1 to the queue's limit in bytes
    delay_seconds: int = 0  # 0 to 900; must be 0 on FIFO queues
    group: str | None = None  # MessageGroupId: mandatory on FIFO queues, a fairness key on standard ones
    dedupe: str | None = None  # MessageDeduplicationId: FIFO queues only, and mandatory there
    attributes: Mapping[str, str] = {}  # at most 10; untrusted, never a security decision


class Receipt(msgspec.Struct, frozen=True):
    """The right to delete or hide one delivery of a message.

    `deadline` is on this process' monotonic clock: after it the message is no longer ours.
    """

    queue: str
    handle: str
    receive_count: int
    deadline: float


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """One delivery. Times are unix seconds. `receive_count` 1 is the first delivery."""

    message_id: str
    body: str
    receipt: Receipt
    sent_at: float
    first_received_at: float
    group: str | None = None
    dedupe: str | None = None
    attributes: Mapping[str, str] = {}
    dead_letter_source: str | None = None  # the queue it came from, in a dead-letter queue, where the engine knows


class Failure(msgspec.Struct, frozen=True):
    """One entry of a batch that was not done. `index` is its place in the batch.

    `sender_fault`: the entry is wrong and trying again cannot help.
    """

    index: int
    code: str  # SQS's own, as "InvalidMessageContents", "ReceiptHandleIsInvalid"
    text: str
    sender_fault: bool = True


class QueueAttributes(msgspec.Struct, frozen=True, kw_only=True):
    """Counts are approximate on SQS, exact on the embedded engine. Times in seconds."""

    visible: int = 0
    in_flight: int = 0
    delayed: int = 0
    visibility_seconds: int = 30
    delay_seconds: int = 0
    retention_seconds: int = quotas.RETENTION_SECONDS_DEFAULT
    wait_time_seconds: int = 0
    max_body_bytes: int = quotas.BODY_BYTES_MAX
    fifo: bool = False
    content_deduplication: bool = False
    dead_letter_queue: str | None = None
    max_receive_count: int | None = None
    oldest_age_seconds: float | None = None  # None where the engine cannot say (SQS: a CloudWatch metric)


class Broker(Protocol):
    """One engine. Queue names are physical (`names.py`), without the url's prefix. Safe between threads.

    Raises `QueueMissing` for a queue that is not there, `BrokerUnreachable` when nothing answers.
    """

    #: Most messages one `receive` may give: 10 on SQS, 64 on the embedded engine.
    receive_max: int
    #: Most entries that `send`, `delete` or `change_visibility` takes in one trip. Longer batches are split.
    batch_max: int
    #: True when queues come into being at first use (embedded; SQS endpoints on loopback).
    creates_queues: bool
    #: Bytes that a sealed body may have.
    max_body_bytes: int

    def send(self, queue: str, entries: Sequence[Entry]) -> list[Failure]:
        """Send any number of entries, in order, and return those that were not taken.

        Split into trips of at most ten entries and 1 MiB together. An unsure trip (time-out, 5xx) is
        tried again with the same ids and bytes; on a standard queue that may make a copy.
        Returning without a Failure for an entry means that it is durable.
        """
        ...

    def receive(
        self, queue: str, *, max_messages: int = 10, wait_seconds: float = 0, visibility_seconds: int | None = None
    ) -> list[Message]:
        """Up to `max_messages`, hidden for `visibility_seconds` (0 to 43,200; None: the queue's own).

        Waits up to `wait_seconds` (0 to 20) for the first one and returns as soon as there is any.
        A message whose receive count would exceed the redrive policy's is moved to the dead-letter queue instead.
        """
        ...

    def delete(self, queue: str, receipts: Sequence[Receipt]) -> list[Failure]:
        """End these deliveries. Twice is no failure; a receipt that a newer delivery replaced deletes nothing."""
        ...

    def change_visibility(
        self, queue: str, changes: Sequence[tuple[Receipt, int]]
    ) -> tuple[list[Receipt | None], list[Failure]]:
        """Hide each for its seconds from now: 0 to 43,200, where 0 shows it at once.

        Returns, in the batch's order, the receipts with their new deadlines (None where it failed) and the failures.
        The 12 hours count from the receive, not from this call.
        Source: SQS API Reference, ChangeMessageVisibility.
        """
        ...

    def attributes(self, queue: str) -> QueueAttributes: ...

    def create(
        self,
        queue: str,
        *,
        visibility_seconds: int = 30,
        delay_seconds: int = 0,
        retention_seconds: int = quotas.RETENTION_SECONDS_DEFAULT,
        wait_time_seconds: int = 0,
        content_deduplication: bool = False,
        dead_letter_queue: str | None = None,
        max_receive_count: int | None = None,
    ) -> None:
        """Make the queue, or set these attributes on the one that is there. FIFO by its name's `.fifo`.

        `dead_letter_queue` (of the same type) and `max_receive_count` (1 to 1000) go together.
        """
        ...

    def queues(self) -> list[str]:
        """Names of all queues under this prefix, sorted. An operator's call: never made at run time."""
        ...

    def purge(self, queue: str) -> None:
        """Delete everything in it: visible, delayed and in flight. Also clears its deduplication memory."""
        ...

    def drop(self, queue: str) -> None:
        """Delete the queue and everything in it."""
        ...

    def redrive(self, dead_letter_queue: str, destination: str, *, limit: int | None = None) -> int:
        """Move up to `limit` messages back, as new messages (new id, count and retention). Returns how many."""
        ...

    def close(self) -> None:
        """Let go of connections and threads. Twice is no error."""
        ...


@runtime_checkable
class WaitsForAny(Protocol):
    """What an engine in the same machine can do besides: wait for several queues at once, in one thread."""

    def bell_count(self) -> int:
        """Read before looking in vain; `wait_any` returns at once if the bell rang since."""
        ...

    def wait_any(self, queues: Sequence[str], seconds: float, *, seen: int) -> None:
        """Until one of the queues may have a message, or `seconds` passed."""
        ...

    def wake(self) -> None:
        """End all waits now: a worker stops."""
        ...


def check_receive(max_messages: int, wait_seconds: float, visibility_seconds: int | None) -> None:
    """The limits of `receive`, for every engine. Raises OptionInvalid."""
    if max_messages < 1:
        raise OptionInvalid(f"receive(max_messages={max_messages!r}): must be 1 or more")
    if not 0 <= wait_seconds <= quotas.WAIT_TIME_SECONDS_MAX:
        raise OptionInvalid(f"receive(wait_seconds={wait_seconds!r}): must be 0 to {quotas.WAIT_TIME_SECONDS_MAX}")
    if visibility_seconds is not None and not 0 <= visibility_seconds <= quotas.VISIBILITY_SECONDS_MAX:
        limit = quotas.VISIBILITY_SECONDS_MAX
        raise OptionInvalid(f"receive(visibility_seconds={visibility_seconds!r}): must be 0 to {limit:,}")
