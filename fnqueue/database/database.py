"""One SQLite file, shared by the threads and processes of a machine: read, write, wait for a change.

The one thing to understand is the group commit. The works of all threads that wait at the same moment run in
one transaction, in the thread that leads (`line.py`), and return when it is durable: one fsync serves them
all. They run without savepoints, because nearly none fails; if one raises, all is rolled back and each
runs again under a savepoint of its own, so that the error is its caller's alone. So a work must be
repeatable: it touches the connection and returns a value, and nothing else.

A process id owns what it opened. SQLite keeps its locks per process in tables that a fork copies; therefore
everything is closed before a fork, and opened again on both sides when it is next used.
Knows nothing of queues or records; it is the only room that imports sqlite3.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from typing import Literal, TypeVar

from fnqueue.clock import Clock, SystemClock
from fnqueue.database import faults, migrations
from fnqueue.database.bell import Bell
from fnqueue.database.line import Line, Write
from fnqueue.database.turnstile import Turnstile
from fnqueue.errors import DatabaseError

Connection = sqlite3.Connection
Durability = Literal["full", "relaxed"]
T = TypeVar("T")

_GROUP_MAX = 64
_GROUP_SECONDS = 0.005
_IDLE_READERS_MAX = 8
_FORK_PATIENCE_SECONDS = 2.0
_WAL_BYTES_KEPT = 64 * 1024 * 1024


class Database:
    """`path` None: in memory, for this process only. Opens nothing until it is used. Safe between threads.

    `durability` "full": a write returns when it is on the disk. "relaxed": a power failure may lose the last
    moments' writes, a crash of the process loses nothing.
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | None,
        *,
        durability: Durability = "full",
        clock: Clock | None = None,
        busy_seconds: float = 10.0,
    ) -> None:
        self.path = None if path is None else os.path.abspath(path)
        self._synchronous = {"full": "FULL", "relaxed": "NORMAL"}[durability]
        self._busy_seconds = busy_seconds
        self._components: dict[str, tuple[str, ...]] = {}
        self._turnstile = Turnstile(self.path)
        folder = None if self.path is None else f"{self.path}.bells"
        self._bell = Bell(folder, self._changed, clock or SystemClock())
        self._writer: Connection | None = None
        self._idle: list[Connection] = []
        self._watch: tuple[Connection, int] | None = None  # who asks for data_version, and its last answer
        self._begin_in_process()
        _all.add(self)

    def _begin_in_process(self) -> None:
        self._ready = False  # the file is ours and has the tables
        self._preparing = threading.Lock()
        self._line = Line()
        self._here = _Here()
        self._pool = threading.Condition(threading.Lock())
        self._reading = 0

    def migrate(self, component: str, steps: Sequence[str]) -> None:
        """Register the tables of `component`: SQL scripts, only ever appended to. They run at the next use."""
        if self._components.get(component) != tuple(steps):
            self._components[component] = tuple(steps)
            self._ready = False

    # ------------------------------------------------------------------ read

    def read(self, work: Callable[[Connection], T]) -> T:
        """What `work` returns, from one snapshot of the file. Waits for no writer. Inside a write: its transaction."""
        here = self._here
        inside = here.writing.connection if here.writing is not None else here.reading
        if inside is not None:
            return work(inside)
        if self.path is None:
            return self.write(lambda connection: self._read_on(connection, work))
        try:
            self._prepare()
            connection = self._borrow()
        except (sqlite3.Error, OSError) as error:
            raise faults.translate(error, self.path) from error
        try:
            connection.execute("BEGIN")
            return self._read_on(connection, work)
        except sqlite3.Error as error:
            raise faults.translate(error, self.path) from error
        finally:
            self._give_back(connection)

    def _read_on(self, connection: Connection, work: Callable[[Connection], T]) -> T:
        here = self._here
        writing, here.writing, here.reading = here.writing, None, connection
        try:
            return work(connection)
        finally:
            here.writing, here.reading = writing, None

    def _borrow(self) -> Connection:
        with self._pool:
            self._reading += 1
            if self._idle:
                return self._idle.pop()
        try:
            return self._open()
        except BaseException:
            self._count_reader_out()
            raise

    def _give_back(self, connection: Connection) -> None:
        try:
            if connection.in_transaction:
                connection.execute("COMMIT")
        except sqlite3.Error:
            connection.close()
            self._count_reader_out()
            return
        with self._pool:
            if len(self._idle) < _IDLE_READERS_MAX:
                self._idle.append(connection)
            else:
                connection.close()
        self._count_reader_out()

    def _count_reader_out(self) -> None:
        with self._pool:
            self._reading -= 1
            if not self._reading:
                self._pool.notify_all()

    # ------------------------------------------------------------------ write

    def write(self, work: Callable[[Connection], T], *, bell: bool = False) -> T:
        """What `work` returns, once its changes are durable. `bell`: wake those who `wait`.

        Inside another write it runs at once, in the same transaction. `work` may run more than once; it must
        neither commit nor roll back. Its error rolls back its own changes and is raised here.
        """
        here = self._here
        if here.writing is not None:
            return self._nested(here.writing, work, bell)
        if here.reading is not None:
            raise RuntimeError("Database.write() inside Database.read(): the reader's snapshot cannot be written to.")
        mine = Write(work, bell)
        if self._line.stand(mine):
            try:
                self._lead(mine)
            finally:
                self._line.leave()
        if mine.error is not None:
            raise faults.translate(mine.error, self.path) from (
                mine.error if isinstance(mine.error, (sqlite3.Error, OSError)) else mine.error.__cause__
            )
        result: T = mine.result
        return result

    def _nested(self, transaction: _Transaction, work: Callable[[Connection], T], bell: bool) -> T:
        connection = transaction.connection
        transaction.bell = transaction.bell or bell
        if not self._ready:
            migrations.run(connection, self._components, self.path)
        if transaction.careful:
            return _under_savepoint(connection, work)
        before = connection.total_changes
        try:
            return work(connection)
        except BaseException:
            # Whoever called may catch this and go on. What the work did before it raised must not stay, so
            # all is to run again with savepoints.
            transaction.spoiled = transaction.spoiled or connection.total_changes != before
            raise

    def _lead(self, mine: Write) -> None:
        group = [mine]
        try:
            if self.path is not None:
                self._prepare()
            self._turnstile.enter(self._busy_seconds)
            try:
                bell = self._commit(group)
            finally:
                self._turnstile.leave()
            if bell:
                self._bell.ring()
        except Exception as error:
            while (other := self._line.next()) is not None:  # they would all wait as long for the same answer
                group.append(other)
            for write in group:
                write.error = faults.busy(self.path or "") if isinstance(error, TimeoutError) else error
        except BaseException:  # the leader is interrupted: the others' works are not
            self._line.put_back(group[1:])
            del group[1:]
            raise
        finally:
            for write in group:
                write.finish()

    def _commit(self, group: list[Write]) -> bool:
        """Run and commit the group, which grows while it runs. Returns whether the bell is to ring."""
        connection = self._writing_connection()
        transaction = _Transaction(connection)
        connection.execute("BEGIN IMMEDIATE")
        try:
            if not self._ready:
                migrations.run(connection, self._components, self.path)
            if self._run(transaction, group):
                self._check_not_forked(connection)
                connection.execute("COMMIT")
            else:
                connection.rollback()
                self._run_carefully(transaction, group)
        except BaseException:
            if connection.in_transaction and connection is self._writer:
                connection.rollback()
            raise
        return transaction.bell or any(write.bell and write.error is None for write in group)

    def _run(self, transaction: _Transaction, group: list[Write]) -> bool:
        """Run works until there are no more, or enough. False: one failed, and nothing may be kept."""
        deadline = time.monotonic() + _GROUP_SECONDS
        write: Write | None = group[0]
        self._here.writing = transaction
        try:
            while write is not None:
                write.result = write.work(transaction.connection)
                if transaction.spoiled:
                    return False
                write = self._line.next() if len(group) < _GROUP_MAX and time.monotonic() < deadline else None
                if write is not None:
                    group.append(write)
            return True
        except Exception as error:
            if isinstance(error, sqlite3.Error) and not transaction.connection.in_transaction:
                transaction.fatal = error
            return False
        finally:
            self._here.writing = None

    def _run_carefully(self, transaction: _Transaction, group: list[Write]) -> None:
        """Each under a savepoint: an error undoes its own work only."""
        connection = transaction.connection
        transaction.careful, transaction.bell = True, False
        rest = group
        while rest:
            connection.execute("BEGIN IMMEDIATE")
            if all(self._run_one(transaction, write) for write in rest):
                self._check_not_forked(connection)
                connection.execute("COMMIT")
                return
            # The error ended the whole transaction (a full disk does): the others start over without it.
            rest = [write for write in rest if write.error is None]

    def _run_one(self, transaction: _Transaction, write: Write) -> bool:
        """False when the transaction is gone."""
        self._here.writing = transaction
        try:
            write.result = _under_savepoint(transaction.connection, write.work)
        except Exception as error:
            write.error = error
        finally:
            self._here.writing = None
        return transaction.connection.in_transaction

    def _check_not_forked(self, connection: Connection) -> None:
        if connection is not self._writer:
            raise DatabaseError(
                f"this process was forked inside a write to {self.path}: only the parent goes on with it."
            )

    # ------------------------------------------------------------------ bell

    def bell_count(self) -> int:
        """How often the bell rang: hand it to `wait` after having looked in vain."""
        return self._bell.count

    def wait(self, seen: int, seconds: float) -> int:
        """Wait until the bell rang after `seen`, or `seconds` passed; the new count. It may ring for nothing."""
        return self._bell.wait(seen, seconds)

    def _changed(self) -> bool:
        """Has any other connection committed since last asked? 5 us. Asked by one thread at a time."""
        if self.path is None or not os.path.exists(self.path):
            return False
        with self._pool:
            self._reading += 1  # a fork waits for us
        try:
            if self._watch is None:
                self._watch = (self._open(), -1)
            connection, last = self._watch
            (version,) = connection.execute("PRAGMA data_version").fetchone()
            self._watch = (connection, version)
            return last not in (-1, version)
        except sqlite3.Error:  # read() and write() will say it
            return False
        finally:
            self._count_reader_out()

    # ------------------------------------------------------------------ open and close

    def _prepare(self) -> None:
        """Once per process: the file is there, is ours, and has its tables."""
        if self._ready:
            return
        assert self.path is not None  # noqa: S101 - memory has its tables made in its first transaction
        with self._preparing:
            if self._ready:
                return
            _make_private(self.path)
            connection = self._open()
            try:
                if migrations.are_due(connection, self._components, self.path):
                    self._make_tables(connection)
                self._ready = True
            finally:
                connection.close()

    def _make_tables(self, connection: Connection) -> None:
        door = Turnstile(self.path)  # its own: the process' is the leader's
        try:
            door.enter(self._busy_seconds)
            (mode,) = connection.execute("PRAGMA journal_mode=WAL").fetchone()
            if mode != "wal":
                raise DatabaseError(f"{self.path}: SQLite's write-ahead log does not work here. Use a local disk.")
            connection.execute("BEGIN IMMEDIATE")
            migrations.run(connection, self._components, self.path)
            connection.execute("COMMIT")
        except TimeoutError:
            raise faults.busy(self.path or "") from None
        finally:
            door.close()

    def _open(self) -> Connection:
        connection = sqlite3.connect(
            self.path or ":memory:",
            timeout=self._busy_seconds,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=256,
        )
        connection.execute("PRAGMA temp_store=MEMORY")
        return connection

    def _writing_connection(self) -> Connection:
        if self._writer is None:
            connection = self._open()
            connection.execute(f"PRAGMA synchronous={self._synchronous}")
            connection.execute("PRAGMA fullfsync=ON")  # macOS: its fsync alone does not reach the disk
            connection.execute("PRAGMA cache_spill=OFF")  # nothing of a transaction is in the log before its commit
            connection.execute(f"PRAGMA journal_size_limit={_WAL_BYTES_KEPT}")
            self._writer = connection
        return self._writer

    def close(self) -> None:
        """Close the file; a later use opens it again. What was in memory is gone. Twice is no error."""
        mine = Write(None, False)
        self._line.stand(mine)
        try:
            self._close_connections()
            self._turnstile.close()
        finally:
            self._line.leave()
        self._bell.close()

    def _close_connections(self) -> None:
        with self._pool:
            idle, self._idle = self._idle, []
        writer, self._writer = self._writer, None
        watch, self._watch = self._watch, None
        for connection in [*idle, *([watch[0]] if watch else []), *([writer] if writer else [])]:
            connection.close()
        if self.path is None:
            self._ready = False

    def __del__(self) -> None:
        if hasattr(self, "_pool"):
            self._close_connections()
            self._turnstile.close()

    def __repr__(self) -> str:
        return f"Database({self.path!r})"

    # ------------------------------------------------------------------ fork

    def _before_fork(self) -> None:
        """Wait until nobody uses a connection, and close them all. Gives up after two seconds."""
        deadline = time.monotonic() + _FORK_PATIENCE_SECONDS
        self._forker = Write(None, False)
        inside = self._here.writing is not None or self._here.reading is not None
        self._held = not inside and self._line.stand(self._forker, _FORK_PATIENCE_SECONDS)
        self._pool.acquire()
        while not inside and self._reading and (left := deadline - time.monotonic()) > 0:
            self._pool.wait(left)
        if self.path is not None and self._held:
            writer, self._writer = self._writer, None
            if writer is not None:
                writer.close()
        if self.path is not None and not self._reading:
            for connection in [*self._idle, *([self._watch[0]] if self._watch else [])]:
                connection.close()
            self._idle, self._watch = [], None

    def _after_fork_in_parent(self) -> None:
        self._pool.release()
        if self._held:
            self._line.leave()

    def _after_fork_in_child(self) -> None:
        """The other threads are not here, and what they held is abandoned."""
        if self.path is not None:
            _abandon(self._writer, *self._idle, *([self._watch[0]] if self._watch else []))
            self._writer, self._idle, self._watch = None, [], None
        self._turnstile.close()
        self._bell.forget()
        self._begin_in_process()
        self._ready = self.path is None and self._writer is not None


class _Transaction:
    __slots__ = ("bell", "careful", "connection", "fatal", "spoiled")

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.bell = False  # asked for by a nested write
        self.careful = False  # nested works get savepoints too
        self.spoiled = False  # a nested work failed half-way
        self.fatal: Exception | None = None


class _Here(threading.local):
    """What this thread is inside of."""

    writing: _Transaction | None = None
    reading: Connection | None = None


def _under_savepoint(connection: Connection, work: Callable[[Connection], T]) -> T:
    connection.execute("SAVEPOINT work")
    try:
        result = work(connection)
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK TO work")
            connection.execute("RELEASE work")
        raise
    connection.execute("RELEASE work")
    return result


def _make_private(path: str) -> None:
    """Make the file, 0600. Only when it is not there: closing a file that SQLite has open would drop its locks."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    except FileExistsError:
        pass


# ------------------------------------------------------------------ fork


_all: weakref.WeakSet[Database] = weakref.WeakSet()
_forking: list[Database] = []
_abandoned: list[Connection] = []  # kept, so that the garbage collector does not close them


def _abandon(*connections: Connection | None) -> None:
    """What a thread of the parent was using at the fork. Its copy here believes to hold the parent's locks.

    Ending its transaction lets go of them, in this process only; it wrote nothing yet (cache_spill). It is
    not closed: a statement of a thread that is not here may still be open in it.
    """
    for connection in connections:
        if connection is not None:
            _abandoned.append(connection)
            try:
                connection.rollback()
            except sqlite3.Error:
                pass


def _before_fork() -> None:
    _forking[:] = list(_all)
    for database in _forking:
        database._before_fork()


def _after_fork_in_parent() -> None:
    while _forking:
        _forking.pop()._after_fork_in_parent()


def _after_fork_in_child() -> None:
    while _forking:
        _forking.pop()._after_fork_in_child()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)
