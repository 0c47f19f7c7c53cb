"""Wakes those who wait for a change of the file: in this process and in the others on this machine.

A process that waits makes a FIFO in `<database>.bells/`; who commits a change writes one byte into each.
The first waiting thread listens to the FIFO, the others wait for it on a condition. A bell may ring
for nothing and, in theory, be lost; so the listener also asks once a second whether the file has changed
(four times a second where there are no FIFOs).
Knows nothing of SQLite or of what changed.
"""

from __future__ import annotations

import errno
import os
import select
import threading
import time
import weakref
from collections.abc import Callable

from fnqueue.clock import Clock, SystemClock

_LOOK_SECONDS = 1.0  # with FIFOs: the guard against a lost bell
_LOOK_SECONDS_WITHOUT = 0.25
_SETTLED_SECONDS = 0.1  # a folder's mtime is coarse: its listing is trusted when it is older than this
_FIFOS = hasattr(os, "mkfifo") and hasattr(select, "poll")


class Bell:
    """`folder`: where the FIFOs are; None for one process only. `changed`: has the file changed since last asked?"""

    def __init__(self, folder: str | None, changed: Callable[[], bool], clock: Clock) -> None:
        self._folder = folder
        self._changed = changed
        self._clock = clock
        self._count = 0
        self._awake = threading.Condition(threading.Lock())
        self._waiting = 0
        self._listening = False
        self._ear: _Ear | None = None
        self._others = _Others(folder) if folder is not None and _FIFOS else None

    @property
    def count(self) -> int:
        return self._count

    def ring(self) -> None:
        with self._awake:
            self._count += 1
            if self._waiting:
                self._awake.notify_all()
                if self._listening and self._ear is not None:
                    self._ear.poke()
            own = self._ear.name if self._ear is not None else None
        if self._others is not None:
            self._others.ring(own)

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
        """Be the process' ear for a while. The condition is held at the start and at the end, not between."""
        self._listening = True
        if self._ear is None and self._folder is not None and _FIFOS:
            self._ear = _Ear.make(self._folder)
        ear = self._ear
        self._awake.release()
        rang = False
        try:
            if ear is None:
                time.sleep(min(seconds, _LOOK_SECONDS_WITHOUT))
            else:
                rang = ear.hear(min(seconds, _LOOK_SECONDS))
            rang = rang or self._changed()
        finally:
            self._awake.acquire()
            self._listening = False
            if rang:
                self._count += 1
            self._awake.notify_all()  # all look; one of those who stay listens next

    def close(self) -> None:
        with self._awake:
            ear, self._ear = self._ear, None
            if self._listening and ear is not None:
                ear.poke()
            elif ear is not None:
                ear.close()
        if self._others is not None:
            self._others.close()

    def forget(self) -> None:
        """In a forked child: the parent's FIFO is the parent's; the threads that held our locks are not here."""
        self._awake = threading.Condition(threading.Lock())
        self._waiting = 0
        self._listening = False
        ear, self._ear = self._ear, None
        if ear is not None:
            ear.forget()
        if self._others is not None:
            self._others.close()
            self._others = _Others(self._others.folder)


class _Ear:
    """This process' FIFO. Both ends are open: without a writer of its own it would report the end of file for ever."""

    @classmethod
    def make(cls, folder: str) -> _Ear | None:
        """None where the file system has no FIFOs."""
        try:
            os.makedirs(folder, 0o700, exist_ok=True)
            return cls(folder, f"{os.getpid()}-{os.urandom(4).hex()}")
        except OSError:
            return None

    def __init__(self, folder: str, name: str) -> None:
        self.name = name
        path, unborn = os.path.join(folder, name), os.path.join(folder, "." + name)
        os.mkfifo(unborn, 0o600)
        self._read = os.open(unborn, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        self._write = os.open(unborn, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        os.rename(unborn, path)  # not before it is open: a ringer takes a FIFO that nobody has open for a dead one
        self._poll = select.poll()
        self._poll.register(self._read, select.POLLIN)
        self._finalizer = weakref.finalize(self, _remove, path, self._read, self._write, os.getpid())

    def hear(self, seconds: float) -> bool:
        if not self._poll.poll(max(0, seconds * 1000)):
            return False
        try:
            os.read(self._read, 65536)
        except BlockingIOError:
            pass
        return True

    def poke(self) -> None:
        _write_byte(self._write)

    def close(self) -> None:
        self._finalizer()

    def forget(self) -> None:
        self._finalizer.detach()
        os.close(self._read)
        os.close(self._write)


class _Others:
    """The FIFOs of the other processes, with the folder's listing and the open files kept."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self._lock = threading.Lock()
        self._files: dict[str, int] = {}
        self._mtime = 0
        self._mtime_since = 0.0

    def ring(self, own: str | None) -> None:
        with self._lock:
            self._look()
            for name in list(self._files):
                if name != own:
                    self._ring_one(name)

    def _look(self) -> None:
        """The folder's names, read again when its mtime is new or changed a moment ago."""
        try:
            mtime = os.stat(self.folder).st_mtime_ns
        except OSError:  # no folder: nobody has waited yet
            return
        now = time.monotonic()
        if mtime != self._mtime:
            self._mtime, self._mtime_since = mtime, now
        elif now - self._mtime_since > _SETTLED_SECONDS:
            return
        names = {name for name in os.listdir(self.folder) if not name.startswith(".")}
        for name in self._files.keys() - names:
            self._drop(name)
        for name in names - self._files.keys():
            self._files[name] = -1

    def _ring_one(self, name: str) -> None:
        path = os.path.join(self.folder, name)
        try:
            if self._files[name] < 0:
                self._files[name] = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            os.write(self._files[name], b"!")
        except BlockingIOError:  # full of bells that were not heard yet
            pass
        except OSError as error:
            self._drop(name)
            if error.errno in (errno.ENXIO, errno.EPIPE):  # nobody has it open: its process is dead
                try:
                    os.unlink(path)
                except OSError:
                    pass

    def _drop(self, name: str) -> None:
        file = self._files.pop(name)
        if file >= 0:
            os.close(file)

    def close(self) -> None:
        for name in list(self._files):
            self._drop(name)
        self._mtime = 0


def _write_byte(file: int) -> None:
    try:
        os.write(file, b"!")
    except BlockingIOError:
        pass


def _remove(path: str, read: int, write: int, pid: int) -> None:
    if os.getpid() != pid:
        return
    os.close(read)
    os.close(write)
    try:
        os.unlink(path)
    except OSError:
        pass
