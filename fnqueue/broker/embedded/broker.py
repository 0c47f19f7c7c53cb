"""The embedded engine: Amazon SQS's semantics on one SQLite file, its unpleasant ones included.

Each call is one transaction, or joins the one that its caller has open on the same Database: so a worker can
settle and receive at the price of one fsync. A poll that finds nothing only reads, and never takes the write
lock. Who waits is woken by the database's bell, or when the next hidden message is due.
Knows nothing of envelopes, tasks or stores.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from fnqueue import quotas
from fnqueue.broker.base import Entry, Failure, Message, QueueAttributes, Receipt, check_receive
from fnqueue.broker.embedded import checks, queues, redrive, schema
from fnqueue.broker.embedded.checks import Fault
from fnqueue.broker.embedded.fifo import FifoLine
from fnqueue.broker.embedded.line import Delivered, Line, attributes_of, body_of, count_of
from fnqueue.broker.embedded.queues import Queue, Settings
from fnqueue.broker.embedded.standard import StandardLine
from fnqueue.broker.names import is_fifo
from fnqueue.clock import Clock, SystemClock
from fnqueue.database import Connection, Database
from fnqueue.errors import BrokerError

_TRIP = 500
_SHORTEST_WAIT_SECONDS = 0.001


class EmbeddedBroker:
    """A `Broker`, and a `WaitsForAny`, on `database`, which its maker closes. Queues come into being at first use.

    `alone` False: all that is kept of a task is in this file too, so a receive need not wait for the disk. A power
    failure that takes it back shows the messages again, whoever ran them is gone as well, and what was written
    later because of it is not there without it: the file's log is one sequence. A record in another file could
    outlive the receive, and would not be looked for at what seems a first delivery.
    """

    receive_max: int = quotas.EMBEDDED_RECEIVE_MAX
    batch_max: int = 500  # one transaction of about 3 ms
    creates_queues: bool = True
    max_body_bytes: int = quotas.BODY_BYTES_MAX

    def __init__(self, database: Database, *, clock: Clock | None = None, alone: bool = True) -> None:
        self._database, self._alone = database, alone
        self._clock = clock or SystemClock()
        database.migrate(schema.COMPONENT, schema.STEPS)

    def __repr__(self) -> str:
        return f"EmbeddedBroker({self._database!r})"

    # ------------------------------------------------------------------ send

    def send(self, queue: str, entries: Sequence[Entry]) -> list[Failure]:
        failures: list[Failure] = []
        for start in range(0, len(entries), self.batch_max):
            sent = self._send_trip(queue, entries[start : start + self.batch_max])
            failures += [_failure(start + at, fault) for at, fault in enumerate(sent.faults) if fault is not None]
        return failures

    def send_each(self, queue: str, entries: Sequence[Entry]) -> list[str | Failure]:
        """As `send`, but of each entry the message id or the failure. A FIFO duplicate has the first one's id (F2)."""
        outcomes: list[str | Failure] = []
        for start in range(0, len(entries), self.batch_max):
            sent = self._send_trip(queue, entries[start : start + self.batch_max])
            ids = iter(sent.message_ids())
            outcomes += [
                next(ids) if fault is None else _failure(start + at, fault) for at, fault in enumerate(sent.faults)
            ]
        return outcomes

    def _send_trip(self, queue: str, entries: Sequence[Entry]) -> _Sent:
        fifo = is_fifo(queue)
        content = fifo and any(entry.dedupe is None for entry in entries) and self._deduplicates_content(queue)
        faults = [checks.entry_fault(entry, fifo=fifo, content_deduplication=content) for entry in entries]
        if any(faults):
            entries = [entry for entry, fault in zip(entries, faults, strict=True) if fault is None]
            if not entries:
                return _Sent(faults, None, [])

        def work(connection: Connection) -> _Sent:
            found = queues.needed(connection, queue)
            return _Sent(faults, found, self._line(connection, found).send(entries))

        return self._database.write(work, bell=True)

    def _deduplicates_content(self, queue: str) -> bool:
        found = self._database.read(lambda connection: queues.find(connection, queue))
        return found is not None and bool(found.content_deduplication)

    # ------------------------------------------------------------------ receive

    def receive(
        self, queue: str, *, max_messages: int = 10, wait_seconds: float = 0, visibility_seconds: int | None = None
    ) -> list[Message]:
        check_receive(max_messages, wait_seconds, visibility_seconds)
        count = min(max_messages, self.receive_max)
        if self._database.is_writing():
            wait_seconds = 0  # whoever could send waits for our caller's transaction
        until = self._clock.monotonic() + wait_seconds
        while True:
            seen = self._database.bell_count()
            look = self._look(queue)
            if look.ready:
                if messages := self._take(queue, count, visibility_seconds):
                    return messages
                continue  # another took them, or they were expired or dead and are gone now
            left = until - self._clock.monotonic()
            if left <= 0:
                return []
            self._database.wait(seen, max(_SHORTEST_WAIT_SECONDS, min(left, look.due_seconds)))

    def bell_count(self) -> int:
        return self._database.bell_count()

    def wait_any(self, queues: Sequence[str], seconds: float, *, seen: int) -> None:
        now = self._clock.now()
        looks = self._database.read(lambda connection: [_look(connection, queue, now) for queue in queues])
        if not any(look.ready for look in looks if look is not None):
            due_seconds = min((look.due_seconds for look in looks if look is not None), default=_FAR_SECONDS)
            self._database.wait(seen, max(_SHORTEST_WAIT_SECONDS, min(seconds, due_seconds)))

    def wake(self) -> None:
        self._database.wake()

    def due_seconds(self, names: Sequence[str]) -> float | None:
        """Until one of these queues may give a message: 0 where one does now, None where nothing is hidden."""
        now = self._clock.now()

        def work(connection: Connection) -> list[float | None]:
            found = [queue for name in names if (queue := queues.find(connection, name)) is not None]
            lines = [_line(connection, queue, now) for queue in found]
            return [now if line.is_ready() else line.due_at() for line in lines]

        due = [at for at in self._database.read(work) if at is not None]
        return min(due) - now if due else None

    def _look(self, queue: str) -> _Look:
        now = self._clock.now()
        look = self._database.read(lambda connection: _look(connection, queue, now))
        if look is None:
            self._database.write(lambda connection: queues.needed(connection, queue))
            return _Look(False, _FAR_SECONDS)
        return look

    def _take(self, name: str, count: int, visibility_seconds: int | None) -> list[Message]:
        def work(connection: Connection) -> tuple[Queue, list[Delivered], float]:
            queue = queues.needed(connection, name)
            seconds = queue.visibility_seconds if visibility_seconds is None else visibility_seconds
            deadline = self._clock.monotonic() + seconds
            found = self._line(connection, queue).receive(count, seconds)
            if queue.max_receive_count is not None and len(found) < count:
                self._ring()  # some may have gone to the dead-letter queue, where somebody may wait
            return queue, found, deadline

        queue, found, deadline = self._database.write(work, durable=self._alone)
        return _messages(queue, found, deadline)

    # ------------------------------------------------------------------ delete and hide

    def delete(self, queue: str, receipts: Sequence[Receipt]) -> list[Failure]:
        def work(connection: Connection) -> list[Failure]:
            found = queues.needed(connection, queue)
            deliveries = [checks.parse(receipt.handle, found.id) for receipt in receipts]
            refused = self._line(connection, found).delete([each for each in deliveries if each is not None])
            if not refused and None not in deliveries:
                return []
            return [
                _failure(index, (checks.handle_expired if delivery in refused else checks.not_a_handle)(receipt.handle))
                for index, (receipt, delivery) in enumerate(zip(receipts, deliveries, strict=True))
                if delivery is None or delivery in refused
            ]

        # In a FIFO queue it lets the next of the group go.
        return self._database.write(work, bell=is_fifo(queue)) if receipts else []

    def change_visibility(
        self, queue: str, changes: Sequence[tuple[Receipt, int]]
    ) -> tuple[list[Receipt | None], list[Failure]]:
        def work(connection: Connection) -> tuple[list[Receipt | None], list[Failure]]:
            found = queues.needed(connection, queue)
            line, monotonic = self._line(connection, found), self._clock.monotonic()
            hidden: list[Receipt | None] = []
            failures = []
            for index, (receipt, seconds) in enumerate(changes):
                fault, sooner = _change(line, found.id, receipt, seconds)
                if fault is not None:
                    failures.append(_failure(index, fault))
                    hidden.append(None)
                    continue
                hidden.append(Receipt(queue, receipt.handle, receipt.receive_count, monotonic + seconds))
                if sooner:
                    self._ring()
            return hidden, failures

        return self._database.write(work) if changes else ([], [])

    # ------------------------------------------------------------------ queues

    def attributes(self, queue: str) -> QueueAttributes:
        """Looking makes no queue: raises QueueMissing."""
        return self._database.read(lambda connection: self._attributes(connection, queue))

    def _attributes(self, connection: Connection, name: str) -> QueueAttributes:
        queue = queues.existing(connection, name)
        now = self._clock.now()
        counts = _line(connection, queue, now).counts()
        return QueueAttributes(
            visible=counts.visible,
            in_flight=counts.in_flight,
            delayed=counts.delayed,
            visibility_seconds=queue.visibility_seconds,
            delay_seconds=queue.delay_seconds,
            retention_seconds=queue.retention_seconds,
            wait_time_seconds=queue.wait_time_seconds,
            max_body_bytes=self.max_body_bytes,
            fifo=queue.fifo,
            content_deduplication=bool(queue.content_deduplication),
            dead_letter_queue=queue.dead_letter_queue,
            max_receive_count=queue.max_receive_count,
            oldest_age_seconds=0.0 if counts.oldest_sent_at is None else max(0.0, now - counts.oldest_sent_at),
        )

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
        settings = Settings(
            visibility_seconds,
            delay_seconds,
            retention_seconds,
            wait_time_seconds,
            content_deduplication,
            dead_letter_queue,
            max_receive_count,
        )

        def work(connection: Connection) -> None:
            before = queues.find(connection, queue)
            after = queues.create(connection, queue, settings)
            if before is not None and after.fifo:
                FifoLine(connection, after, self._clock.now()).move_delay(after.delay_seconds - before.delay_seconds)

        self._database.write(work, bell=True)

    def queues(self) -> list[str]:
        return self._database.read(queues.names)

    def purge(self, queue: str) -> None:
        """In trips, so that others can write in between: a million messages take seconds."""
        while self._database.write(lambda connection: self._purge(connection, queue)):
            pass

    def _purge(self, connection: Connection, name: str) -> bool:
        return self._line(connection, queues.existing(connection, name)).purge(_TRIP)

    def drop(self, queue: str) -> None:
        def work(connection: Connection) -> bool:
            more = self._purge(connection, queue)
            if not more:
                queues.remove(connection, queues.existing(connection, queue))
            return more

        while self._database.write(work):
            pass

    def redrive(self, dead_letter_queue: str, destination: str, *, limit: int | None = None) -> int:
        """In trips too. Gives what is visible: what is in flight stays."""
        if is_fifo(dead_letter_queue) != is_fifo(destination):
            raise BrokerError(f"{dead_letter_queue!r} and {destination!r} are not of one type, FIFO or standard.")
        moved = 0
        while limit is None or moved < limit:
            trip = _TRIP if limit is None else min(_TRIP, limit - moved)
            now_moved = self._move_back(dead_letter_queue, destination, trip)
            moved += now_moved
            if now_moved < trip:
                break
        return moved

    def _move_back(self, source: str, destination: str, count: int) -> int:
        def work(connection: Connection) -> int:
            here, there = queues.existing(connection, source), queues.existing(connection, destination)
            return redrive.move_back(connection, here, there, self._clock.now(), count)

        return self._database.write(work, bell=True)

    def close(self) -> None:
        """Nothing is held here: the database is its maker's."""

    # ------------------------------------------------------------------ small things

    def _line(self, connection: Connection, queue: Queue) -> Line:
        return _line(connection, queue, self._clock.now())

    def _ring(self) -> None:
        """Have the bell rung when the transaction under way is committed."""
        self._database.write(lambda connection: None, bell=True)


_FAR_SECONDS = 3600.0


class _Sent(NamedTuple):
    """What became of one trip: a fault or None for each entry, and the rows of those without."""

    faults: list[Fault | None]
    queue: Queue | None
    rows: list[int]

    def message_ids(self) -> list[str]:
        return [] if self.queue is None else list(map(self.queue.message_ids(), self.rows))


class _Look(NamedTuple):
    """Whether a receive may find something, and if not, when the next hidden message is due."""

    ready: bool
    due_seconds: float


def _look(connection: Connection, name: str, now: float) -> _Look | None:
    """None: there is no such queue."""
    found = queues.find(connection, name)
    if found is None:
        return None
    line = _line(connection, found, now)
    if line.is_ready():
        return _Look(True, 0)
    due_at = line.due_at()
    return _Look(False, _FAR_SECONDS if due_at is None else due_at - now)


def _line(connection: Connection, queue: Queue, now: float) -> Line:
    return FifoLine(connection, queue, now) if queue.fifo else StandardLine(connection, queue, now)


def _change(line: Line, queue: int, receipt: Receipt, seconds: int) -> tuple[Fault | None, bool]:
    fault = checks.visibility_fault(seconds)
    if fault is not None:
        return fault, False
    delivery = checks.parse(receipt.handle, queue)
    if delivery is None:
        return checks.not_a_handle(receipt.handle), False
    return line.change(delivery, seconds)


def _failure(index: int, fault: Fault) -> Failure:
    return Failure(index, fault.code, fault.text, True)


def _messages(queue: Queue, found: Sequence[Delivered], deadline: float) -> list[Message]:
    name, number, message_id = queue.name, queue.id, queue.message_ids()
    return [
        Message(
            message_id=message_id(row),
            body=body if type(body) is str else body_of(body),
            receipt=Receipt(name, f"{number}.{row}.{receives}", count_of(receives), deadline),
            sent_at=sent_at,
            first_received_at=first_received_at,
            group=group,
            dedupe=dedupe,
            attributes=attributes_of(attributes) if attributes else {},
            dead_letter_source=source,
        )
        for row, receives, sent_at, first_received_at, group, dedupe, attributes, source, body in found
    ]
