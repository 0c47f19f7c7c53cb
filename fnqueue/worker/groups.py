"""FIFO inside a worker: one message of a group at a time, in order, and the rest back if one is not deleted.

Knows deliveries and queue names; starting and giving back are handed in.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence

from fnqueue.broker.names import is_fifo
from fnqueue.execution.delivery import Delivery

Key = tuple[str, str]


class Groups:
    """Safe between threads."""

    def __init__(self, start: Callable[[Delivery], None], give_back: Callable[[Sequence[Delivery]], None]) -> None:
        self._start, self._give_back = start, give_back
        self._lock = threading.Lock()
        self._waiting: dict[Key, deque[Delivery]] = {}

    def put(self, delivery: Delivery) -> None:
        """Start it now, or when the one before it in its group is deleted."""
        key = _key(delivery)
        if key is not None:
            with self._lock:
                line = self._waiting.get(key)
                if line is not None:
                    line.append(delivery)
                    return
                self._waiting[key] = deque()
        self._start(delivery)

    def settled(self, delivery: Delivery, *, deleted: bool) -> None:
        """What follows in the group starts, or goes back: last first, so that the queue keeps their order."""
        key = _key(delivery)
        if key is None:
            return
        with self._lock:
            line = self._waiting.get(key)
            follower = line.popleft() if line and deleted else None
            back = list(line) if line and not deleted else []
            if follower is None:
                self._waiting.pop(key, None)
        if follower is not None:
            self._start(follower)
        if back:
            self._give_back(back[::-1])

    def empty(self) -> list[Delivery]:
        """All that wait, last first: for a worker that stops."""
        with self._lock:
            waiting = [delivery for line in self._waiting.values() for delivery in reversed(line)]
            for line in self._waiting.values():
                line.clear()
        return waiting


def _key(delivery: Delivery) -> Key | None:
    group = delivery.message.group
    return (delivery.queue, group) if group is not None and is_fifo(delivery.queue) else None
