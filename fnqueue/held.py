"""Calls that wait for a transaction: sent after its commit, dropped at its rollback, never before either.

A call that leaves before the commit runs against rows that are not there yet, or never will be. The framework's
integration says which transaction is open (`Transaction`) and calls `release` or `drop` when it has ended; each
takes effect once, whoever comes first. Checks, policy and seal were done when the call was made, so nothing but
the queue can refuse it now.
Knows how calls are sent; knows no database and no framework.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from typing import Protocol

from fnqueue.broker.names import binding
from fnqueue.dispatch import Dispatch, Prepared
from fnqueue.errors import SendAfterCommitFailed
from fnqueue.events import CallDropped, CallHeld, Events
from fnqueue.task.handle import HoldState

_log = logging.getLogger("fnqueue.commit")


class Transaction(Protocol):
    """An open transaction of the application, as it is at one moment. Equal to another: the same block of it."""

    def hold(self, held: Held) -> None:
        """Have `held.release()` called once this transaction is committed; if it can be known, `held.drop()` at its
        rollback. What is never released is never sent."""
        ...


class Held:
    """Safe between threads."""

    def __init__(self, calls: Sequence[Prepared], dispatch: Dispatch, events: Events) -> None:
        self.calls = tuple(calls)
        self._dispatch, self._events = dispatch, events
        self._state: HoldState = "held"
        self._failed: frozenset[str] = frozenset()
        self._lock = threading.Lock()

    def tell(self) -> None:
        """A transaction took it."""
        if self._events.wanted(CallHeld):
            for call in self.calls:
                about = {"id": call.id, "task": call.task, "queue": binding(call.queue)}
                self._events.publish(CallHeld(**about, principal_kind=call.principal_kind))

    def state_of(self, id: str) -> HoldState:
        return "failed" if id in self._failed else self._state

    def release(self) -> None:
        """The transaction is committed: send. Raises SendAfterCommitFailed, logged with the ids of what is lost."""
        if not self._leave("sent"):
            return
        wanted: Sequence[Prepared] = self.calls
        try:
            wanted = self._dispatch.still_wanted(self.calls)
            failed = self._dispatch.send(wanted)
        except Exception as error:
            failed = [(call, error) for call in wanted if call.winner is None]
        self._forestalled([call for call in self.calls if call not in wanted])
        if failed:
            raise self._lost(failed)

    def drop(self) -> None:
        """The transaction was rolled back: none of it is sent, and whoever comes next with its dedupe keys is free."""
        if self._leave("dropped"):
            self._dispatch.drop(self.calls)
            for call in self.calls:
                self._tell_dropped(call, None)

    def _leave(self, state: HoldState) -> bool:
        with self._lock:
            if self._state != "held":
                return False
            self._state = state
            return True

    def _forestalled(self, calls: Sequence[Prepared]) -> None:
        """The transaction outlasted the claim on a dedupe key, and another call has it: as if it had come first."""
        self._failed = frozenset(call.id for call in calls)
        for call in calls:
            self._tell_dropped(call, "another call took its dedupe key meanwhile")

    def _lost(self, failed: Sequence[tuple[Prepared, Exception]]) -> SendAfterCommitFailed:
        self._failed |= {call.id for call, _ in failed}
        for call, error in failed:
            _log.error(
                "the transaction is committed, but %s %s to queue %s could not be sent: %s",
                call.task,
                call.id,
                binding(call.queue),
                error,
            )
            self._tell_dropped(call, str(error))
        return SendAfterCommitFailed([(call.id, error) for call, error in failed])

    def _tell_dropped(self, call: Prepared, error: str | None) -> None:
        self._events.publish(CallDropped(id=call.id, task=call.task, queue=binding(call.queue), error=error))
