"""The queues of a file and their attributes: made at first use, read in every transaction.

They are not cached: another process may change or drop them, and a look costs 3 us.
Knows nothing of messages.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from fnqueue import quotas
from fnqueue.broker.names import is_fifo
from fnqueue.database import Connection
from fnqueue.errors import OptionInvalid, QueueMissing

_NAME = re.compile(r"[A-Za-z0-9_-]{1,80}|[A-Za-z0-9_-]{1,75}\.fifo")
COLUMNS = (
    "id, name, visibility_seconds, delay_seconds, retention_seconds, wait_time_seconds, content_deduplication, "
    "dead_letter_queue, max_receive_count, prefix, group_deduplication"
)
_FIND = f"SELECT {COLUMNS} FROM queue WHERE name = ?"  # noqa: S608 - constants
# A message id is this prefix and the row's number: unique without a random number per message. It looks like a UUID.
_CREATE = """
    INSERT INTO queue (name, visibility_seconds, delay_seconds, retention_seconds, wait_time_seconds,
                       content_deduplication, dead_letter_queue, max_receive_count, prefix)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, coalesce((SELECT prefix FROM queue LIMIT 1), printf('%s-%s-4%s-8%s',
        lower(hex(randomblob(4))), lower(hex(randomblob(2))),
        substr(lower(hex(randomblob(2))), 2), substr(lower(hex(randomblob(2))), 2))))
    ON CONFLICT (name) DO UPDATE SET
        visibility_seconds = excluded.visibility_seconds, delay_seconds = excluded.delay_seconds,
        retention_seconds = excluded.retention_seconds, wait_time_seconds = excluded.wait_time_seconds,
        content_deduplication = excluded.content_deduplication,
        dead_letter_queue = excluded.dead_letter_queue, max_receive_count = excluded.max_receive_count
"""


class Settings(NamedTuple):
    """What `create` sets. Seconds; see `Broker.create`."""

    visibility_seconds: int = 30
    delay_seconds: int = 0
    retention_seconds: int = quotas.RETENTION_SECONDS_DEFAULT
    wait_time_seconds: int = 0
    content_deduplication: bool = False
    dead_letter_queue: str | None = None
    max_receive_count: int | None = None


class Queue(NamedTuple):
    id: int
    name: str
    visibility_seconds: int
    delay_seconds: int
    retention_seconds: int
    wait_time_seconds: int
    content_deduplication: int
    dead_letter_queue: str | None
    max_receive_count: int | None
    prefix: str
    group_deduplication: int  # a deduplication id is known in its group only

    @property
    def fifo(self) -> bool:
        return is_fifo(self.name)

    def message_ids(self) -> Callable[[int], str]:
        """From a row of this queue's kind to a message's id. It stays when the message moves to a dead-letter queue."""
        prefix, odd = self.prefix, self.fifo
        return lambda row: f"{prefix}-{row * 2 + odd:012x}"


def find(connection: Connection, name: str) -> Queue | None:
    row = connection.execute(_FIND, (name,)).fetchone()
    return None if row is None else Queue(*row)


def existing(connection: Connection, name: str) -> Queue:
    """Raises QueueMissing."""
    queue = find(connection, name)
    if queue is None:
        raise QueueMissing(name)
    return queue


def needed(connection: Connection, name: str) -> Queue:
    """The queue, made if it is not there. In a write.

    It keeps messages for as long as `fnqueue queues create` has them kept: with SQS's own default of 4 days they would
    be gone the moment a call expires by default, and no worker could say that it did.
    """
    return find(connection, name) or create(connection, name, Settings(retention_seconds=quotas.RETENTION_SECONDS_MAX))


def create(connection: Connection, name: str, settings: Settings) -> Queue:
    """Make it, or set these attributes on the one that is there. Raises OptionInvalid."""
    check_name(name)
    check_settings(name, settings)
    queue = put(connection, name, settings)
    if settings.dead_letter_queue is not None:
        needed(connection, settings.dead_letter_queue)
    return queue


def put(connection: Connection, name: str, settings: Settings) -> Queue:
    """As `create`, for one who checked both."""
    connection.execute(_CREATE, (name, *settings))
    return existing(connection, name)


def names(connection: Connection) -> list[str]:
    return [name for (name,) in connection.execute("SELECT name FROM queue ORDER BY name")]


def remove(connection: Connection, queue: Queue) -> None:
    connection.execute("DELETE FROM queue WHERE id = ?", (queue.id,))


# ------------------------------------------------------------------ checks


def check_name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise OptionInvalid(
            f"queue {name!r}: 1 to {quotas.QUEUE_NAME_MAX} letters, digits, hyphens and underscores; a FIFO queue's "
            "name ends in '.fifo', which counts."
        )
    return name


def check_settings(name: str, settings: Settings) -> None:
    """Raises OptionInvalid for what SQS would refuse."""
    for attribute, low, high in (
        ("visibility_seconds", 0, quotas.VISIBILITY_SECONDS_MAX),
        ("delay_seconds", 0, quotas.DELAY_SECONDS_MAX),
        ("retention_seconds", quotas.RETENTION_SECONDS_MIN, quotas.RETENTION_SECONDS_MAX),
        ("wait_time_seconds", 0, quotas.WAIT_TIME_SECONDS_MAX),
    ):
        value = getattr(settings, attribute)
        if not low <= value <= high:
            raise OptionInvalid(f"queue {name!r}: {attribute}={value!r} must be {low:,} to {high:,}.")
    if settings.content_deduplication and not is_fifo(name):
        raise OptionInvalid(f"queue {name!r}: content_deduplication is for FIFO queues, whose names end in '.fifo'.")
    _check_redrive(name, settings.dead_letter_queue, settings.max_receive_count)


def _check_redrive(name: str, dead_letter_queue: str | None, max_receive_count: int | None) -> None:
    if (dead_letter_queue is None) != (max_receive_count is None):
        raise OptionInvalid(f"queue {name!r}: dead_letter_queue and max_receive_count go together.")
    if dead_letter_queue is None or max_receive_count is None:
        return
    check_name(dead_letter_queue)
    if is_fifo(dead_letter_queue) != is_fifo(name):
        raise OptionInvalid(
            f"queue {name!r}: its dead-letter queue {dead_letter_queue!r} must be of the same type, FIFO or standard."
        )
    if not 1 <= max_receive_count <= quotas.RECEIVE_COUNT_MAX:
        raise OptionInvalid(
            f"queue {name!r}: max_receive_count={max_receive_count!r} must be 1 to {quotas.RECEIVE_COUNT_MAX:,}."
        )
