"""A fair way to one file's write lock for the processes of a machine.

SQLite's own waiting is unfair: who just committed finds the lock free again while the others sleep, so a
busy worker starves the web. Here a process first takes its turn, then the right to write, then gives
the turn to the next: whoever holds the turn is the only one waiting to write, and comes next.

The two locks are flocks on files beside the database: the system frees them when a process dies. They are
taken by short sleeps and not by a blocking call, because a blocking flock cannot be given up in time.
They make things fair, not safe: SQLite's own lock does that. So without flock they do nothing.
"""

from __future__ import annotations

import os
import time

from fnqueue.database import faults

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

# A commit takes 0.3 to 5 ms. Longer pauses cost a third of the throughput of two busy processes (measured).
_PAUSE_SECONDS = 0.000_15
_PATIENT_AFTER_SECONDS = 0.1
_PATIENT_PAUSE_SECONDS = 0.002


class Turnstile:
    """`enter` before the transaction begins, `leave` when it has ended. One thread of a process at a time."""

    def __init__(self, path: str | None) -> None:
        self._path = path if fcntl is not None else None
        self._files: tuple[int, int] | None = None

    def enter(self, seconds: float) -> None:
        """Raises DatabaseBusy when another process holds on for more than `seconds`."""
        if self._path is None:
            return
        try:
            turn, write = self._files or self._open(self._path)
            _take(turn, seconds)
            try:
                _take(write, seconds)
            finally:
                fcntl.flock(turn, fcntl.LOCK_UN)
        except TimeoutError:
            raise faults.busy(self._path) from None
        except OSError:  # another user's files, a full disk, a system without flock: unfair is better than not at all
            pass

    def leave(self) -> None:
        if self._files is not None:
            try:
                fcntl.flock(self._files[1], fcntl.LOCK_UN)
            except OSError:  # it was not taken either
                pass

    def _open(self, path: str) -> tuple[int, int]:
        turn = _open(f"{path}.turn")
        try:
            self._files = (turn, _open(f"{path}.write"))
        except OSError:
            os.close(turn)
            raise
        return self._files

    def close(self) -> None:
        """Also right in a forked child: the parent's lock stays, because the parent has the files open too."""
        files, self._files = self._files, None
        for file in files or ():
            os.close(file)


def _open(path: str) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _take(file: int, seconds: float) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        _take_in_time(file, seconds)


def _take_in_time(file: int, seconds: float) -> None:
    started = time.monotonic()
    while (waited := time.monotonic() - started) < seconds:
        time.sleep(_PAUSE_SECONDS if waited < _PATIENT_AFTER_SECONDS else _PATIENT_PAUSE_SECONDS)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            pass
    raise TimeoutError
