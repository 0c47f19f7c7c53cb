"""One ReceiveMessage: fairness, the limits of what is in flight, and the same answer to the same attempt.

Rows in brackets are those of the specification sheet. Knows nothing of waiting.
"""

from __future__ import annotations

import msgspec

from fnqueue import quotas
from fnqueue.broker.embedded import queues
from fnqueue.broker.embedded.fifo import FifoLine
from fnqueue.broker.embedded.line import Delivered
from fnqueue.broker.embedded.queues import Queue
from fnqueue.broker.embedded.service import fair
from fnqueue.broker.embedded.service.address import refuse
from fnqueue.broker.embedded.standard import StandardLine
from fnqueue.clock import Clock
from fnqueue.database import Connection

_LOOK_SECONDS = 0.25  # how long it is known who is noisy
_ATTEMPT_SECONDS = 300  # L16
_KNOWN_MAX = 10_000

_FIND_ATTEMPT = "SELECT given FROM receive_attempt WHERE queue = ? AND attempt = ? AND expires_at > ?"
_KEEP_ATTEMPT = "INSERT OR REPLACE INTO receive_attempt VALUES (?, ?, ?, ?)"
_FORGET_ATTEMPTS = "DELETE FROM receive_attempt WHERE expires_at <= ?"
_STILL_GIVEN = """
    SELECT id, receives, sent_at, first_received_at, group_id, dedupe, attributes, source, body
    FROM fifo_message WHERE queue = ? AND id = ? AND receives = ? AND ready_at = ? AND ready_at > ?
"""
_HIDE_AGAIN = "UPDATE fifo_message SET ready_at = ? WHERE id = ?"
_UNDO = """
    UPDATE {table} SET receives = receives - 1, ready_at = min(sent_at, ?)
    WHERE queue = ? AND id = ? AND receives = ?
"""

Given = list[tuple[int, int, float]]
_decode = msgspec.json.Decoder(Given).decode


class Receiving:
    """What is remembered between receives is an estimate, and may be forgotten at any time."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._noisy: dict[int, tuple[float, dict[str, int]]] = {}  # queue -> (known until, who)
        self._in_flight: dict[int, int] = {}  # queue -> no more than that

    def take(
        self, connection: Connection, queue: Queue, count: int, visibility_seconds: int, attempt: str | None
    ) -> list[Delivered]:
        """Raises BrokerRefused."""
        now = self._clock.now()
        queue = with_grave_or_none(connection, queue)
        count = self._room(connection, queue, now, count)
        if not count:
            return []
        found = self._take(connection, queue, now, count, visibility_seconds, attempt)
        self._in_flight[queue.id] = self._in_flight.get(queue.id, 0) + len(found)
        return found

    def _take(
        self, connection: Connection, queue: Queue, now: float, count: int, seconds: int, attempt: str | None
    ) -> list[Delivered]:
        if not queue.fifo:
            line = StandardLine(connection, queue, now)
            if loud := self._loud(connection, queue, now):
                return line.receive_rows(fair.choose(connection, queue, now, count, loud), seconds)
            return line.receive(count, seconds)
        if attempt is None:
            return FifoLine(connection, queue, now).receive(count, seconds)
        again = _again(connection, queue, now, seconds, attempt)
        found = again or FifoLine(connection, queue, now).receive(count, seconds)
        if found:
            _keep(connection, queue, now, seconds, attempt, found)
        return found

    def _loud(self, connection: Connection, queue: Queue, now: float) -> dict[str, int]:
        until, loud = self._noisy.get(queue.id, (0.0, {}))
        if self._clock.monotonic() >= until:
            if len(self._noisy) > _KNOWN_MAX:
                self._noisy.clear()
            loud = fair.noisy(connection, queue, now)
            self._noisy[queue.id] = (self._clock.monotonic() + _LOOK_SECONDS, loud)
        return loud

    def _room(self, connection: Connection, queue: Queue, now: float, count: int) -> int:
        """How many may be given (L10, L11). Counted only when what was given since could be as many."""
        most = quotas.IN_FLIGHT_MAX
        if self._in_flight.get(queue.id, most) + count > most:
            if len(self._in_flight) > _KNOWN_MAX:
                self._in_flight.clear()
            table = "fifo_message" if queue.fifo else "message"
            counting = f"SELECT count(*) FROM {table} WHERE queue = ? AND ready_at > ? AND receives > 0"  # noqa: S608
            (self._in_flight[queue.id],) = connection.execute(counting, (queue.id, now)).fetchone()
        room = most - self._in_flight[queue.id]
        if room <= 0 and not queue.fifo:
            refuse("Too many messages in flight: the queue has 120,000 that are received and not deleted.", "OverLimit")
        return min(count, max(0, room))


def undo(connection: Connection, queue: Queue, found: list[Delivered], now: float) -> None:
    """As if they had not been given: the client had gone before it could hear of them."""
    statement = _UNDO.format(table="fifo_message" if queue.fifo else "message")
    connection.executemany(statement, [(now, queue.id, row, receives) for row, receives, *_ in found])


def with_grave_or_none(connection: Connection, queue: Queue) -> Queue:
    """A dead-letter queue that was deleted takes nothing: its messages stay, and go on being given."""
    if queue.dead_letter_queue is None or queues.find(connection, queue.dead_letter_queue) is not None:
        return queue
    return queue._replace(dead_letter_queue=None, max_receive_count=None)


# ------------------------------------------------------------------ attempts [R14]


def _again(connection: Connection, queue: Queue, now: float, seconds: int, attempt: str) -> list[Delivered]:
    """What that attempt was given, hidden anew. Nothing, if one of them was deleted, changed or is visible."""
    known = connection.execute(_FIND_ATTEMPT, (queue.id, attempt, now)).fetchone()
    if known is None:
        return []
    found: list[Delivered] = []
    for given in _decode(known[0]):
        one = connection.execute(_STILL_GIVEN, (queue.id, *given, now)).fetchone()
        if one is None:
            return []
        found.append(one)
    connection.executemany(_HIDE_AGAIN, [(now + seconds, row) for row, *_ in found])
    return found


def _keep(connection: Connection, queue: Queue, now: float, seconds: int, attempt: str, found: list[Delivered]) -> None:
    given = [(row, receives, now + seconds) for row, receives, *_ in found]
    connection.execute(_FORGET_ATTEMPTS, (now,))
    text = msgspec.json.encode(given).decode()
    connection.execute(_KEEP_ATTEMPT, (queue.id, attempt, text, now + _ATTEMPT_SECONDS))
