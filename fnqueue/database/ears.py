"""The FIFOs by which processes wake each other.

Each process that waits makes one in the folder and puts a new random number into the folder's sign, a file
of eight bytes that all map: so a ringer knows without a system call that its list is still right.
A FIFO that nobody has open belongs to a dead process and is removed by who finds it.
"""

from __future__ import annotations

import errno
import mmap
import os
import select
import threading
import time
import weakref

FIFOS = hasattr(os, "mkfifo") and hasattr(select, "poll")
_SIGN = ".sign"
_SIGN_BYTES = 8
_TRUST_SECONDS = 1.0  # then the sign is opened anew, in case somebody removed the folder


class Ear:
    """This process' FIFO. Both ends are open: without a writer of its own it would report the end of file for ever."""

    @classmethod
    def make(cls, folder: str) -> Ear | None:
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
        self._finalizer = weakref.finalize(self, _remove, path, self._read, self._write, os.getpid())
        self._poll = select.poll()
        self._poll.register(self._read, select.POLLIN)
        sign = _open_sign(folder)
        os.pwrite(sign, os.urandom(_SIGN_BYTES), 0)
        os.close(sign)

    def hear(self, seconds: float) -> bool:
        """Whether it rang within `seconds`."""
        if not self._poll.poll(max(0, seconds * 1000)):
            return False
        try:
            os.read(self._read, 65536)
        except BlockingIOError:
            pass
        return True

    def poke(self) -> None:
        try:
            os.write(self._write, b"!")
        except BlockingIOError:  # full of bells that were not heard yet
            pass

    def close(self) -> None:
        self._finalizer()

    def forget(self) -> None:
        """In a forked child: close it, but leave the FIFO, which is the parent's."""
        self._finalizer.detach()
        os.close(self._read)
        os.close(self._write)


class Others:
    """The ears of the other processes."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._files: dict[str, int] = {}  # open, or -1
        self._sign: mmap.mmap | None = None
        self._seen = b""
        self._trusted_until = 0.0

    def ring(self, own: Ear | None) -> None:
        with self._lock:
            now = time.monotonic()
            if now > self._trusted_until:
                self._map_sign()
                self._trusted_until = now + _TRUST_SECONDS
            if self._sign is not None and (sign := self._sign[:]) != self._seen:
                self._look()
                self._seen = sign
            for name in tuple(self._files):
                if own is None or name != own.name:
                    self._ring_one(name)

    def _map_sign(self) -> None:
        try:
            os.makedirs(self._folder, 0o700, exist_ok=True)
            file = _open_sign(self._folder)
            try:
                self._sign = mmap.mmap(file, _SIGN_BYTES, mmap.MAP_SHARED, mmap.PROT_READ)
            finally:
                os.close(file)
        except OSError:  # nobody can have an ear there
            self._sign = None

    def _look(self) -> None:
        try:
            names = {name for name in os.listdir(self._folder) if not name.startswith(".")}
        except OSError:  # somebody removed the folder
            names = set()
        for name in self._files.keys() - names:
            self._drop(name)
        for name in names - self._files.keys():
            self._files[name] = -1

    def _ring_one(self, name: str) -> None:
        path = os.path.join(self._folder, name)
        try:
            if self._files[name] < 0:
                self._files[name] = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            os.write(self._files[name], b"!")
        except BlockingIOError:  # full of bells that were not heard yet
            pass
        except OSError as error:
            self._drop(name)
            if error.errno in (errno.ENXIO, errno.EPIPE):
                _unlink(path)

    def _drop(self, name: str) -> None:
        file = self._files.pop(name)
        if file >= 0:
            os.close(file)

    def close(self) -> None:
        for name in tuple(self._files):
            self._drop(name)
        self._sign, self._seen, self._trusted_until = None, b"", 0.0


def _open_sign(folder: str) -> int:
    file = os.open(os.path.join(folder, _SIGN), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    if os.fstat(file).st_size < _SIGN_BYTES:
        os.ftruncate(file, _SIGN_BYTES)
    return file


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except OSError:
        pass


def _remove(path: str, read: int, write: int, pid: int) -> None:
    if os.getpid() == pid:
        os.close(read)
        os.close(write)
        _unlink(path)
