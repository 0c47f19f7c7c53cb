"""The connections that this process has open to one file: one that writes, a few that read, one that watches.

SQLite keeps its locks in tables per process, and a fork copies them: a child that opens the file beside inherited
connections believes to hold the parent's locks, and may lose data when the parent closes. So all
connections are closed before a fork, and opened again on both sides when next used (`hold`, `release`).
A thread that holds on to one for two seconds is not waited for; what it uses is ended in the child.
Knows nothing of transactions or threads in line.
"""

from __future__ import annotations

import os
import sqlite3
import sys
import threading
import time
from collections.abc import Callable
from functools import partial

from fnqueue.database import faults, migrations
from fnqueue.database.turnstile import Turnstile
from fnqueue.errors import DatabaseError
from fnqueue.forks import UNFORKED

_IDLE_READERS_MAX = 8
_LOOK_SECONDS = 1.0
_WAL_BYTES_KEPT = 64 * 1024 * 1024
# SQLite's own 1000 pages are full after a few hundred tasks, and each time the file itself is synced. Four times as
# many, 16 MB, write a page that changes often back once instead of four times.
_WAL_PAGES = 4000
#: Half as fast again as SQLite's own way.
_ANY_TEXT = partial(str, encoding="utf-8", errors="replace")


class Connections:
    """`path` None: in memory, one connection for all. `synchronous`: SQLite's, of the writer."""

    def __init__(self, path: str | None, synchronous: str, busy_seconds: float, setting: str) -> None:
        self.path, self.setting = path, setting
        self.busy_seconds = busy_seconds
        self.components: dict[str, tuple[str, ...]] = {}
        self.ready = False  # the file is ours and has the tables
        self._synchronous = synchronous
        self._synchronous_now = ""  # of the writer
        self._writer: sqlite3.Connection | None = None
        self._idle: list[sqlite3.Connection] = []
        self._borrowed: set[sqlite3.Connection] = set()
        self._watch: sqlite3.Connection | None = None
        self._version = -1
        self._identity: tuple[int, int] | None = None
        self._look_at = 0.0
        self.replaced = False  # the file; what is open is of the old one
        self._held = self._prepares = False  # for a fork
        self._text: Callable[[bytes], str] = str
        self._make_locks()

    def _make_locks(self) -> None:
        self._preparing = threading.Lock()
        self._pool = threading.Condition(threading.Lock())

    # ------------------------------------------------------------------ the file

    def prepare(self) -> None:
        """Once per process: the file is there, is ours, and has its tables. In memory, the first write makes them."""
        if self.path is None:
            return
        if self.ready and time.monotonic() > self._look_at:
            self._look_whether_it_is_there(self.path)
        if self.ready:
            return
        with self._preparing:
            if self.ready:
                return
            _make_private(self.path, self.setting)
            connection = self._open()
            try:
                if migrations.are_due(connection, self.components, self.path, self.setting):
                    self._make_tables(connection)
                self._identity = _identity(self.path)
                self.ready = True
            finally:
                connection.close()

    def _look_whether_it_is_there(self, path: str) -> None:
        """Once a second. A file that was removed or replaced lives on for those who have it open: two processes
        would go on with two files, and one would lose all it writes.
        """
        self._look_at = time.monotonic() + _LOOK_SECONDS
        if _identity(path) == self._identity:
            return
        with self._pool:
            self.ready = False
            self.replaced = True
            self._borrowed.clear()  # they are closed when they are given back
            self._close_idle()

    def reopen(self) -> None:
        """For the thread that leads, when the file was `replaced`: nobody else may touch the writer."""
        self.replaced = False
        self._close_writer()

    def _make_tables(self, connection: sqlite3.Connection) -> None:
        door = Turnstile(self.path)  # its own: the process' is the leader's
        try:
            door.enter(self.busy_seconds)
            (mode,) = connection.execute("PRAGMA journal_mode=WAL").fetchone()
            if mode != "wal":
                raise DatabaseError(f"{self.path}: SQLite's write-ahead log does not work here. Use a local disk.")
            connection.execute("BEGIN IMMEDIATE")
            migrations.run(connection, self.components, self.path, self.setting)
            connection.execute("COMMIT")
        finally:
            door.close()

    def make_tables_inside(self, connection: sqlite3.Connection) -> None:
        """In a transaction under way: for the file in memory, and for a component registered after the first use."""
        migrations.run(connection, self.components, self.path, self.setting)

    def _open(self) -> sqlite3.Connection:
        # SQLite has locks of its own that a child would inherit from a thread inside it, and hang.
        with UNFORKED.here():
            connection = sqlite3.connect(
                self.path or ":memory:",
                timeout=self.busy_seconds,
                isolation_level=None,
                check_same_thread=False,
                cached_statements=256,
            )
            connection.execute("PRAGMA temp_store=MEMORY")
            return connection

    # ------------------------------------------------------------------ writing

    def writer(self, *, durable: bool = True) -> sqlite3.Connection:
        """For the thread that leads, outside a transaction. `durable`: whether its commit waits for the disk."""
        if self._writer is None:
            connection, self._synchronous_now = self._open(), ""
            connection.execute("PRAGMA fullfsync=ON")  # macOS: its fsync alone does not reach the disk
            connection.execute("PRAGMA cache_spill=OFF")  # nothing of a transaction is in the log before its commit
            connection.execute(f"PRAGMA journal_size_limit={_WAL_BYTES_KEPT}")
            connection.execute(f"PRAGMA wal_autocheckpoint={_WAL_PAGES}")
            self._writer = connection
        wanted = self._synchronous if durable else "NORMAL"
        if wanted != self._synchronous_now:
            self._writer.execute(f"PRAGMA synchronous={wanted}")
            self._synchronous_now = wanted
        self._writer.text_factory = self._text
        return self._writer

    def learn_from(self, error: BaseException, connection: sqlite3.Connection | None = None) -> bool:
        """Text that is no UTF-8 was written by another program, and its row must not be in the way of all others: from
        now on it is read, with marks in the place of what is none. True: so now, what failed would succeed.
        `connection`: the one that goes on without being borrowed anew."""
        if "Could not decode to UTF-8" not in str(error):
            return False
        self._text = _ANY_TEXT
        if connection is not None:
            connection.text_factory = _ANY_TEXT
        return True

    def check_still_ours(self, connection: sqlite3.Connection) -> None:
        if connection is not self._writer:
            raise DatabaseError(f"forked inside a write to {self.path}: only the parent can go on with it.")

    # ------------------------------------------------------------------ reading

    def borrow(self) -> sqlite3.Connection:
        """A connection to read with, to be given back."""
        with self._pool:
            connection = self._idle.pop() if self._idle else self._open()
            connection.text_factory = self._text
            self._borrowed.add(connection)
            return connection

    def give_back(self, connection: sqlite3.Connection) -> None:
        try:
            if connection.in_transaction:
                connection.rollback()
        finally:
            with self._pool:
                if connection in self._borrowed:
                    self._borrowed.remove(connection)
                    self._keep_or_close(connection)
                else:
                    connection.close()
                if not self._borrowed:
                    self._pool.notify_all()

    def _keep_or_close(self, connection: sqlite3.Connection) -> None:
        if len(self._idle) < _IDLE_READERS_MAX and not connection.in_transaction:
            self._idle.append(connection)
        else:
            connection.close()

    def changed(self) -> bool:
        """Has any other connection committed since last asked? 5 us. Asked by one thread at a time."""
        if self.path is None or not os.path.exists(self.path):
            return False
        with self._pool:
            try:
                if self._watch is None:
                    self._watch, self._version = self._open(), -1
                last = self._version
                (self._version,) = self._watch.execute("PRAGMA data_version").fetchone()
            except sqlite3.Error:  # whoever reads or writes next will say it
                return False
        return last not in (-1, self._version)

    # ------------------------------------------------------------------ end, and fork

    def close(self) -> None:
        """Close what nobody uses. The caller leads, so nobody writes."""
        with self._pool:
            self._close_idle()
        self._close_writer()
        if self.path is None:
            self.ready = False

    def _close_idle(self) -> None:
        for connection in [*self._idle, *([self._watch] if self._watch else [])]:
            connection.close()
        self._idle, self._watch = [], None

    def _close_writer(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()

    def hold(self, *, leads: bool, seconds: float) -> None:
        """Before a fork: close all, waiting up to `seconds` for those who read. `leads`: nobody else writes."""
        deadline = time.monotonic() + seconds
        self._prepares = self._preparing.acquire(timeout=seconds)
        self._pool.acquire()
        self._held = True
        while self._borrowed and (left := deadline - time.monotonic()) > 0:
            self._pool.wait(left)
        if self.path is not None:
            self._close_idle()
            if leads:
                self._close_writer()

    def release(self) -> None:
        """After a fork, in the parent."""
        if self._held:
            self._held = False
            self._pool.release()
        if self._prepares:
            self._prepares = False
            self._preparing.release()

    def disown(self) -> None:
        """After a fork, in the child: end what a thread was using that is not here, and all after a fork unannounced.

        A transaction wrote nothing to the file yet (cache_spill), and the locks that end are this process' alone.
        """
        if self.path is not None:
            one = [connection for connection in (self._writer, self._watch) if connection is not None]
            for connection in [*self._borrowed, *self._idle, *one]:
                _end_inherited(connection)
            self._writer, self._watch, self._idle, self._borrowed, self.ready = None, None, [], set(), False
        self._held = self._prepares = False  # for a fork
        self._make_locks()


def _end_inherited(connection: sqlite3.Connection) -> None:
    try:
        if sys.version_info >= (3, 12):  # the log is not this process' to copy back and remove
            connection.setconfig(sqlite3.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, True)
        connection.rollback()
        connection.close()
    except sqlite3.Error:
        pass


def _identity(path: str) -> tuple[int, int] | None:
    """Which file it is, whatever its name."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _make_private(path: str, setting: str) -> None:
    """Make the file, 0600. Only when it is not there: closing a file that SQLite has open would drop its locks."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    except FileExistsError:
        pass
    except OSError as error:
        raise faults.of_system(error, path, setting) from error
