"""Counts the messages that a process hides until their retry is due. Knows times only."""

from __future__ import annotations

import heapq

from fnqueue import quotas
from fnqueue.clock import Clock


class Hidden:
    """How many messages this process hides just now. Bounded, so that retries cannot fill the in-flight quota."""

    def __init__(self, clock: Clock) -> None:
        self._clock, self._due = clock, [0.0][:0]

    def full(self) -> bool:
        now = self._clock.monotonic()
        while self._due and self._due[0] <= now:
            heapq.heappop(self._due)
        return len(self._due) >= quotas.HIDDEN_MESSAGES_MAX

    def add(self, seconds: float) -> None:
        heapq.heappush(self._due, self._clock.monotonic() + seconds)
