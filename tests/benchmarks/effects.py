"""What the benchmark's tasks do, the same in every contestant: count, or say how long they were on the way.

Each process that runs tasks keeps its count in a small file that it maps, so that the harness can look at any
moment and a task costs about a microsecond. Times are monotonic seconds, which all processes of a machine share.
Imported by contestants that have nothing else installed: standard library only.
"""

from __future__ import annotations

import mmap
import os
import struct
import threading
import time
from pathlib import Path
from typing import NamedTuple

ARGUMENTS = (12345, "someone@example.com", {"template": "welcome", "retries": 3})
_COUNT = struct.Struct("<Qdd")  # how many, when the first, when the last
_lock = threading.Lock()


class Count(NamedTuple):
    tasks: int
    first_at: float
    last_at: float


class _Counter:
    """This process' own file; after a fork there is a new one."""

    def __init__(self, folder: str) -> None:
        self.pid, self.tasks, self.first_at = os.getpid(), 0, 0.0
        with open(os.path.join(folder, f"count.{self.pid}"), "w+b") as file:
            file.truncate(_COUNT.size)
            self.page = mmap.mmap(file.fileno(), _COUNT.size)


_counter: _Counter | None = None


def noop() -> None:
    """Count one task."""
    global _counter
    now = time.monotonic()
    with _lock:
        counter = _counter
        if counter is None or counter.pid != os.getpid():
            counter = _counter = _Counter(folder())
        counter.tasks += 1
        counter.first_at = counter.first_at or now
        _COUNT.pack_into(counter.page, 0, counter.tasks, counter.first_at, now)


def arrived(sent_at: float) -> None:
    """Note how long a task was on the way. Small appends are whole, also from several processes."""
    seconds = time.monotonic() - sent_at
    file = os.open(os.path.join(folder(), "arrivals"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.write(file, b"%.9f\n" % seconds)
    finally:
        os.close(file)


def folder() -> str:
    return os.environ["BENCH_FOLDER"]


# ---------------------------------------------------------------- for the harness


def counted(where: Path) -> Count:
    found = [Count._make(_COUNT.unpack(page)) for page in _pages(where)]
    ran = [count for count in found if count.tasks]
    if not ran:
        return Count(0, 0.0, 0.0)
    return Count(sum(c.tasks for c in ran), min(c.first_at for c in ran), max(c.last_at for c in ran))


def arrivals(where: Path) -> list[float]:
    """Seconds on the way, in order of arrival."""
    try:
        return [float(line) for line in (where / "arrivals").read_text().split()]
    except FileNotFoundError:
        return []


def clear(where: Path) -> None:
    for path in [*where.glob("count.*"), *where.glob("arrivals")]:
        path.unlink()


def _pages(where: Path) -> list[bytes]:
    pages = [path.read_bytes() for path in where.glob("count.*")]
    return [page for page in pages if len(page) == _COUNT.size]
