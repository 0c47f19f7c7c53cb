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


class _Line:
    """Of one group: the one that runs, and those that wait for it."""

    __slots__ = ("head", "waiting")

    def __init__(self, head: Delivery) -> None:
        self.head = head
        self.waiting: deque[Delivery] = deque()


class Groups:
    """Safe between threads."""

    def __init__(self, start: Callable[[Delivery], None], give_back: Callable[[Sequence[Delivery]], None]) -> None:
        self._start, self._give_back = start, give_back
        self._lock = threading.Lock()
        self._lines: dict[Key, _Line] = {}

    def put(self, delivery: Delivery) -> None:
        """Start it now, or when the one before it in its group is deleted."""
        key = _key(delivery)
        if key is not None:
            with self._lock:
                line = self._lines.get(key)
                if line is not None:
                    line.waiting.append(delivery)
                    return
                self._lines[key] = _Line(delivery)
        self._start(delivery)

    def settled(self, delivery: Delivery, *, deleted: bool) -> None:
        """What follows in the group starts, or goes back: last first, so that the queue keeps their order.

        One that was given back says so here, too, perhaps when its group has come again and has a new line. That one
        is not its business: only the head's end moves a line on.
        """
        key = _key(delivery)
        if key is None:
            return
        follower, back = None, []
        with self._lock:
            line = self._lines.get(key)
            if line is None or line.head is not delivery:
                return
            if deleted and line.waiting:
                line.head = follower = line.waiting.popleft()
            else:
                del self._lines[key]
                back = list(line.waiting)
        if follower is not None:
            self._start(follower)
        if back:
            self._give_back(back[::-1])

    def empty(self) -> list[Delivery]:
        """All that wait, last first: for a worker that stops."""
        with self._lock:
            waiting = [delivery for line in self._lines.values() for delivery in reversed(line.waiting)]
            for line in self._lines.values():
                line.waiting.clear()
        return waiting


def _key(delivery: Delivery) -> Key | None:
    group = delivery.message.group
    return (delivery.queue, group) if group is not None and is_fifo(delivery.queue) else None
