"""The audit of one process: what is told goes to the logger `fnqueue.audit`, and where a folder is set to its files.

What cannot be written to the files is never lost without a word: it is logged, the failure is logged as an error, and
the first line that can be written again says how many are missing. Denials and refusals do not wait for the disk. An
operator's act that says `must` does: what is not on record is not done.
The store learns of the last line within a second, from a thread of its own: no request and no task waits for it.
Knows nothing of who tells.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
import weakref
from typing import Any, Final

from fnqueue import forks
from fnqueue.audit.files import Files
from fnqueue.audit.links import Links
from fnqueue.clock import Clock
from fnqueue.errors import AuditUnwritable, FnQueueError

LINK_SECONDS: Final = 1.0
#: Then no thread came to it, as under uWSGI without threads: whoever tells next does it.
LATE_SECONDS: Final = 5.0
COMPLAIN_SECONDS: Final = 60.0
_log = logging.getLogger("fnqueue.audit")


class Audit:
    """`files` None: only the logger. `links` None: there is no store. Safe between threads and forks."""

    def __init__(self, clock: Clock, files: Files | None = None, links: Links | None = None) -> None:
        self._clock, self._files, self._links = clock, files, links
        self._lock = forks.ProcessLock()
        self._linking = forks.ProcessLock()  # apart: who tells never waits for the disk's or the store's yes
        self._lost = 0
        self._writing: int | None = None  # the process that does
        self._due: list[tuple[str, dict[str, Any]]] = []
        self._complained = float("-inf")
        self._asked: tuple[int, float] | None = None  # which process asked for a link, and when
        self._closed = False
        if files is not None:
            atexit.register(_at_exit, weakref.ref(self))

    def tell(self, what: str, text: str | None, told: dict[str, Any], *, level: int = logging.INFO) -> None:
        """`text`: for the log; None: it is logged by others. Never raises."""
        self._say(what, text, told, level)
        if self._files is None:
            return
        try:
            self._append(what, told)
        except (OSError, FnQueueError) as error:
            self._missed(error)
        self._link_soon()

    def must(self, what: str, text: str, told: dict[str, Any]) -> None:
        """As `tell`, and on the disk when it returns. Raises AuditUnwritable: then do not do what it is about."""
        self._say(what, text, told, logging.INFO)
        if self._files is None:
            return
        try:
            self._append(what, told)
            self._files.end()
        except (OSError, FnQueueError) as error:
            raise AuditUnwritable(self._files.folder, _reason(error)) from error
        self.link()

    def link(self) -> None:
        """Let the store know the last line, now. What fails is tried again with the next line."""
        if self._files is None or self._links is None:
            return
        with self._linking.here():
            self._asked = None
            if self._closed:  # the store was let go of: asking it would open it anew
                return
            try:
                end = self._files.end()
                if end is not None:
                    self._links.put(*end)
            except (OSError, FnQueueError) as error:
                self._complain("the store does not know the last line of the audit", error)

    def close(self) -> None:
        self.link()
        self._closed = True
        if self._files is not None:
            self._files.close()

    # ---------------------------------------------------------------- helpers

    def _say(self, what: str, text: str | None, told: dict[str, Any], level: int) -> None:
        if text is not None and _log.isEnabledFor(level):
            _log.log(level, "%s", _one_line(text), extra={"fnqueue": {"event": f"audit {what}", **told}})

    def _append(self, what: str, told: dict[str, Any]) -> None:
        """What is told while a line is written follows it: who asks for the key may read new ones, and tell of them."""
        assert self._files is not None
        with self._lock.here():
            if self._writing == os.getpid():
                self._due.append((what, told))
                return
            self._writing, self._due = os.getpid(), [(what, told)]
            try:
                while self._due:
                    if self._lost:
                        self._files.append("lost", {"count": self._lost})
                        self._lost = 0
                    self._files.append(*self._due[0])
                    del self._due[0]
            except BaseException:
                self._lost += len(self._due) - 1  # of one the caller is told
                raise
            finally:
                self._writing = None

    def _missed(self, error: Exception) -> None:
        with self._lock.here():
            self._lost += 1
        self._complain("the audit cannot be written, and goes on in the log only", error)

    def _complain(self, text: str, error: Exception) -> None:
        now = self._clock.monotonic()
        if now - self._complained >= COMPLAIN_SECONDS:
            self._complained = now
            _log.error("%s: %s", text, _reason(error))

    def _link_soon(self) -> None:
        if self._links is None:
            return
        pid, now = os.getpid(), self._clock.monotonic()
        with self._lock.here():
            asked = self._asked if self._asked is not None and self._asked[0] == pid else None
            if asked is None:
                self._asked = (pid, now)
        if asked is None:
            timer = threading.Timer(LINK_SECONDS, self.link)
            timer.daemon = True
            try:
                timer.start()
            except RuntimeError:  # the interpreter ends, or no thread is to be had
                self.link()
        elif now - asked[1] > LATE_SECONDS:
            self.link()


def _one_line(text: str) -> str:
    """Without control characters: what a stranger says must not forge a line or steer a terminal."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def _reason(error: Exception) -> str:
    return error.strerror or str(error) if isinstance(error, OSError) else str(error)


def _at_exit(audit: weakref.ref[Audit]) -> None:
    made = audit()
    if made is not None:
        made.close()
