"""Time, handed in.

Every module that needs the time is given a `Clock`; this is the only file that asks the system.
Tests hand in a `ManualClock` and turn it. Wall time (`now`) is what machines share; monotonic time
is what deadlines of this process are measured with, because wall clocks jump.
"""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime
from typing import Protocol

_YEAR_9999 = 253_370_764_800  # behind it dates end


class Clock(Protocol):
    """`now()`: unix seconds. `monotonic()`: seconds that never go back, of this process only."""

    def now(self) -> float: ...
    def monotonic(self) -> float: ...
    def wait(self, condition: threading.Condition, seconds: float) -> None:
        """Wait on `condition`, which the caller holds, for at most `seconds` of this clock."""
        ...


class SystemClock:
    """The machine's time."""

    __slots__ = ()

    now = staticmethod(time.time)
    monotonic = staticmethod(time.monotonic)

    def wait(self, condition: threading.Condition, seconds: float) -> None:
        condition.wait(seconds)


class ManualClock:
    """Time that moves only when told to. For tests; safe between threads."""

    def __init__(self, start: float = 1_767_225_600.0) -> None:  # 2026-01-01T00:00:00Z
        self._now = start
        self._monotonic = 1_000.0
        self._lock = threading.Lock()

    def now(self) -> float:
        return self._now

    def monotonic(self) -> float:
        return self._monotonic

    def wait(self, condition: threading.Condition, seconds: float) -> None:
        """Nobody waits under a manual clock: the time of the wait passes at once."""
        self.advance(seconds=max(0.0, seconds))

    def advance(self, *, seconds: float = 0, minutes: float = 0, hours: float = 0, days: float = 0) -> None:
        """Move both clocks forward. Raises ValueError for a step back: use `jump` for that."""
        step = seconds + 60 * minutes + 3600 * hours + 86_400 * days
        if step < 0:
            raise ValueError(f"advance() moves forward, got {step} seconds; a wall clock set back is jump()")
        with self._lock:
            self._now += step
            self._monotonic += step

    def jump(self, seconds: float) -> None:
        """Set the wall clock forward or back, as an administrator or NTP does; monotonic time stays."""
        with self._lock:
            self._now += seconds


class TurnableClock:
    """The machine's time and what it was turned forward by: it goes on by itself. For servers under test."""

    def __init__(self) -> None:
        self._ahead = 0.0
        self._lock = threading.Lock()

    def now(self) -> float:
        return time.time() + self._ahead

    def monotonic(self) -> float:
        return time.monotonic() + self._ahead

    def wait(self, condition: threading.Condition, seconds: float) -> None:
        condition.wait(seconds)

    def advance(self, seconds: float) -> None:
        """Raises ValueError for a step back, and beyond the year 9998."""
        if not seconds >= 0:
            raise ValueError(f"a clock is turned forward, got {seconds} seconds")
        with self._lock:
            if self.now() + seconds >= _YEAR_9999:
                raise ValueError(f"a clock is turned to the year 9998 at most, got {seconds} seconds")
            self._ahead += seconds


def to_datetime(unix_seconds: float) -> datetime:
    """Aware, UTC."""
    return datetime.fromtimestamp(unix_seconds, UTC)
