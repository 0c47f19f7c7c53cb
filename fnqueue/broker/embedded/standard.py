"""Standard queues: every message for itself, in about the order of sending.

The line is one index on (queue, ready_at): a receive takes its beginning, so a backlog of a million costs what
one of ten does. A message given back at once (visibility 0) keeps its old place; one whose time ran out
comes back at the place of its deadline, behind what was sent before.
"""

from __future__ import annotations

from collections.abc import Sequence

from fnqueue import quotas
from fnqueue.broker.base import Entry
from fnqueue.broker.embedded import checks, redrive
from fnqueue.broker.embedded.checks import Delivery, Fault
from fnqueue.broker.embedded.line import Counts, Delivered, attributes_text, count_in
from fnqueue.broker.embedded.queues import Queue
from fnqueue.database import Connection

_SEND = "INSERT INTO message (queue, ready_at, sent_at, group_id, attributes, body) VALUES (?, ?, ?, ?, ?, ?)"
# Many at once, where they differ in nothing but their bodies: a third of the time for each.
_PLAIN = "INSERT INTO message (queue, ready_at, sent_at, body) VALUES "
_SEND_PLAIN = {n: _PLAIN + ", ".join(["(?, ?, ?, ?)"] * n) for n in (50, 10, 1)}
_READY = "SELECT 1 FROM message WHERE queue = ? AND ready_at <= ? LIMIT 1"
_DUE = "SELECT min(ready_at) FROM message WHERE queue = ? AND ready_at > ?"
_RECEIVE = """
    UPDATE message SET ready_at = ?, receives = receives + 1, received_at = ?,
                       first_received_at = coalesce(first_received_at, ?)
    WHERE id IN (SELECT id FROM message WHERE queue = ? AND ready_at <= ?
                 ORDER BY ready_at, sent_at, receives LIMIT ?)
    RETURNING id, receives, sent_at, first_received_at, group_id, NULL, attributes, source, body
"""
_RECEIVE_ROWS = """
    UPDATE message SET ready_at = ?, receives = receives + 1, received_at = ?,
                       first_received_at = coalesce(first_received_at, ?)
    WHERE id IN (SELECT value FROM json_each(?))
    RETURNING id, receives, sent_at, first_received_at, group_id, NULL, attributes, source, body
"""
_DELETE = "DELETE FROM message WHERE queue = ? AND id = ? AND receives = ?"
_FIND = "SELECT ready_at, sent_at, received_at FROM message WHERE queue = ? AND id = ? AND receives = ? AND sent_at > ?"
_HIDE = "UPDATE message SET ready_at = ? WHERE id = ?"
# What was sent before the retention began is near the front: a delay moved it 900 s back at most.
_SWEEP = """
    DELETE FROM message WHERE id IN (
        SELECT id FROM message
        WHERE queue = ? AND ready_at <= ? + 900 AND ready_at <= ? AND sent_at <= ? LIMIT 5000)
"""
_PURGE = "DELETE FROM message WHERE id IN (SELECT id FROM message WHERE queue = ? LIMIT ?)"


class StandardLine:
    def __init__(self, connection: Connection, queue: Queue, now: float) -> None:
        self._connection = connection
        self._queue = queue
        self._now = now
        self._oldest = now - queue.retention_seconds  # what was sent then, or before, is expired

    def send(self, entries: Sequence[Entry]) -> list[int]:
        if not any(entry.delay_seconds or entry.group is not None or entry.attributes for entry in entries):
            return self.send_plain([entry.body for entry in entries])
        execute, queue, now = self._connection.execute, self._queue.id, self._now
        default = self._queue.delay_seconds
        rows = []
        for entry in entries:
            ready_at = now + (entry.delay_seconds or default)
            values = (queue, ready_at, now, entry.group, attributes_text(entry.attributes), entry.body)
            rows.append(execute(_SEND, values).lastrowid or 0)
        return rows

    def send_plain(self, bodies: Sequence[str]) -> list[int]:
        """Of messages that are a body alone."""
        execute, shared = self._connection.execute, (self._queue.id, self._now + self._queue.delay_seconds, self._now)
        rows: list[int] = []
        while left := len(bodies) - len(rows):
            count = 50 if left >= 50 else 10 if left >= 10 else 1
            sent = bodies[len(rows) : len(rows) + count]
            values = [value for body in sent for value in (*shared, body)]
            last = execute(_SEND_PLAIN[count], values).lastrowid or 0
            rows += range(last - count + 1, last + 1)  # one statement's numbers have no gaps
        return rows

    def is_ready(self) -> bool:
        return self._connection.execute(_READY, (self._queue.id, self._now)).fetchone() is not None

    def due_at(self) -> float | None:
        (due,) = self._connection.execute(_DUE, (self._queue.id, self._now)).fetchone()
        return due  # type: ignore[no-any-return]

    def receive(self, count: int, visibility_seconds: float) -> list[Delivered]:
        now = self._now
        values = (now + visibility_seconds, now, now, self._queue.id, now, count)
        return self._kept(self._connection.execute(_RECEIVE, values).fetchall())

    def receive_rows(self, rows: Sequence[int], visibility_seconds: float) -> list[Delivered]:
        """As `receive`, of visible rows that somebody chose."""
        values = (self._now + visibility_seconds, self._now, self._now, f"[{','.join(map(str, rows))}]")
        return self._kept(self._connection.execute(_RECEIVE_ROWS, values).fetchall())

    def _kept(self, taken: list[Delivered]) -> list[Delivered]:
        taken.sort()  # by row: RETURNING has no order
        oldest, most = self._oldest, self._queue.max_receive_count
        kept = [one for one in taken if one[2] > oldest and (most is None or one[1] <= most)]
        if len(kept) < len(taken):
            self._remove([(row, sent_at) for row, _, sent_at, *_ in taken if row not in {one[0] for one in kept}])
        return kept

    def _remove(self, unwanted: list[tuple[int, float]]) -> None:
        """The expired vanish, and those received too often move to the dead-letter queue. (row, sent_at) of each."""
        dead = [row for row, sent_at in unwanted if sent_at > self._oldest]
        if dead:
            redrive.bury_standard(self._connection, self._queue, dead, self._now)
        if len(dead) < len(unwanted):
            expired = [(row,) for row, sent_at in unwanted if sent_at <= self._oldest]
            self._connection.executemany("DELETE FROM message WHERE id = ?", expired)
            self._connection.execute(_SWEEP, (self._queue.id, self._oldest, self._now, self._oldest))

    def delete(self, deliveries: Sequence[Delivery]) -> list[Delivery]:
        self._connection.executemany(_DELETE, deliveries)
        return []

    def change(self, delivery: Delivery, seconds: int) -> tuple[Fault | None, bool]:
        found = self._connection.execute(_FIND, (*delivery, self._oldest)).fetchone()
        if found is None:
            return checks.not_available(checks.handle(delivery)), False
        was_ready_at, sent_at, received_at = found
        if self._now + seconds > received_at + quotas.VISIBILITY_SECONDS_MAX:
            return checks.beyond_total(seconds), False
        ready_at = self._now + seconds if seconds else min(sent_at, self._now)
        self._connection.execute(_HIDE, (ready_at, delivery[1]))
        return None, ready_at < was_ready_at

    def counts(self) -> Counts:
        return count_in(self._connection, "message", self._queue.id, self._now, self._oldest)

    def purge(self, count: int) -> bool:
        return self._connection.execute(_PURGE, (self._queue.id, count)).rowcount == count
