"""The calls of a `with fn.batch():` block, until it ends.

Threads and asyncio tasks that were started inside the block take it with them and may outlive it: what they defer
once it is closed is not taken, and must be sent.
What was deferred in a transaction that began inside the block is held for that transaction and only noted here:
when the block fails it is dropped with the rest, whether its transaction committed or not yet.
A child that is forked inside the block has a copy of it that nobody will send, and a way out of the block that is not
the parent's: its calls are not taken, and what the block holds is the parent's to send or to drop.
One FnQueue may serve several applications, each with its own queue: a block takes the calls of the one it began in.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from typing import Any, Generic, Protocol, TypeVar

from fnqueue.errors import SomeNotSent
from fnqueue.task.handle import Handle, HoldState


class Identified(Protocol):
    @property
    def id(self) -> str: ...


class Droppable(Protocol):
    def drop(self) -> None: ...


T = TypeVar("T", bound=Identified)


class Batch(Generic[T]):
    """`handles` in the order of the calls, filled as they come. Safe between threads. T: a call not sent yet."""

    def __init__(self, *, transaction: object = None, place: object = None, around: Batch[T] | None = None) -> None:
        #: The one that was open when the block began, if any.
        self.transaction = transaction
        self.place, self.around = place, around
        self.handles: list[Handle[Any]] = []
        #: What waits for transactions that began inside the block.
        self.held: list[Droppable] = []
        self._waiting: list[Handle[Any]] = []
        self._calls: list[T] | None = []
        self._state: HoldState = "held"
        self._lost: frozenset[str] = frozenset()
        self._pid = os.getpid()
        self._lock = threading.Lock()

    def state_of(self, id: str) -> HoldState:
        return "failed" if id in self._lost else self._state

    def instead_of(self, id: str) -> str | None:
        return None

    def add(self, calls: Sequence[T], handles: Sequence[Handle[Any]]) -> bool:
        """False: it is closed, or another process', and took nothing."""
        if self._is_inherited():
            return False
        with self._lock:
            if self._calls is None:
                return False
            self._calls += calls
            self._waiting += handles
            self.handles += handles
            return True

    def note_held(self, held: Droppable, handles: Sequence[Handle[Any]]) -> None:
        """These wait for a transaction of their own."""
        with self._lock:
            self.held.append(held)
            self.handles += handles

    def close(self, *, dropped: bool = False) -> list[T]:
        """What it holds: the caller's, to send or to drop. `dropped`: the block failed, so what still waits for a
        transaction is not sent either."""
        if self._is_inherited():
            self._waiting = []
            return []
        with self._lock:
            calls, self._calls = self._calls or [], None
            held, self._state = (self.held, "dropped") if dropped else ([], "sent")
        for each in held:
            each.drop()
        return calls

    def _is_inherited(self) -> bool:
        """Asked before the lock, which a thread of the parent may have held at the fork."""
        return os.getpid() != self._pid

    def deliver(self, send: Callable[[list[T]], list[Handle[Any]]]) -> None:
        """Close it and send its calls: what the sending waits for, the handles that were given out wait for.

        Those that could not be sent say so from now on. Raises what `send` raises.
        """
        calls = self.close()
        try:
            self._follow(send(calls))
        except SomeNotSent as error:
            self._lost = frozenset(call.id for call, _ in error.failed)
            self._follow(error.sent)
            raise
        except BaseException:
            self._lost = frozenset(call.id for call in calls)
            raise

    def _follow(self, made: Sequence[Handle[Any]]) -> None:
        """`made`: of its calls in their order, without those that are lost."""
        waiting = [handle for handle in self._waiting if handle.id not in self._lost]
        for given, new in zip(waiting, made, strict=True):
            given.follow(new)


def innermost(batch: Batch[T] | None, place: object) -> Batch[T] | None:
    """From this block outwards, the first whose calls go to that place."""
    while batch is not None and batch.place is not place:
        batch = batch.around
    return batch
