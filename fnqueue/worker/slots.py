"""How much a worker may hold: receive for the pool that is there, not for hope.

A message that waits inside a worker is hidden from the others, so the worker holds no more than its pool can
start soon. How many that is follows from how long tasks take: with tasks of a second it is the number of
threads, with tasks of a millisecond enough to keep a batch coming.
Knows counts only.
"""

from __future__ import annotations

import threading

AHEAD_SECONDS = 0.2  # how much work may wait inside the worker


class Slots:
    """Safe between threads. `most` bounds the window: a multiple of what one receive gives."""

    def __init__(self, concurrency: int, *, most: int) -> None:
        self._concurrency, self._most = concurrency, max(most, concurrency)
        self._condition = threading.Condition()
        self._held = 0  # received and not yet finished
        self._waiting = 0  # of those, not yet started
        self._seconds: float | None = None  # moving average of a run
        self._closed = False

    @property
    def window(self) -> int:
        """How many messages may be inside, running or waiting to run."""
        seconds = self._seconds
        if seconds is None:
            return self._concurrency
        ahead = self._concurrency * AHEAD_SECONDS / max(seconds, 1e-6)
        return int(min(self._most, self._concurrency + ahead))

    def wait_free(self, seconds: float) -> int:
        """Wait until it is worth receiving; how many may come. 0 when `seconds` are over or it was closed."""
        with self._condition:
            self._condition.wait_for(lambda: self._closed or self._free() > 0, seconds)
            return 0 if self._closed else self._free()

    def _free(self) -> int:
        window = self.window
        free = window - self._held
        # A receive costs a trip: while work is waiting, let the room grow to half a window first.
        return free if free > 0 and (self._waiting == 0 or 2 * free >= window) else 0

    def received(self, count: int) -> None:
        with self._condition:
            self._held += count
            self._waiting += count

    def started(self) -> None:
        self._waiting -= 1  # one bytecode-level race costs an early receive at worst

    def finished(self, seconds: float | None) -> None:
        """One run is over after `seconds` (None: it did not run)."""
        with self._condition:
            self._held -= 1
            if seconds is not None:
                known = self._seconds
                self._seconds = seconds if known is None else known + (seconds - known) / 8
            if self._free() > 0:
                self._condition.notify()

    @property
    def held(self) -> int:
        return self._held

    def close(self) -> None:
        with self._condition:
            self._closed = True
            self._condition.notify_all()
