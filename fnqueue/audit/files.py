"""One process writes one chain of audit lines, to files of its own. Safe between threads; a forked child begins anew.

A line is written in one piece, so a process that is killed leaves whole lines, and at most the beginning of its last.
Where the disk is full, what was written of a line is taken back, and the next try goes on where the last whole line
ended. Knows files; who makes MACs is handed in.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import socket
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from fnqueue import forks
from fnqueue.audit import lines
from fnqueue.clock import Clock, to_datetime

FILE_BYTES_MAX: Final = 16 * 1024 * 1024

#: `(chain, text) -> (key id, MAC)`: the key's id is asked for first, because the text names it.
KeyId = Callable[[], str]
Mac = Callable[[str, str, bytes], str]


def read_file(path: str, bytes_max: int) -> bytes | None:
    """One byte more than `bytes_max` at most. None: a link, a pipe or the like, which no process of ours left there:
    it leads nobody anywhere, and holds nobody up."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.EMLINK, errno.ENXIO):
            return None
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        return None
    with open(descriptor, "rb", buffering=0) as file:
        return file.read(bytes_max + 1)


@dataclass(slots=True)
class _Open:
    """The chain of this process. `n`, `prev`: of its last whole line."""

    chain: str
    pid: int
    fd: int
    file: int = 1
    size: int = 0
    n: int = 0
    prev: str = ""


@dataclass(slots=True)
class Files:
    """`folder` is made if need be (0700), its files are 0600."""

    folder: str
    clock: Clock
    key_id: KeyId
    mac: Mac
    bytes_max: int = FILE_BYTES_MAX
    _lock: forks.ProcessLock = field(default_factory=forks.ProcessLock)
    _open: _Open | None = None

    def append(self, what: str, told: Mapping[str, Any]) -> None:
        """Raises OSError when it is not written; then nothing of it is."""
        with self._lock.here():
            current = self._current()
            if current.size > self.bytes_max:
                self._rotate(current)
            self._write(current, what, told)

    def end(self) -> tuple[str, int, str] | None:
        """Chain, number and digest of its last line, once that is on the disk. None: nothing was written here."""
        with self._lock.here():
            current = self._open
            if current is None or current.pid != os.getpid() or current.n == 0:
                return None
            fd, end = os.dup(current.fd), (current.chain, current.n, current.prev)
        try:
            os.fsync(fd)  # others write meanwhile
        finally:
            os.close(fd)
        return end

    def close(self) -> None:
        with self._lock.here():
            current, self._open = self._open, None
            if current is not None and current.pid == os.getpid():
                os.close(current.fd)

    # ---------------------------------------------------------------- helpers

    def _current(self) -> _Open:
        current = self._open
        if current is not None and current.pid == os.getpid():
            if os.fstat(current.fd).st_nlink:
                return current
            os.close(current.fd)  # somebody removed the file: what is written to it is lost
            self._open = None
        os.makedirs(self.folder, mode=0o700, exist_ok=True)
        chain = self._name()
        made = _Open(chain, os.getpid(), self._create(chain, 1))
        try:
            self._begin(made)
        except BaseException:  # a full disk; or a process whose keys make no MAC
            self._abandon(made)
            raise
        self._open = made
        return made

    def _name(self) -> str:
        at = to_datetime(self.clock.now()).strftime("%Y%m%dT%H%M%SZ")
        host = re.sub(r"[^a-z0-9.-]", "-", socket.gethostname().lower())[:40] or "host"
        return f"{at}-{host}-{os.getpid()}-{secrets.token_hex(4)}"

    def _create(self, chain: str, file: int) -> int:
        path = os.path.join(self.folder, f"{chain}.{file:04d}.jsonl")
        return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)

    def _begin(self, current: _Open) -> None:
        self._write(current, lines.BEGIN, {"chain": current.chain, "file": current.file})

    def _rotate(self, current: _Open) -> None:
        following = _Open(
            current.chain, current.pid, self._create(current.chain, current.file + 1), current.file + 1, 0,
            current.n, current.prev,
        )  # fmt: skip
        try:
            os.fsync(current.fd)
            self._begin(following)
        except BaseException:
            self._abandon(following)
            raise
        os.close(current.fd)
        current.fd, current.file, current.size = following.fd, following.file, following.size
        current.n, current.prev = following.n, following.prev

    def _abandon(self, made: _Open) -> None:
        """A file whose first line could not be written is no part of the audit."""
        os.close(made.fd)
        try:
            os.unlink(os.path.join(self.folder, f"{made.chain}.{made.file:04d}.jsonl"))
        except OSError:
            pass

    def _write(self, current: _Open, what: str, told: Mapping[str, Any]) -> None:
        at = to_datetime(self.clock.now()).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
        key = self.key_id()
        text = lines.text_of(current.n + 1, at, what, told, prev=current.prev, key=key)
        line = lines.finished(text, self.mac(key, current.chain, text))
        self._put(current, line + b"\n")
        current.n, current.prev, current.size = current.n + 1, lines.digest(line), current.size + len(line) + 1

    def _put(self, current: _Open, data: bytes) -> None:
        try:
            written = os.write(current.fd, data)
            if written != len(data):
                raise OSError(28, f"only {written} of {len(data)} bytes were written")
        except OSError:
            try:
                os.ftruncate(current.fd, current.size)
            except OSError:
                # What is left there has no end: the next line begins another chain.
                os.close(current.fd)
                if self._open is current:
                    self._open = None
            raise
