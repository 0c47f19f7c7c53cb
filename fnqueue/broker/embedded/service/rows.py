"""The queues' rows with all that the service keeps of one, and the tables beside them.

Knows nothing of what attributes mean.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from fnqueue.broker.embedded import queues
from fnqueue.broker.embedded.queues import Queue, Settings
from fnqueue.broker.embedded.service.address import Address, of_full, refuse
from fnqueue.database import Connection

_SELECT = f"SELECT options, tags, created_at, changed_at, purged_at, {queues.COLUMNS} FROM queue"  # noqa: S608
_FIND = f"{_SELECT} WHERE name = ?"
_PAGE = "SELECT name FROM queue WHERE name > ? AND name >= ? AND name < ? ORDER BY name LIMIT ?"
_SET = "UPDATE queue SET options = ?, changed_at = ?, group_deduplication = ? WHERE id = ?"
_BY_TARGET = "SELECT name FROM queue WHERE dead_letter_queue = ? AND name > ? ORDER BY name LIMIT ?"

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(dict[str, str]).decode


class Row(NamedTuple):
    """A queue: the engine's part, and what was set and written beside it."""

    queue: Queue
    address: Address
    options: dict[str, str]
    tags: dict[str, str]
    created_at: float
    changed_at: float
    purged_at: float | None


def find(connection: Connection, address: Address) -> Row | None:
    row = connection.execute(_FIND, (address.full,)).fetchone()
    if row is None:
        return None
    options, tags, created_at, changed_at, purged_at, *queue = row
    return Row(Queue(*queue), address, _decode(options), _decode(tags), created_at, changed_at, purged_at)


def existing(connection: Connection, address: Address) -> Row:
    """Raises BrokerRefused."""
    row = find(connection, address)
    if row is None:
        refuse("The specified queue does not exist.", "QueueDoesNotExist")
    return row


def make(connection: Connection, address: Address, now: float, tags: Mapping[str, str]) -> Queue:
    queue = queues.put(connection, address.full, Settings())
    connection.execute("UPDATE queue SET created_at = ? WHERE id = ?", (now, queue.id))
    set_tags(connection, queue, tags)
    connection.execute("DELETE FROM queue_deleted WHERE name = ?", (address.full,))
    return queue


def set_options(
    connection: Connection, queue: Queue, options: Mapping[str, str], settings: Settings, now: float
) -> Queue:
    after = queues.put(connection, queue.name, settings)
    in_group = options.get("DeduplicationScope") == "messageGroup"
    connection.execute(_SET, (_encode(dict(options)).decode(), now, in_group, queue.id))
    return after


def set_tags(connection: Connection, queue: Queue, tags: Mapping[str, str]) -> None:
    connection.execute("UPDATE queue SET tags = ? WHERE id = ?", (_encode(dict(tags)).decode(), queue.id))


def set_purged(connection: Connection, queue: Queue, now: float) -> None:
    connection.execute("UPDATE queue SET purged_at = ? WHERE id = ?", (now, queue.id))


def remove(connection: Connection, row: Row, now: float) -> None:
    queues.remove(connection, row.queue)
    connection.execute("DELETE FROM receive_attempt WHERE queue = ?", (row.queue.id,))
    connection.execute("INSERT OR REPLACE INTO queue_deleted VALUES (?, ?)", (row.queue.name, now))
    connection.execute("DELETE FROM queue_deleted WHERE deleted_at < ?", (now - 3600,))


def deleted_at(connection: Connection, address: Address) -> float | None:
    row = connection.execute("SELECT deleted_at FROM queue_deleted WHERE name = ?", (address.full,)).fetchone()
    return None if row is None else row[0]


def page(connection: Connection, region: str, account: str, prefix: str, after: str, count: int) -> list[Address]:
    """In the order of names, those after `after`."""
    low = Address(region, account, prefix).full
    past = Address(region, account, after).full if after else ""
    found = connection.execute(_PAGE, (past, low, f"{low}\U0010ffff", count)).fetchall()
    return [address for (full,) in found if (address := of_full(full)) is not None]


def sources(connection: Connection, target: Address, after: str, count: int) -> list[Address]:
    """The queues whose dead letters go to `target`."""
    past = Address(target.region, target.account, after).full if after else ""
    found = connection.execute(_BY_TARGET, (target.full, past, count)).fetchall()
    return [address for (full,) in found if (address := of_full(full)) is not None]


def everywhere(connection: Connection) -> list[Address]:
    return [address for full in queues.names(connection) if (address := of_full(full)) is not None]
