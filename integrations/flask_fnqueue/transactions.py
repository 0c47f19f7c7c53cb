"""Calls wait for the commit of `db.session`, where the app uses Flask-SQLAlchemy; elsewhere they leave at once.

A call is held while the session of the current app context has flushed or pending writes, and only then: a view
that only reads never commits, and would lose its call. What is sent to the database is seen on the session's own
connections, so Core statements, bulk methods and plain SQL count as flushes do. A savepoint's calls are its own:
dropped with it, or handed to what encloses it.
Knows the one session that belongs to the app context: not what other sessions or engines write. It makes none.
"""

from __future__ import annotations

import re
import weakref
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Literal

from flask import Flask, appcontext_pushed, request_started

from fnqueue.errors import SendAfterCommitFailed
from fnqueue.forks import importing
from fnqueue.held import Held, Transaction, release_all

if TYPE_CHECKING:
    from sqlalchemy import Connection
    from sqlalchemy.orm import Session, SessionTransaction, scoped_session

    Scoped = scoped_session[Session]

#: Statements that change no row. What is not known here is taken for a write: it is held, and sent at the commit.
READS = {"select", "values", "table", "show", "explain", "describe", "desc", "declare", "fetch", "close", "lock"}
READS |= {"set", "reset", "use", "pragma", "begin", "start", "savepoint", "release", "rollback", "commit"}
_FIRST_WORD = re.compile(r"(?:[\s(;]|--[^\n]*+|/\*.*?\*/)*+([a-z]+)", re.IGNORECASE | re.DOTALL)
_WRITES_WITHIN = re.compile(
    r"\b(?:insert\s+into|delete\s+from|merge\s+into|update\s+(?:only\s+)?(?:\"[^\"]+\"|\S+)(?:\s+as\s+\S+)?\s+set)\b",
    re.IGNORECASE,
)


class SessionTransactions:
    """Of one app: finds its `db.session`, whenever the app gets one, and another where a test puts one in its place.
    `current` is what a call must wait for."""

    def __init__(self, app: Flask) -> None:
        self._app = weakref.ref(app)
        self._found: tuple[Scoped, Writes] | None = None
        self._ends_contexts = False
        # Before the first statement: what was written earlier than we look is not known.
        appcontext_pushed.connect(self._look, app)
        # The requests of a test client share the context that a fixture holds open: it was pushed long ago.
        request_started.connect(self._look, app)

    def current(self) -> Transaction | None:
        session, writes = self._session()
        return None if session is None or writes is None else writes.awaited(session)

    def _look(self, app: Flask, **_: Any) -> None:
        self._find(app)

    def _find(self, app: Flask) -> tuple[Scoped, Writes] | None:
        scoped = _scoped_session(app.extensions.get("sqlalchemy"))
        if scoped is None:
            return None
        found = self._found
        if found is None or found[0] is not scoped:
            found = self._found = (scoped, _writes_of(scoped))
        if not self._ends_contexts:
            self._ends_contexts = True
            # Runs before the extension's own, which ends the session: the last that is added is the first to run.
            app.teardown_appcontext_funcs.append(self._torn_down)
        return found

    def _session(self) -> tuple[Session | None, Writes | None]:
        """The session of this app context, if it has one already."""
        app = self._app()
        found = None if app is None else self._find(app)
        if found is None or not found[0].registry.has():
            return None, None
        return found[0].registry(), found[1]

    def _torn_down(self, error: BaseException | None) -> None:
        session, writes = self._session()
        if session is not None and writes is not None:
            writes.left(session)


class Block:
    """A transaction or savepoint: whether it wrote, and the calls that wait for it. Safe between threads, without a
    lock that a fork could inherit: `hold` appends and then looks whether it ended, the end does it the other way."""

    def __init__(self) -> None:
        self.wrote = False
        self.committed = False
        self.held: list[Held] = []
        self._end: Literal["open", "released", "dropped"] | Block = "open"

    def hold(self, held: Held) -> None:
        self.held.append(held)
        if isinstance(self._end, Block):
            self._end.hold(held)
        elif self._end == "released":
            held.release()
        elif self._end == "dropped":
            held.drop()

    def release(self) -> None:
        self._end = "released"
        release_all(self.held)

    def drop(self) -> None:
        self._end = "dropped"
        for held in self.held:
            held.drop()

    def hand_to(self, outer: Block) -> None:
        """The savepoint is released: what it did is now the doing of what encloses it."""
        self._end = outer
        outer.wrote |= self.wrote
        for held in list(self.held):
            outer.hold(held)


class Awaited:
    """A block, as the transaction of one call. Never equal to another: a session may be committed or rolled back
    inside a `with fn.batch():`, so that no call of it may wait for the end of that."""

    def __init__(self, block: Block) -> None:
        self._block = block

    def hold(self, held: Held) -> None:
        self._block.hold(held)


class Writes:
    """What the sessions of one factory write, by SQLAlchemy's events. Shared by all apps that have the same `db`."""

    def __init__(self) -> None:
        self._blocks: weakref.WeakKeyDictionary[SessionTransaction, Block] = weakref.WeakKeyDictionary()
        self._users: weakref.WeakKeyDictionary[Connection, weakref.ref[Session]] = weakref.WeakKeyDictionary()

    def listen(self, scoped: Scoped) -> None:
        from sqlalchemy import event  # there, or the app would have no session

        event.listen(scoped, "after_begin", self._begun)
        event.listen(scoped, "after_commit", self._committed)
        event.listen(scoped, "after_rollback", self._rolled_back)
        event.listen(scoped, "after_transaction_end", self._ended)

    def awaited(self, session: Session) -> Transaction | None:
        """None: nothing is written that could still be rolled back."""
        open_now = list(_open(session))
        if open_now and (any(block.wrote for block in self._blocks_of(open_now)) or _has_pending(session)):
            return Awaited(self._block(open_now[0]))
        return None

    def left(self, session: Session) -> None:
        """The app context ends, and nobody said commit. If there was nothing to commit, nothing is lost by sending:
        what was pending when the call was made was taken back, or changed nothing."""
        blocks = self._blocks_of(_open(session))
        if not blocks or any(block.wrote for block in blocks) or _has_pending(session):
            return  # what waits is dropped when the session is removed
        try:
            release_all([held for block in blocks for held in block.held])
        except SendAfterCommitFailed:
            pass  # logged, with ids. Raised here, it would keep the session from being removed

    def _blocks_of(self, transactions: Iterable[SessionTransaction]) -> list[Block]:
        return [block for each in transactions if (block := self._blocks.get(each)) is not None]

    def _block(self, transaction: SessionTransaction) -> Block:
        return self._blocks.setdefault(transaction, Block())

    # ---------------------------------------------------------------- what SQLAlchemy tells

    def _begun(self, session: Session, transaction: SessionTransaction, connection: Connection) -> None:
        from sqlalchemy import event

        if connection not in self._users:
            event.listen(connection, "before_cursor_execute", self._executing)
            event.listen(connection, "after_cursor_execute", self._executed)
        self._users[connection] = weakref.ref(session)

    def _executing(
        self, connection: Connection, cursor: Any, statement: str, parameters: Any, context: Any, many: bool
    ) -> None:
        if many:  # it may fail at the third row, with two written
            self._executed(connection, cursor, statement, parameters, context, many)

    def _executed(
        self, connection: Connection, cursor: Any, statement: str, parameters: Any, context: Any, many: bool
    ) -> None:
        user = self._users.get(connection)
        session = user() if user is not None else None
        if session is not None and is_write(statement, getattr(context, "compiled", None)):
            innermost = next(_open(session), None)
            if innermost is not None:
                self._block(innermost).wrote = True

    def _committed(self, session: Session) -> None:
        """Of a savepoint, too. The connections are still in use: nothing is sent yet, and a listener that raised
        now would leave the session in a state that only closing it ends."""
        for block in self._ending(session):
            block.committed = True

    def _rolled_back(self, session: Session) -> None:
        """The database has undone it; the session may go on to say so until its own `rollback()`."""
        for block in self._ending(session):
            block.drop()

    def _ending(self, session: Session) -> list[Block]:
        transaction = _innermost(session)
        return [] if transaction is None else self._blocks_of([transaction])

    def _ended(self, session: Session, transaction: SessionTransaction) -> None:
        """The last of a transaction's events: the session is as good as new, so that a send may fail here."""
        block = self._blocks.pop(transaction, None)
        if block is None:
            return
        outer = _enclosing(transaction)
        if not block.committed:
            block.drop()
        elif outer is None:
            block.release()
        else:
            block.hand_to(self._block(outer))


def is_write(statement: str, compiled: Any = None) -> bool:
    """`compiled`: SQLAlchemy's own form of it. What a function does that a SELECT calls is not known."""
    found = _FIRST_WORD.match(statement)
    word = found[1].lower() if found else ""
    if word != "with":
        return word not in READS
    within = getattr(compiled, "ctes", None) or ()
    return any(getattr(cte.element, "is_dml", False) for cte in within) or _WRITES_WITHIN.search(statement) is not None


def _has_pending(session: Session) -> bool:
    """Whether a flush would write. After a failed one the session takes nothing more until its rollback."""
    if not session.is_active:
        return False
    return bool(session.new or session.deleted) or any(session.is_modified(each) for each in session.dirty)


def _innermost(session: Session) -> SessionTransaction | None:
    nested = session.get_nested_transaction()
    return nested if nested is not None else session.get_transaction()


def _enclosing(transaction: SessionTransaction) -> SessionTransaction | None:
    """The next savepoint or transaction around it. (A flush has one of its own between, which is neither.)"""
    outer = transaction.parent
    while outer is not None and not outer.nested and outer.parent is not None:
        outer = outer.parent
    return outer


def _open(session: Session) -> Iterator[SessionTransaction]:
    """From the innermost savepoint outwards, without those that were committed or rolled back already."""
    transaction = _innermost(session)
    while transaction is not None:
        if transaction.is_active:
            yield transaction
        transaction = _enclosing(transaction)


# ---------------------------------------------------------------- one watch per session factory

_watched: weakref.WeakKeyDictionary[Scoped, Writes] = weakref.WeakKeyDictionary()


def _writes_of(scoped: Scoped) -> Writes:
    with importing():  # a child must not find it half made, nor SQLAlchemy half imported
        found = _watched.get(scoped)
        if found is None:
            found = _watched[scoped] = Writes()
            found.listen(scoped)
        return found


def _scoped_session(db: Any) -> Scoped | None:
    """`db.session` of Flask-SQLAlchemy. Other extensions of that name have other sessions, or make one when asked.

    One whose factory is a plain function cannot be listened to: it is as a session of one's own.
    """
    found = vars(db).get("session") if hasattr(db, "__dict__") else None
    if found is None:
        return None
    from sqlalchemy.orm import Session, scoped_session, sessionmaker

    if not isinstance(found, scoped_session):
        return None
    factory = found.session_factory
    made_by_class = isinstance(factory, type) and issubclass(factory, Session)
    return found if made_by_class or isinstance(factory, sessionmaker) else None
