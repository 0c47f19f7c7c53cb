"""One transaction and the works that share it.

The works run without savepoints, because nearly none fails. If one raises, all is rolled back and each
runs again under a savepoint of its own, so that the error is its caller's alone.
Knows nothing of files, locks or tables.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable
from typing import Protocol, TypeVar

from fnqueue.database.line import Line, Write

T = TypeVar("T")

GROUP_MAX = 64
GROUP_SECONDS = 0.005


class Transaction:
    """What a work runs in, seen by the works inside it."""

    __slots__ = ("bell", "careful", "connection", "spoiled")

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection
        self.bell = False  # asked for by a nested work
        self.careful = False  # nested works get savepoints too
        self.spoiled = False  # a nested work failed half-way

    def nest(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work` here and now. If it raises, nothing that it did stays, even if its caller catches that."""
        if self.careful:
            return _under_savepoint(self.connection, work)
        before = self.connection.total_changes
        try:
            return work(self.connection)
        except BaseException:
            self.spoiled = self.spoiled or self.connection.total_changes != before
            raise


class Here(threading.local):
    """What this thread is inside of."""

    writing: Transaction | None = None
    reading: sqlite3.Connection | None = None


class Writer(Protocol):
    """Whose connection it is: see `Connections`."""

    ready: bool

    def make_tables_inside(self, connection: sqlite3.Connection) -> None: ...
    def check_still_ours(self, connection: sqlite3.Connection) -> None: ...


class Group:
    """The leader's work, and those that it takes along from the line while it runs."""

    def __init__(self, first: Write, line: Line, here: Here) -> None:
        self.writes = [first]
        self.durable = first.durable
        self.committed = False
        self.bell = False  # whether to ring when it is committed
        self._line = line
        self._here = here

    def close_ranks(self) -> bool:
        """Whether the commit must be durable, decided just before it begins: then all who wait may come along.
        If not, those who need it to be will have the next one."""
        self.durable = self.durable or self._line.wants_durable()
        return self.durable

    def commit(self, connection: sqlite3.Connection, owner: Writer) -> None:
        """Run all and commit. Works' errors are left in `writes`.

        Raises what BEGIN or COMMIT do; then nothing is committed.
        """
        transaction = Transaction(connection)
        connection.execute("BEGIN IMMEDIATE")
        try:
            if not owner.ready:
                owner.make_tables_inside(connection)
            if self._run(transaction):
                self._end(connection, owner)
            else:
                connection.rollback()
                self._run_carefully(transaction, owner)
        except BaseException:
            connection.rollback()
            raise
        self.bell = self.bell or transaction.bell

    def _run(self, transaction: Transaction) -> bool:
        """Run works until there are no more, or enough. False: one failed, and nothing may be kept."""
        connection, here, writes = transaction.connection, self._here, self.writes
        deadline = time.monotonic() + GROUP_SECONDS
        write: Write | None = writes[0]
        here.writing = transaction
        try:
            while write is not None:
                write.result = write.work(connection)
                self.bell = self.bell or write.bell
                if transaction.spoiled:
                    return False
                if not self._line or len(writes) >= GROUP_MAX or time.monotonic() > deadline:
                    return True
                write = self._line.next(durable=self.durable)
                if write is not None:
                    writes.append(write)
            return True
        except Exception as error:
            if len(writes) == 1:
                writes[0].error = error
            return False
        finally:
            here.writing = None

    def _run_carefully(self, transaction: Transaction, owner: Writer) -> None:
        connection = transaction.connection
        transaction.careful, transaction.bell, self.bell = True, False, False
        while rest := [write for write in self.writes if write.error is None]:
            connection.execute("BEGIN IMMEDIATE")
            if not owner.ready:
                owner.make_tables_inside(connection)  # those of the first run were rolled back with it
            # An error may end the whole transaction (a full disk does): then the others start over without that work.
            if all(self._run_one(transaction, write) for write in rest):
                self._end(connection, owner)
                return

    def _run_one(self, transaction: Transaction, write: Write) -> bool:
        """False when the transaction is gone."""
        self._here.writing = transaction
        try:
            write.result = _under_savepoint(transaction.connection, write.work)
            self.bell = self.bell or write.bell
        except Exception as error:
            write.error = error
        finally:
            self._here.writing = None
        return transaction.connection.in_transaction

    def _end(self, connection: sqlite3.Connection, owner: Writer) -> None:
        owner.check_still_ours(connection)
        try:
            connection.execute("COMMIT")
            self.committed = True
        except sqlite3.Error:
            raise
        except BaseException:  # Ctrl-C, seen when COMMIT had returned
            self.committed = not connection.in_transaction
            raise


def _under_savepoint(connection: sqlite3.Connection, work: Callable[[sqlite3.Connection], T]) -> T:
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
