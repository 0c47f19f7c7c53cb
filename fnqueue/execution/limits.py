"""Soft time limits of sync tasks: one thread that raises inside another when its time is over.

Started with the first task that has such a limit. Only bytecode can be interrupted: a task that hangs
in C code gets the exception when it comes back; a hard limit needs a process pool.
"""

from __future__ import annotations

import ctypes
import heapq
import itertools
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from fnqueue.clock import Clock
from fnqueue.errors import SoftTimeLimitExceeded


class SoftLimits:
    """Safe between threads. Times on the clock's monotonic scale."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        # Tasks' threads take the bare lock: the exception may come at any moment, and in a Condition's own Python
        # code it would come between taking the lock and being able to give it back.
        self._lock = threading.Lock()
        self._condition = threading.Condition(self._lock)
        self._heap: list[tuple[float, int]] = []
        self._watched: dict[int, int] = {}  # ticket -> thread
        self._tickets = itertools.count()
        self._thread: threading.Thread | None = None

    @contextmanager
    def within(self, seconds: float | None) -> Iterator[None]:
        """Raise SoftTimeLimitExceeded in this thread, inside the block, once `seconds` are over. None: no limit."""
        if seconds is None:
            yield
            return
        ident, ticket = threading.get_ident(), self._watch(seconds)
        try:
            yield
        finally:
            with self._lock:
                if self._watched.pop(ticket, None) is None:
                    # It was raised, but may not have arrived yet: what is left of it must not hit the next task.
                    _raise_in(ident, None)

    def _watch(self, seconds: float) -> int:
        with self._condition:
            ticket = next(self._tickets)
            self._watched[ticket] = threading.get_ident()
            heapq.heappush(self._heap, (self._clock.monotonic() + seconds, ticket))
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="fnqueue-limits", daemon=True)
                self._thread.start()
            self._condition.notify()
        return ticket

    def _run(self) -> None:
        with self._condition:
            while self._heap:
                due, ticket = self._heap[0]
                left = due - self._clock.monotonic()
                if ticket in self._watched and left > 0:
                    self._clock.wait(self._condition, left)
                    continue
                heapq.heappop(self._heap)
                thread = self._watched.pop(ticket, None)
                if thread is not None:
                    _raise_in(thread, SoftTimeLimitExceeded)
            self._thread = None


def _raise_in(thread: int, error: type[BaseException] | None) -> None:
    ctypes.pythonapi.PyThreadState_SetAsyncExc(
        ctypes.c_ulong(thread), ctypes.py_object(error) if error is not None else None
    )
