"""Wakes those who wait for a change of the file: in this process and in the others on this machine.

A process that waits has an ear, a FIFO in `<database>.bells/` (`ears.py`); who commits a change writes one byte
into each. Of the threads that wait, one listens to the ear and the others wait for it on a condition. A bell
may ring for nothing and, in theory, be lost; so the listener also asks once a second whether the file
has changed, four times a second where there are no FIFOs.
Knows nothing of SQLite or of what changed.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from fnqueue.clock import Clock, SystemClock
from fnqueue.database.ears import FIFOS, Ear, Others

_LOOK_SECONDS = 1.0  # the guard against a lost bell
_LOOK_SECONDS_WITHOUT_FIFOS = 0.25


class Bell:
    """`folder`: where the ears are; None for one process only. `changed`: has the file changed since last asked?"""

    def __init__(self, folder: str | None, changed: Callable[[], bool], clock: Clock) -> None:
        self._folder = folder
        self._changed = changed
        self._clock = clock
        self._count = 0
        self._ear: Ear | None = None
        self._begin()

    def _begin(self) -> None:
        self._awake = threading.Condition(threading.Lock())
        self._waiting = 0
        self._listening = False
        self._knows_version = False
        self._others = Others(self._folder) if self._folder is not None and FIFOS else None

    @property
    def count(self) -> int:
        return self._count

    def ring(self) -> None:
        self.wake()
        if self._others is not None:
            self._others.ring(self._ear)

    def wake(self) -> None:
        """Ring in this process only."""
        with self._awake:
            self._count += 1
            if self._waiting:
                self._awake.notify_all()
                if self._listening and self._ear is not None:
                    self._ear.poke()

    def wait(self, seen: int, seconds: float) -> int:
        """Until it rang after `seen`, or `seconds` passed; the new count."""
        with self._awake:
            if not isinstance(self._clock, SystemClock):
                if self._count == seen:
                    self._clock.wait(self._awake, seconds)
                return self._count
            deadline = time.monotonic() + seconds
            self._waiting += 1
            try:
                while self._count == seen and (left := deadline - time.monotonic()) > 0:
                    if self._listening or self._folder is None:
                        self._awake.wait(left)
                    else:
                        self._listen(left)
            finally:
                self._waiting -= 1
            return self._count

    def _listen(self, seconds: float) -> None:
        """Listen for the process for a while. The condition is held at the start and at the end, not between."""
        self._listening = True
        self._awake.release()
        rang = True
        try:
            rang = self._hear(seconds)
        finally:
            self._awake.acquire()
            self._listening = False
            if rang:
                self._count += 1
            self._awake.notify_all()  # all look; one of those who stay listens next

    def _hear(self, seconds: float) -> bool:
        if not self._knows_version:
            # Nobody could ring before there was an ear: who waits must look again now that there is one.
            if self._folder is not None and FIFOS:
                self._ear = Ear.make(self._folder)
            self._changed()
            self._knows_version = True
            return True
        if self._ear is None:
            time.sleep(min(seconds, _LOOK_SECONDS_WITHOUT_FIFOS))
            return self._changed()
        return self._ear.hear(min(seconds, _LOOK_SECONDS)) or self._changed()

    def close(self) -> None:
        """Who waits goes on waiting, with a new ear."""
        with self._awake:
            if not self._listening:
                ear, self._ear, self._knows_version = self._ear, None, False
                if ear is not None:
                    ear.close()
        if self._others is not None:
            self._others.close()

    def forget(self) -> None:
        """In a forked child: the parent's ear is the parent's; the threads that held our locks are not here."""
        ear, self._ear = self._ear, None
        if ear is not None:
            ear.forget()
        if self._others is not None:
            self._others.close()
        self._begin()
