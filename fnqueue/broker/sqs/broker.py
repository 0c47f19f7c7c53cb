"""SqsBroker: the broker seam over SQS's own batch calls.

A batch of any length goes as trips of ten. botocore tries a trip again whose answer is not sure (time-out,
reset, 5xx, throttling): the same bytes, so the same ids. Entries that SQS could not take for reasons of
its own are tried again here; the rest comes back as Failures. A refusal of a whole trip for one entry's
fault (SQS does that on FIFO queues) is undone by sending the entries one by one.
Knows nothing of envelopes or tasks: a body is text.
"""

from __future__ import annotations

import math
import random
import secrets
from collections.abc import Sequence

from msgspec.structs import replace

from fnqueue import quotas
from fnqueue.broker.base import Entry, Failure, Message, QueueAttributes, Receipt, check_receive
from fnqueue.broker.names import is_fifo
from fnqueue.broker.sqs import queues, redrive, shapes
from fnqueue.broker.sqs.faults import OF_AN_ENTRY
from fnqueue.broker.sqs.shapes import Trip
from fnqueue.broker.sqs.url import parse_sqs_url
from fnqueue.broker.sqs.wire import Answer, Wire
from fnqueue.clock import Clock
from fnqueue.errors import BrokerError, BrokerRefused

#: Pauses before an entry is sent again that SQS failed at, seconds; each is shortened at random.
PAUSES = (0.1, 0.4, 1.6)
#: How long the answer to a long poll may have been on its way, seconds, and as a part of the visibility.
ANSWER_SECONDS = 2.0
ANSWER_SHARE = 0.25
#: How long a queue's own visibility timeout is remembered, for receives that name none.
KNOWN_SECONDS = 60.0


class SqsBroker:
    """Amazon SQS, or a server that speaks like it. Opens nothing until it is used. Safe between threads and forks."""

    receive_max = quotas.RECEIVE_MAX
    batch_max = quotas.BATCH_ENTRIES_MAX

    def __init__(self, url: str, *, clock: Clock) -> None:
        """`url`: sqs://region/prefix?endpoint=... Raises OptionInvalid for one that is wrong."""
        self.url = parse_sqs_url(url)
        self.creates_queues = self.url.loopback
        self.max_body_bytes = self.url.max_body_bytes
        self._clock = clock
        self._wire = Wire(self.url, clock)
        self._visibility: dict[str, tuple[float, int]] = {}  # queue -> (known until, seconds)

    def __repr__(self) -> str:
        return f"<SqsBroker {self.url.shown}>"

    # ------------------------------------------------------------------ messages

    def send(self, queue: str, entries: Sequence[Entry]) -> list[Failure]:
        trips, failures = shapes.pack(entries, bytes_max=self.max_body_bytes)
        failures += self._trips("send_message_batch", queue, trips, makes=True)
        return sorted(failures, key=_index)

    def receive(
        self, queue: str, *, max_messages: int = 10, wait_seconds: float = 0, visibility_seconds: int | None = None
    ) -> list[Message]:
        check_receive(max_messages, wait_seconds, visibility_seconds)
        wait = math.ceil(wait_seconds)
        members: Answer = {} if visibility_seconds is None else {"VisibilityTimeout": visibility_seconds}
        if is_fifo(queue):
            # botocore may ask again when an answer was lost: SQS then gives the same messages once more,
            # which otherwise would hold up their groups until they are visible again.
            members["ReceiveRequestAttemptId"] = secrets.token_hex(16)
        asked = self._clock.monotonic()
        answer = self._wire.call(
            "receive_message",
            queue,
            makes=True,
            patient=wait > 0,
            MaxNumberOfMessages=min(max_messages, self.receive_max),
            WaitTimeSeconds=wait,
            MessageSystemAttributeNames=shapes.SYSTEM_ATTRIBUTES,
            MessageAttributeNames=["All"],
            **members,
        )
        found = answer.get("Messages")
        if not found:
            return []
        deadline = self._deadline(asked, self._hidden_for(queue, visibility_seconds))
        return [shapes.incoming(raw, queue=queue, deadline=deadline, prefix=self.url.prefix) for raw in found]

    def delete(self, queue: str, receipts: Sequence[Receipt]) -> list[Failure]:
        return self._trips("delete_message_batch", queue, shapes.deletions(receipts))

    def change_visibility(
        self, queue: str, changes: Sequence[tuple[Receipt, int]]
    ) -> tuple[list[Receipt | None], list[Failure]]:
        asked = self._clock.monotonic()
        failures = self._trips("change_message_visibility_batch", queue, shapes.visibility_changes(changes))
        failed = {failure.index for failure in failures}
        receipts = [
            None if i in failed else replace(receipt, deadline=asked + seconds)
            for i, (receipt, seconds) in enumerate(changes)
        ]
        return receipts, failures

    # ------------------------------------------------------------------ queues

    def attributes(self, queue: str) -> QueueAttributes:
        return queues.looked_at(self._wire, queue)

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
        attributes = {
            "VisibilityTimeout": str(visibility_seconds),
            "DelaySeconds": str(delay_seconds),
            "MessageRetentionPeriod": str(retention_seconds),
            "ReceiveMessageWaitTimeSeconds": str(wait_time_seconds),
            "RedrivePolicy": queues.redrive_policy(self._wire, dead_letter_queue, max_receive_count),
        }
        if is_fifo(queue):
            attributes["ContentBasedDeduplication"] = str(content_deduplication).lower()
        queues.created(self._wire, queue, attributes)
        self._visibility.pop(queue, None)

    def arn(self, queue: str) -> str:
        """What other services of AWS call it. Raises QueueMissing."""
        return queues.arn_of(self._wire, queue)

    def queues(self) -> list[str]:
        return queues.listed(self._wire)

    def purge(self, queue: str) -> None:
        self._wire.call("purge_queue", queue)

    def drop(self, queue: str) -> None:
        queues.removed(self._wire, queue)
        self._visibility.pop(queue, None)

    def redrive(self, dead_letter_queue: str, destination: str, *, limit: int | None = None) -> int:
        arns = [queues.arn_of(self._wire, queue) for queue in (dead_letter_queue, destination)]  # both must be there
        moved = redrive.by_task(self._wire, dead_letter_queue, *arns) if limit is None else None
        return redrive.by_hand(self, dead_letter_queue, destination, limit) if moved is None else moved

    def make_clients(self) -> None:
        """What first use would do, without a word to the server. Raises ExtraMissing where boto3 is not installed."""
        self._wire.make_clients()

    def close(self) -> None:
        self._wire.close()

    # ------------------------------------------------------------------ trips

    def _trips(self, operation: str, queue: str, trips: Sequence[Trip], *, makes: bool = False) -> list[Failure]:
        """Raises only while nothing was done: after the first trip an error is the Failure of the rest."""
        failures: list[Failure] = []
        for number, trip in enumerate(trips):
            try:
                failures += self._trip(operation, queue, trip, makes)
            except BrokerError as error:
                if number == 0:
                    raise
                rest = [entry for later in trips[number:] for entry in later]
                return failures + [_failure(entry, type(error).__name__, str(error)) for entry in rest]
        return failures

    def _trip(self, operation: str, queue: str, trip: Trip, makes: bool) -> list[Failure]:
        failures: list[Failure] = []
        for pause in (*PAUSES, None):
            try:
                answer = self._wire.call(operation, queue, makes=makes, Entries=trip)
            except BrokerRefused as error:
                if error.code not in OF_AN_ENTRY:
                    raise
                return failures + self._one_by_one(operation, queue, trip, makes, error)
            refused, unsure = _sort(trip, answer)
            failures += refused
            if not unsure or pause is None:
                return failures + unsure
            again = {failure.index for failure in unsure}
            trip = [entry for entry in trip if int(entry["Id"]) in again]
            self._wire.pause(pause * random.uniform(0.5, 1))  # noqa: S311 - spreads callers, guards nothing
        raise AssertionError("unreachable")

    def _one_by_one(self, operation: str, queue: str, trip: Trip, makes: bool, refusal: BrokerRefused) -> list[Failure]:
        if len(trip) == 1:
            return [_failure(trip[0], refusal.code, refusal.text, sender_fault=True)]
        return self._trips(operation, queue, [[entry] for entry in trip], makes=makes)

    # ------------------------------------------------------------------ deadlines

    def _deadline(self, asked: float, hidden_seconds: int) -> float:
        """When the messages of an answer that arrives now are no longer ours, at the earliest.

        SQS hid them at some moment between `asked` and now. `asked` would be the safe side, but after a
        poll of 20 s it would cost a third of a lease of 60. SQS answers a long poll at once when there
        is a message, so it is taken as hidden no earlier than the answer's way is long: 2 s, and at
        most a quarter of the lease. An answer that was longer on its way makes the deadline late by the
        difference; the store's fence is there for that.
        """
        on_its_way = min(ANSWER_SECONDS, hidden_seconds * ANSWER_SHARE)
        return max(asked, self._clock.monotonic() - on_its_way) + hidden_seconds

    def _hidden_for(self, queue: str, visibility_seconds: int | None) -> int:
        if visibility_seconds is not None:
            return visibility_seconds
        until, seconds = self._visibility.get(queue, (0.0, 0))
        now = self._clock.monotonic()
        if now >= until:
            seconds = self.attributes(queue).visibility_seconds
            self._visibility[queue] = (now + KNOWN_SECONDS, seconds)
        return seconds


def _sort(trip: Trip, answer: Answer) -> tuple[list[Failure], list[Failure]]:
    """(Refused for good, to be tried again). An entry that the answer does not name is of the second kind."""
    left = {entry["Id"]: entry for entry in trip}
    for done in answer.get("Successful", ()):
        left.pop(done["Id"], None)
    refused: list[Failure] = []
    unsure: list[Failure] = []
    for failed in answer.get("Failed", ()):
        entry = left.pop(failed["Id"])
        code = str(failed.get("Code", "")).removeprefix("AWS.SimpleQueueService.")
        failure = _failure(entry, code, str(failed.get("Message", "")), sender_fault=bool(failed.get("SenderFault")))
        (refused if failure.sender_fault else unsure).append(failure)
    return refused, unsure + [_failure(entry, "NoAnswer", "the answer does not name it") for entry in left.values()]


def _failure(entry: shapes.WireEntry, code: str, text: str, *, sender_fault: bool = False) -> Failure:
    return Failure(int(entry["Id"]), code, text, sender_fault)


def _index(failure: Failure) -> int:
    return failure.index
