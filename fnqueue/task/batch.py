"""The calls of a `with fn.batch():` block, until it ends.

Threads and asyncio tasks that were started inside the block take it with them and may outlive it: what they defer
once it is closed is not taken, and must be sent.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any, Generic, TypeVar

from fnqueue.task.handle import Handle

T = TypeVar("T")


class Batch(Generic[T]):
    """`handles` in the order of the calls, filled as they come. Safe between threads. T: a call not sent yet."""

    def __init__(self) -> None:
        self.handles: list[Handle[Any]] = []
        self._calls: list[T] | None = []
        self._lock = threading.Lock()

    def add(self, calls: Sequence[T], handles: Sequence[Handle[Any]]) -> bool:
        """False: it is closed, and took nothing."""
        with self._lock:
            if self._calls is None:
                return False
            self._calls += calls
            self.handles += handles
            return True

    def close(self) -> list[T]:
        """What it holds: the caller's, to send or to drop."""
        with self._lock:
            calls, self._calls = self._calls or [], None
            return calls
