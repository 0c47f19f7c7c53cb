"""To the dead-letter queue at a receive, and back on request.

The way there keeps the message: its id, its receive count, on standard queues its time of sending. The way back
makes a new one. Source: rows D2 to D5 and T8 of the specification sheet.
"""

from __future__ import annotations

from collections.abc import Sequence

from fnqueue.broker.embedded import queues
from fnqueue.broker.embedded.queues import Queue
from fnqueue.database import Connection

_BURY_STANDARD = "UPDATE message SET queue = ?, ready_at = ?, receives = receives - 1, source = ? WHERE id = ?"
_BURY_FIFO = """
    UPDATE fifo_message SET queue = ?, head = ?, ready_at = ?, sent_at = ?, dedupe = ?, source = ? WHERE id = ?
"""
_FIRST = "SELECT min(id) FROM fifo_message WHERE queue = ? AND group_id = ?"
_SET_HEAD = "UPDATE fifo_message SET head = ? WHERE id = ?"
_BACK_STANDARD = """
    INSERT INTO message (queue, ready_at, sent_at, group_id, attributes, body)
    SELECT new.queue, new.now, new.now, group_id, attributes, body
    FROM (SELECT ? AS queue, ? AS now) new, message WHERE id = ?
"""
_BACK_FIFO = """
    INSERT INTO fifo_message (queue, group_id, head, ready_at, sent_at, dedupe, attributes, body)
    SELECT new.queue, group_id,
           NOT EXISTS (SELECT 1 FROM fifo_message x WHERE x.queue = new.queue AND x.group_id = m.group_id),
           new.now, new.now, dedupe, attributes, body
    FROM (SELECT ? AS queue, ? AS now) new, fifo_message m WHERE id = ?
"""
_MOVE_STANDARD = (
    "SELECT id FROM message WHERE queue = ? AND ready_at <= ? ORDER BY ready_at, sent_at, receives LIMIT ?",
    _BACK_STANDARD,
    "DELETE FROM message WHERE id = ?",
)
_MOVE_FIFO = (
    "SELECT id FROM fifo_message WHERE queue = ? AND ready_at <= ? ORDER BY group_id, id LIMIT ?",
    _BACK_FIFO,
    "DELETE FROM fifo_message WHERE id = ?",
)


def bury_standard(connection: Connection, queue: Queue, rows: Sequence[int], now: float) -> None:
    """Their receive that was one too many is undone: the count goes on from there in the dead-letter queue."""
    grave = _grave(connection, queue)
    connection.executemany(_BURY_STANDARD, [(grave.id, now, queue.name, row) for row in rows])


def bury_fifo(connection: Connection, queue: Queue, row: int, group: str, now: float) -> None:
    """Move a head. The next of its group becomes the head, and it takes its place in the other queue's group."""
    grave = _grave(connection, queue)
    (first,) = connection.execute(_FIRST, (grave.id, group)).fetchone()
    leads = first is None or row < first
    if leads and first is not None:
        connection.execute(_SET_HEAD, (0, first))
    connection.execute(_BURY_FIFO, (grave.id, leads, now, now, queue.message_ids()(row), queue.name, row))
    (following,) = connection.execute(_FIRST, (queue.id, group)).fetchone()
    if following is not None:
        connection.execute(_SET_HEAD, (1, following))


def _grave(connection: Connection, queue: Queue) -> Queue:
    assert queue.dead_letter_queue is not None  # goes with max_receive_count
    return queues.needed(connection, queue.dead_letter_queue)


def move_back(connection: Connection, source: Queue, destination: Queue, now: float, limit: int) -> int:
    """Up to `limit` visible messages in the order of their index, each as a new message. How many."""
    select, back, delete = _MOVE_FIFO if source.fifo else _MOVE_STANDARD
    found = connection.execute(select, (source.id, now, limit)).fetchall()
    connection.executemany(back, [(destination.id, now, row) for (row,) in found])
    connection.executemany(delete, found)
    return len(found)


def visible_with_source(connection: Connection, source: Queue, now: float, limit: int) -> list[tuple[int, str | None]]:
    """As `move_back` takes them, the rows and the queues they came from."""
    select, *_ = _MOVE_FIFO if source.fifo else _MOVE_STANDARD
    return connection.execute(select.replace("SELECT id", "SELECT id, source", 1), (source.id, now, limit)).fetchall()


def move_one_back(connection: Connection, source: Queue, destination: Queue, row: int, now: float) -> None:
    _, back, delete = _MOVE_FIFO if source.fifo else _MOVE_STANDARD
    connection.execute(back, (destination.id, now, row))
    connection.execute(delete, (row,))
