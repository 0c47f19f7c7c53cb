"""A worker in the test's own process."""

from __future__ import annotations

import threading
from typing import Any

from fnqueue.runtime import Runtime
from fnqueue.worker.worker import Worker


def run_all(runtime: Runtime, *, concurrency: int = 2, **options: Any) -> int:
    """Run all that the queue holds, in a thread, because a worker takes the main thread's signals. Its exit code."""
    codes: list[int] = []
    worker = Worker(runtime, burst=True, concurrency=concurrency, **options)
    thread = threading.Thread(target=lambda: codes.append(worker.run()))
    thread.start()
    thread.join(20)
    assert not thread.is_alive(), "the worker did not come to an end"
    return codes[0]
