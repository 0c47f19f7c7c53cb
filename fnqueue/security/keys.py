"""Where a process has its keys from: a text, a file that it follows, or its own memory.

A source gives the ring of the moment. Whoever seals or opens asks for it each time and does not keep it,
so a rotation in the file reaches a running process within a second, without a restart.
The door to keys for the rooms above; formats are in keyring.py, files in keyfile.py.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Protocol

from fnqueue import forks
from fnqueue.clock import Clock
from fnqueue.errors import FnQueueError, KeysMissing
from fnqueue.security.keyfile import Identity, identity, load_or_create, read_with_identity
from fnqueue.security.keyring import KeyRecord, KeyRing, Limits, State, make_record, new_key

__all__ = [
    "FileKeys",
    "FixedKeys",
    "KeyRecord",
    "KeyRing",
    "KeySource",
    "Limits",
    "State",
    "key_source",
    "make_record",
    "memory_source",
    "new_key",
]

CHECK_SECONDS = 1.0
#: What else can be done where the key file that nobody named cannot be made.
BESIDE = "set FNQUEUE_URL to a file in another (the key file lies beside it)"
_log = logging.getLogger("fnqueue.keys")


class KeySource(Protocol):
    def ring(self) -> KeyRing:
        """The keys of now. Raises SettingsInvalid or KeyInvalid when there never was a good one."""
        ...


def key_source(text: str | None, file: str | Path | None, *, clock: Clock, create: bool = False) -> KeySource:
    """The source for FNQUEUE_KEYS, a text or the url of a secret, or FNQUEUE_KEYS_FILE. Nothing is read before it is
    first asked.

    `create`: make the file with one key where there is none. Raises KeysMissing when both are None,
    KeyInvalid for a url that is none.
    """
    if text is not None and text.startswith("secretsmanager://"):
        with forks.importing():
            from fnqueue.security.secrets_manager import SecretKeys  # not at the top: few processes have to do with it

        return SecretKeys(text, clock)
    if text is not None:
        return FixedKeys(text)
    if file is None:
        raise KeysMissing("there is no key: set FNQUEUE_KEYS or FNQUEUE_KEYS_FILE; make one: fnqueue keys new")
    return FileKeys(file, clock, create=create)


def memory_source() -> KeySource:
    """One new key, which ends with the process: for engines that live in memory."""
    return FixedKeys(new_key())


class FixedKeys:
    """The ring of a text, read at first use."""

    def __init__(self, text: str, *, source: str = "FNQUEUE_KEYS") -> None:
        self._text, self._source = text, source
        self._ring: KeyRing | None = None

    def ring(self) -> KeyRing:
        if self._ring is None:
            self._ring = KeyRing.from_text(self._text, source=self._source)
        return self._ring

    def __repr__(self) -> str:
        return f"<FixedKeys of {self._source}>"


class FileKeys:
    """The ring of a file, looked at again once a second at most.

    A file that became faulty is reported once, in the log and in `fault`, and the ring of before stays.
    """

    def __init__(self, path: str | Path, clock: Clock, *, create: bool = False) -> None:
        self.path = Path(path)
        #: What is wrong with the file as it is now; None while the ring is the file's.
        self.fault: str | None = None
        self._clock, self._create = clock, create
        self._ring: KeyRing | None = None
        self._identity: Identity | None = None
        self._checked = 0.0

    def ring(self) -> KeyRing:
        now = self._clock.monotonic()
        if self._ring is None:
            self._checked = now
            return self._first()
        if now - self._checked >= CHECK_SECONDS:
            self._checked = now
            self._refresh()
        return self._ring

    def _first(self) -> KeyRing:
        if self._create:
            load_or_create(self.path, instead=BESIDE)
        text, self._identity = read_with_identity(self.path)
        self._ring = KeyRing.from_text(text, source=str(self.path))
        return self._ring

    def _refresh(self) -> None:
        try:
            if identity(os.stat(self.path)) == self._identity:
                self.fault = None
                return
            text, read = read_with_identity(self.path)
            ring = KeyRing.from_text(text, source=str(self.path))
        except (OSError, FnQueueError) as error:
            self._keep(f"{self.path}: {error.strerror}" if isinstance(error, OSError) else str(error))
            return
        self._ring, self._identity, self.fault = ring, read, None
        _log.info("reread %s: %r", self.path, ring)

    def _keep(self, fault: str) -> None:
        if fault != self.fault:
            _log.warning("the keys of before stay in use: %s", fault)
        self.fault = fault

    def __repr__(self) -> str:
        return f"<FileKeys {self.path} {self._ring!r}>"
