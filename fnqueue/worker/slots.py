"""How much a worker may hold: receive for the pool that is there, not for hope.

A message that waits inside a worker is hidden from the others, so the worker holds no more than its pool can
start soon. How many that is follows from how long tasks take: with tasks of a second it is the number of
threads, with tasks of a millisecond enough to keep a batch coming. A coroutine task takes a thread only for its
opening: then it moves to the loop, which has room for many.
Knows counts only.
"""

from __future__ import annotations

import threading

AHEAD_SECONDS = 0.2  # how much work may wait inside the worker
OPENING_SECONDS = 0.001  # what a coroutine task costs its thread, about


class Slots:
    """Safe between threads. `most` bounds the window: a multiple of what one receive gives. `loop_most`: coroutines."""

    def __init__(self, concurrency: int, *, most: int, loop_most: int = 0) -> None:
        self._concurrency, self._most, self._loop_most = concurrency, max(most, concurrency), loop_most
        self._lock = threading.Lock()
        self._condition = threading.Condition(self._lock)
        self._held = 0  # received and not yet finished, without those on the loop
        self._on_loop = 0
        self._waiting = 0  # of the held, not yet started
        self._seconds: float | None = None  # moving average of a run
        self._wanted = 0  # who waits for room
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
            self._wanted += 1
            try:
                self._condition.wait_for(lambda: self._closed or self._free() > 0, seconds)
            finally:
                self._wanted -= 1
            return 0 if self._closed else self._free()

    def _free(self) -> int:
        window = self.window
        free = window - self._held
        if self._on_loop:
            # The next ones may be coroutines, too: no more of them wait for room on the loop than there are threads.
            free = min(free, self._loop_most + self._concurrency - self._on_loop - self._held)
        # A receive costs a trip: while work is waiting, let the room grow to half a window first.
        return free if free > 0 and (self._waiting == 0 or 2 * free >= window) else 0

    def received(self, count: int) -> None:
        with self._lock:
            self._held += count
            self._waiting += count

    def started(self) -> None:
        with self._lock:
            self._waiting -= 1

    def moved_to_loop(self) -> None:
        """A coroutine task is open and authorised: its thread is free again."""
        with self._lock:
            self._on_loop += 1
            self._leave(OPENING_SECONDS)

    def left_loop(self) -> None:
        with self._lock:
            self._on_loop -= 1
            if self._free() > 0:
                self._condition.notify()

    def finished(self, seconds: float | None) -> None:
        """One run in a thread is over after `seconds` (None: it did not run)."""
        with self._lock:
            self._leave(seconds)

    def _leave(self, seconds: float | None) -> None:
        self._held -= 1
        if seconds is not None:
            known = self._seconds
            self._seconds = seconds if known is None else known + (seconds - known) / 8
        if self._wanted and self._free() > 0:
            self._condition.notify()

    @property
    def held(self) -> int:
        """All that is inside."""
        return self._held + self._on_loop

    def close(self) -> None:
        with self._lock:
            self._closed = True
            self._condition.notify_all()
