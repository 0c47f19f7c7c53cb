"""How a worker is told to stop: by a signal, by another thread, once or twice.

A signal handler runs in the main thread between any two steps of it, so it may take no lock: the main thread may be
holding it. The handler only counts. And the system may give the signal to another thread, which does not wake the main
one: so the main thread waits on a pipe that Python writes to in whichever thread it is.
Knows nothing of workers.
"""

from __future__ import annotations

import os
import select
import signal
import threading
import weakref


class Stopping:
    """`count`: how often it was asked. `wait` is for one thread, `ask` for any and for signal handlers."""

    def __init__(self) -> None:
        self.count = 0
        self._read, self._write = os.pipe()
        os.set_blocking(self._read, False)
        os.set_blocking(self._write, False)
        self._poll = select.poll()
        self._poll.register(self._read, select.POLLIN)
        self._finalizer = weakref.finalize(self, _close, self._read, self._write)
        self._before: dict[int, object] = {}
        self._wakeup_before = -1

    def ask(self) -> None:
        self.count += 1
        try:
            os.write(self._write, b"!")
        except OSError:
            pass  # full: it is awake; or closed: it has stopped

    def wait(self, seconds: float) -> None:
        """Until it is asked (once more), or `seconds` passed."""
        if self._poll.poll(max(0.0, seconds) * 1000):
            os.read(self._read, 64)

    def on_signals(self) -> None:
        """SIGTERM and SIGINT ask from now on. Does nothing in a thread that is not the main one: Python forbids it."""
        if threading.current_thread() is not threading.main_thread():
            return
        self._wakeup_before = signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT):
            self._before[number] = signal.signal(number, lambda *_: self.ask())

    def off_signals(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
        if self._before:
            signal.set_wakeup_fd(self._wakeup_before)
        self._before = {}


def _close(read: int, write: int) -> None:
    os.close(read)
    os.close(write)
