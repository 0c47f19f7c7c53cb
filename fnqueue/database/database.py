"""One SQLite file, shared by the threads and processes of a machine: read, write, wait for a change.

The one thing to understand is the group commit. The works of all threads that wait at the same moment run in
one transaction (`group.py`), in the thread that leads (`line.py`), and return when it is durable: one fsync
serves them all. A work may run more than once, so it must be repeatable: it touches the connection and
returns a value, and nothing else.
Knows nothing of queues or records. This room is the only one that imports sqlite3.
"""

from __future__ import annotations

import atexit
import os
import sqlite3
import weakref
from collections.abc import Callable, Sequence
from typing import Literal, TypeVar

from fnqueue import forks
from fnqueue.clock import Clock, SystemClock
from fnqueue.database import faults, looking
from fnqueue.database.bell import Bell
from fnqueue.database.connections import Connections
from fnqueue.database.group import Group, Here
from fnqueue.database.line import Line, Write
from fnqueue.database.turnstile import Turnstile
from fnqueue.errors import DatabaseError

Connection = sqlite3.Connection
Durability = Literal["full", "relaxed"]
T = TypeVar("T")

_FORK_PATIENCE_SECONDS = 2.0
_EXIT_PATIENCE_SECONDS = 0.2

#: Those of each Database, until it has closed them. Of objects that refer to each other Python may finalize a
#: connection before its Database, and from 3.13 on it warns of one that nobody closed: what is kept here waits.
_until_closed: dict[int, Connections] = {}
_all: weakref.WeakSet[Database] = weakref.WeakSet()


def _end_all() -> None:
    """When the process ends: Python 3.13 would warn of each connection that nobody closed."""
    for database in list(_all):
        database.end()


atexit.register(_end_all)


class Database:
    """`path` None: in memory, for this process only. Opens nothing until it is used. Safe between threads.

    `durability` "full": a write returns when it is on the disk. "relaxed": a power failure may lose the last
    moments' writes, a crash of the process loses nothing. `busy_seconds`: how long to wait for other processes.
    `setting`: the one that names the file, for the texts of errors.
    Every method that touches the file raises DatabaseError and its kinds.
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | None,
        *,
        durability: Durability = "full",
        clock: Clock | None = None,
        busy_seconds: float = 10.0,
        setting: str = faults.URL,
    ) -> None:
        self.path = None if path is None else os.path.abspath(path)
        synchronous = {"full": "FULL", "relaxed": "NORMAL"}[durability]
        self._connections = Connections(self.path, synchronous, busy_seconds, setting)
        _until_closed[id(self)] = self._connections
        self._turnstile = Turnstile(self.path)
        folder = None if self.path is None else f"{self.path}.bells"
        self._bell = Bell(folder, self._connections.changed, clock or SystemClock())
        self._line = Line()
        self._here = Here()
        self._leads = False
        self._pid = os.getpid()
        self._disowning = forks.ProcessLock()
        forks.watch(self)
        _all.add(self)

    def migrate(self, component: str, steps: Sequence[str]) -> None:
        """Register the tables of `component`: SQL scripts, only ever appended to. They run at the next use."""
        if self._connections.components.get(component) != tuple(steps):
            self._connections.components[component] = tuple(steps)
            self._connections.ready = False

    def look(self) -> bool:
        """Whether the file is there; nothing is made. Raises what first use would. In memory: True."""
        return True if self.path is None else looking.look(self.path, self._connections)

    # ------------------------------------------------------------------ read

    def read(self, work: Callable[[Connection], T]) -> T:
        """What `work` returns, from one snapshot of the file. Waits for no writer. Inside a write: its transaction."""
        self._look_whose_it_is()
        here = self._here
        inside = here.writing.connection if here.writing is not None else here.reading
        if inside is not None:
            try:
                return work(inside)
            except sqlite3.Error as error:
                if not self._connections.learn_from(error, inside):
                    raise
                return work(inside)
        if self.path is None:
            return self.write(lambda connection: self._read_on(connection, work))
        try:
            self._connections.prepare()
            connection = self._connections.borrow()
            try:
                connection.execute("BEGIN")
                return self._read_on(connection, work)
            finally:
                self._connections.give_back(connection)
        except sqlite3.Error as error:
            if self._connections.learn_from(error):
                return self.read(work)
            raise faults.of_sqlite(error, self.path, self._connections.setting) from error

    def _read_on(self, connection: Connection, work: Callable[[Connection], T]) -> T:
        here = self._here
        writing, here.writing, here.reading = here.writing, None, connection
        try:
            return work(connection)
        finally:
            here.writing, here.reading = writing, None

    # ------------------------------------------------------------------ write

    def write(self, work: Callable[[Connection], T], *, bell: bool = False, durable: bool = True) -> T:
        """What `work` returns, once its changes are durable. `bell`: wake those who `wait`.

        `durable=False`, for what costs nothing when a power failure takes it back: it returns without waiting for
        the disk, and is durable together with the next write that is. A crash of the process takes nothing back.

        Inside another write it runs at once, in the same transaction. `work` may run more than once; it must
        neither commit nor roll back. Its error undoes its own changes and is raised here.
        """
        self._look_whose_it_is()
        here = self._here
        if here.writing is not None:
            here.writing.bell = here.writing.bell or bell
            if not self._connections.ready:
                self._connections.make_tables_inside(here.writing.connection)
            try:
                return here.writing.nest(work)
            except sqlite3.Error as error:  # here, and not further out: whoever is around it may catch it
                if not self._connections.learn_from(error, here.writing.connection):
                    raise
                return here.writing.nest(work)
        if here.reading is not None:
            raise RuntimeError("Database.write() inside Database.read(): the reader's snapshot cannot be written to.")
        mine = Write(work, bell, durable)
        if self._line.stand(mine):
            try:
                self._lead(mine)
            finally:
                self._line.leave()
        if mine.error is not None:
            if self._connections.learn_from(mine.error):
                return self.write(work, bell=bell, durable=durable)
            raise self._as_ours(mine.error)
        result: T = mine.result
        return result

    def _as_ours(self, error: BaseException) -> BaseException:
        """An exception of this caller's own: several may have to raise the same fault."""
        if isinstance(error, sqlite3.Error):
            ours: BaseException = faults.of_sqlite(error, self.path, self._connections.setting)
        elif isinstance(error, DatabaseError):
            ours = type(error)(*error.args)
        else:
            return error
        if ours is not error:
            ours.__cause__ = error
        return ours

    def _lead(self, mine: Write) -> None:
        group = Group(mine, self._line, self._here)
        try:
            self._commit(group)
        except Exception as error:
            # All who wait would wait as long for the same answer: they get it now.
            group.writes.extend(iter(self._line.next, None))
            for write in group.writes:
                write.error = error
        except BaseException:  # the leader is interrupted; the others' works are not
            if not group.committed:
                self._line.put_back(group.writes[1:])
                del group.writes[1:]
            raise
        finally:
            for write in group.writes:
                write.finish()

    def _commit(self, group: Group) -> None:
        connections = self._connections
        connections.prepare()
        if connections.replaced:
            connections.reopen()
            self._turnstile.close()
        self._turnstile.enter(connections.busy_seconds)
        try:
            group.commit(connections.writer(durable=group.close_ranks()), connections)
        finally:
            self._turnstile.leave()
        if self.path is None and group.committed:
            connections.ready = True
        if group.bell:
            self._bell.ring()

    def is_writing(self) -> bool:
        """Whether the caller is inside a work of `write`: then nobody else can write, and waiting is in vain."""
        return self._here.writing is not None

    # ------------------------------------------------------------------ bell

    def bell_count(self) -> int:
        """How often the bell rang: hand it to `wait` after having looked in vain."""
        return self._bell.count

    def wait(self, seen: int, seconds: float) -> int:
        """Wait until the bell rang after `seen`, or `seconds` passed; the new count. It may ring for nothing."""
        self._look_whose_it_is()
        return self._bell.wait(seen, seconds)

    def wake(self) -> None:
        """End all waits of this process now. Other processes hear nothing."""
        self._bell.wake()

    # ------------------------------------------------------------------ end, and fork

    def close(self) -> None:
        """Close the file; a later use opens it again. What was in memory is gone. Twice is no error."""
        self._look_whose_it_is()
        self._line.stand(Write())
        try:
            self._connections.close()
            self._turnstile.close()
        finally:
            self._line.leave()
        self._bell.close()

    def end(self) -> None:
        """`close` at the process' end: left alone where a thread that nobody waits for is still writing, and where it
        is the parent's."""
        if self._pid != os.getpid() or not self._line.stand(Write(), _EXIT_PATIENCE_SECONDS):
            return
        try:
            self._connections.close()
        finally:
            self._line.leave()

    def __del__(self) -> None:
        try:
            _until_closed.pop(id(self), None)
            self._look_whose_it_is()
            self._connections.close()
            self._turnstile.close()
            self._bell.close()
        except Exception:  # half made, or the interpreter is ending: there is nobody to tell
            pass

    def __repr__(self) -> str:
        return f"Database({self.path!r})"

    def before_fork(self) -> None:
        """Wait for those who use a connection, two seconds at most, and close them all."""
        self._leads = False
        self._look_whose_it_is()
        here = self._here
        busy_itself = here.writing is not None or here.reading is not None
        self._leads = not busy_itself and self._line.stand(Write(), _FORK_PATIENCE_SECONDS)
        self._connections.hold(leads=self._leads, seconds=0 if busy_itself else _FORK_PATIENCE_SECONDS)

    def after_fork_in_parent(self) -> None:
        self._connections.release()
        if self._leads:
            self._line.leave()

    def after_fork_in_child(self) -> None:
        """The threads that were in line, or held a lock, are not here."""
        self._connections.disown()
        self._turnstile.close()
        self._bell.forget()
        self._line = Line()
        self._here = Here()
        self._pid = os.getpid()

    def _look_whose_it_is(self) -> None:
        """A process that was forked without Python's knowledge starts over before it uses anything of its parent's."""
        if self._pid != os.getpid():
            with self._disowning.here():
                if self._pid != os.getpid():
                    self.after_fork_in_child()
