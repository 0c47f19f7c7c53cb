"""A worker in a thread of the test's process, and waiting for what it does. Time is the system's."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fnqueue import FnQueue
from fnqueue.worker.worker import Worker


def queue_in(folder: Path, **settings: Any) -> FnQueue:
    return FnQueue(url=f"sqlite:///{folder}/queue.db", durability="relaxed", **settings)


@contextmanager
def working(fn: FnQueue, **options: Any) -> Iterator[Worker]:
    """The worker is told to stop at the end, if the test has not, and must: within 10 s."""
    worker = Worker(fn.runtime(), **options)
    codes: list[int] = []
    thread = threading.Thread(target=lambda: codes.append(worker.run()))
    thread.start()
    try:
        yield worker
    finally:
        if not worker._asked.count:  # a second time would give back what runs
            worker.stop()
        thread.join(10)
        assert not thread.is_alive(), "the worker did not stop"


def burst(fn: FnQueue, **options: Any) -> int:
    """Run all that is there, and return the exit code."""
    codes: list[int] = []
    thread = threading.Thread(target=lambda: codes.append(Worker(fn.runtime(), burst=True, **options).run()))
    thread.start()
    thread.join(30)
    assert not thread.is_alive(), "the worker did not end"
    return codes[0]


def eventually(done: Callable[[], Any], seconds: float = 10) -> Any:
    """What `done` returns once it is true."""
    until = time.monotonic() + seconds
    while True:
        found = done()
        if found:
            return found
        assert time.monotonic() < until, f"not within {seconds} s"
        time.sleep(0.005)
