"""FIFO queues: groups in strict order, and deduplication.

The one thing to understand is the head, the first message of its group. Of each group a receive gives what
stands before its first hidden message: so a group whose head is in flight or delayed gives nothing, and a
locked message blocks what is behind it but not what is in front. (F8 to F14 of the specification sheet.)
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

from fnqueue import quotas
from fnqueue.broker.base import Entry
from fnqueue.broker.embedded import checks, redrive
from fnqueue.broker.embedded.checks import Delivery, Fault
from fnqueue.broker.embedded.line import Counts, Delivered, attributes_text, count_in
from fnqueue.broker.embedded.queues import Queue
from fnqueue.database import Connection

_FORGET = "DELETE FROM fifo_dedupe WHERE expires_at <= ?"
_DUPLICATE = "SELECT message FROM fifo_dedupe WHERE queue = ? AND dedupe = ?"
_REMEMBER = "INSERT INTO fifo_dedupe (queue, dedupe, message, expires_at) VALUES (?, ?, ?, ?)"
_SEND = """
    INSERT INTO fifo_message (queue, group_id, head, ready_at, sent_at, dedupe, attributes, body)
    VALUES (?, ?, NOT EXISTS (SELECT 1 FROM fifo_message WHERE queue = ? AND group_id = ?), ?, ?, ?, ?, ?)
"""
_READY = "SELECT 1 FROM fifo_message WHERE queue = ? AND head = 1 AND ready_at <= ? LIMIT 1"
_DUE = "SELECT min(ready_at) FROM fifo_message WHERE queue = ? AND head = 1 AND ready_at > ?"
_HEADS = "SELECT id, group_id FROM fifo_message WHERE queue = ? AND head = 1 AND ready_at <= ? ORDER BY id LIMIT ?"
_GROUP = """
    SELECT id, ready_at, sent_at, receives FROM fifo_message
    WHERE queue = ? AND group_id = ? AND id >= ? ORDER BY id LIMIT ?
"""
_RECEIVE = """
    UPDATE fifo_message SET ready_at = ?, receives = receives + 1, received_at = ?,
                            first_received_at = coalesce(first_received_at, ?)
    WHERE id IN (SELECT value FROM json_each(?))
    RETURNING id, receives, sent_at, first_received_at, group_id, dedupe, attributes, source, body
"""
_DELETE = "DELETE FROM fifo_message WHERE queue = ? AND id = ? AND receives = ? AND ready_at > ?"
_FIND = "SELECT ready_at, received_at FROM fifo_message WHERE queue = ? AND id = ? AND receives = ? AND sent_at > ?"
_HIDE = "UPDATE fifo_message SET ready_at = ? WHERE id = ?"
_PURGE = "DELETE FROM fifo_message WHERE id IN (SELECT id FROM fifo_message WHERE queue = ? LIMIT ?)"


class FifoLine:
    def __init__(self, connection: Connection, queue: Queue, now: float) -> None:
        self._connection = connection
        self._queue = queue
        self._now = now
        self._oldest = now - queue.retention_seconds  # what was sent then, or before, is expired

    # ------------------------------------------------------------------ send

    def send(self, entries: Sequence[Entry]) -> list[int]:
        self._connection.execute(_FORGET, (self._now,))
        return [self._send_once(entry) for entry in entries]

    def _send_once(self, entry: Entry) -> int:
        queue = self._queue.id
        dedupe = entry.dedupe or hashlib.sha256(entry.body.encode()).hexdigest()
        # F4. No group has a line break in it.
        known_as = f"{entry.group}\n{dedupe}" if self._queue.group_deduplication else dedupe
        known = self._connection.execute(_DUPLICATE, (queue, known_as)).fetchone()
        if known is not None:
            return int(known[0])
        row = self._connection.execute(_SEND, (
            queue, entry.group, queue, entry.group, self._now + self._queue.delay_seconds, self._now, dedupe,
            attributes_text(entry.attributes), entry.body,
        )).lastrowid or 0  # fmt: skip
        self._connection.execute(_REMEMBER, (queue, known_as, row, self._now + quotas.DEDUPLICATION_SECONDS))
        return row

    # ------------------------------------------------------------------ receive

    def is_ready(self) -> bool:
        return self._connection.execute(_READY, (self._queue.id, self._now)).fetchone() is not None

    def due_at(self) -> float | None:
        (due,) = self._connection.execute(_DUE, (self._queue.id, self._now)).fetchone()
        return due  # type: ignore[no-any-return]

    def receive(self, count: int, visibility_seconds: float) -> list[Delivered]:
        rows: list[int] = []
        heads = self._connection.execute(_HEADS, (self._queue.id, self._now, count)).fetchall()
        for head, group in heads:
            if len(rows) < count:
                rows.extend(self._front(group, head, count - len(rows)))
        if not rows:
            return []
        values = (self._now + visibility_seconds, self._now, self._now, f"[{','.join(map(str, rows))}]")
        taken: list[Delivered] = self._connection.execute(_RECEIVE, values).fetchall()
        places = {row: place for place, row in enumerate(rows)}
        taken.sort(key=lambda one: places[one[0]])
        return taken

    def _front(self, group: str, head: int, count: int) -> Iterator[int]:
        """The rows of a group that may be given now. The expired and the dead in front of them are removed."""
        for row, ready_at, sent_at, receives in self._connection.execute(
            _GROUP, (self._queue.id, group, head, count)
        ).fetchall():
            if ready_at > self._now:
                return
            if sent_at <= self._oldest:
                self._connection.execute("DELETE FROM fifo_message WHERE id = ?", (row,))
            elif self._queue.max_receive_count is not None and receives >= self._queue.max_receive_count:
                redrive.bury_fifo(self._connection, self._queue, row, group, self._now)
            else:
                yield row

    # ------------------------------------------------------------------ the rest

    def delete(self, deliveries: Sequence[Delivery]) -> list[Delivery]:
        return [delivery for delivery in deliveries if not self._delete_one(delivery)]

    def _delete_one(self, delivery: Delivery) -> bool:
        """False: it is there, under this receipt, but its time is over."""
        deleted = self._connection.execute(_DELETE, (*delivery, self._now)).rowcount
        return bool(deleted) or self._find(delivery) is None

    def _find(self, delivery: Delivery) -> tuple[float, float] | None:
        """When it is visible, and when it was received."""
        found: tuple[float, float] | None = self._connection.execute(_FIND, (*delivery, self._oldest)).fetchone()
        return found

    def change(self, delivery: Delivery, seconds: int) -> tuple[Fault | None, bool]:
        found = self._find(delivery)
        handle = checks.handle(delivery)
        if found is None:
            return checks.not_available(handle), False
        was_ready_at, received_at = found
        if was_ready_at <= self._now:
            return checks.handle_expired(handle), False
        if self._now + seconds > received_at + quotas.VISIBILITY_SECONDS_MAX:
            return checks.beyond_total(seconds), False
        self._connection.execute(_HIDE, (self._now + seconds, delivery[1]))
        return None, self._now + seconds < was_ready_at

    def counts(self) -> Counts:
        return count_in(self._connection, "fifo_message", self._queue.id, self._now, self._oldest)

    def purge(self, count: int) -> bool:
        """Also the memory of what was sent: the same deduplication id may come again at once (G1)."""
        self._connection.execute("DELETE FROM fifo_dedupe WHERE queue = ?", (self._queue.id,))
        return self._connection.execute(_PURGE, (self._queue.id, count)).rowcount == count

    def move_delay(self, by_seconds: float) -> None:
        """A changed delay holds for what is in the queue too (A7)."""
        self._connection.execute(
            "UPDATE fifo_message SET ready_at = ready_at + ? WHERE queue = ? AND receives = 0",
            (by_seconds, self._queue.id),
        )
