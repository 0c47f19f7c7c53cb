"""Fair queues: messages of quiet tenants go before those of a noisy one (Q1 to Q6 of the specification sheet).

A tenant is a group of a standard queue. It is noisy while 30 of its messages or more are in flight, and they are more
than a tenth of all that are. Nothing is held back: when no quiet tenant waits, the noisy one is served.
SQS weighs processing time, too, and calls all of it approximate; this is not done here.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from fnqueue.broker.embedded.queues import Queue
from fnqueue.database import Connection

_NOISY_COUNT = 30
_NOISY_SHARE = 0.1
_HEAD = 200
_NO_GROUP_MAX = 5000
_TENANTS_MAX = 5000

_HAS_GROUPS = "SELECT 1 FROM message WHERE queue = ? AND group_id IS NOT NULL LIMIT 1"
_IN_FLIGHT = """
    SELECT group_id, count(*) FROM message WHERE queue = ? AND ready_at > ? AND receives > 0 GROUP BY group_id
"""
_FRONT = """
    SELECT id, ready_at, group_id FROM message WHERE queue = ? AND ready_at <= ?
    ORDER BY ready_at, sent_at, receives LIMIT ?
"""
# One step of the index for each tenant, however long its backlog is.
_TENANTS = """
    WITH RECURSIVE tenant (name, number) AS (
        SELECT min(group_id), 1 FROM message WHERE queue = :queue AND group_id IS NOT NULL
        UNION ALL
        SELECT (SELECT min(group_id) FROM message WHERE queue = :queue AND group_id > name), number + 1
        FROM tenant WHERE name IS NOT NULL AND number < :most
    )
    SELECT name FROM tenant WHERE name IS NOT NULL
"""
_OF_TENANT = """
    SELECT id, ready_at FROM message WHERE queue = ? AND group_id = ? AND ready_at <= ? ORDER BY ready_at LIMIT ?
"""


def noisy(connection: Connection, queue: Queue, now: float) -> dict[str, int]:
    """The noisy tenants and how many of their messages are in flight."""
    if connection.execute(_HAS_GROUPS, (queue.id,)).fetchone() is None:
        return {}
    counts = connection.execute(_IN_FLIGHT, (queue.id, now)).fetchall()
    total = sum(count for _, count in counts)
    return {
        group: count
        for group, count in counts
        if group is not None and count >= _NOISY_COUNT and count > total * _NOISY_SHARE
    }


def choose(connection: Connection, queue: Queue, now: float, count: int, loud: Mapping[str, int]) -> list[int]:
    """Up to `count` visible rows: the quiet ones first, then of the noisy the one with fewest in flight."""
    chosen = _quiet(connection, queue, now, count, loud)
    for group, _ in sorted(loud.items(), key=lambda each: each[1]):
        if len(chosen) == count:
            break
        chosen += _of_tenant(connection, queue, group, now, count - len(chosen))
    return [row for row, _ in chosen]


Found = list[tuple[int, float]]


def _quiet(connection: Connection, queue: Queue, now: float, count: int, loud: Collection[str]) -> Found:
    front = connection.execute(_FRONT, (queue.id, now, _HEAD)).fetchall()
    found = [(row, ready_at) for row, ready_at, group in front if group not in loud]
    if len(found) >= count or len(front) < _HEAD:
        return found[:count]
    # A long backlog of the noisy is in front: ask behind it.
    more = connection.execute(_FRONT, (queue.id, now, _NO_GROUP_MAX)).fetchall()
    found = [(row, ready_at) for row, ready_at, group in more if group is None]
    for (tenant,) in connection.execute(_TENANTS, {"queue": queue.id, "most": _TENANTS_MAX}).fetchall():
        if tenant not in loud:
            found += _of_tenant(connection, queue, tenant, now, count)
    return sorted(found, key=lambda each: each[1])[:count]


def _of_tenant(connection: Connection, queue: Queue, tenant: str, now: float, count: int) -> Found:
    return connection.execute(_OF_TENANT, (queue.id, tenant, now, count)).fetchall()
