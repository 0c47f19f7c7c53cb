"""Calls that wait for a transaction: sent after its commit, dropped at its rollback, never before either.

A call that leaves before the commit runs against rows that are not there yet, or never will be. The framework's
integration says which transaction is open (`Transaction`) and calls `release` or `drop` when it has ended, or
`release_all` for all that waited for one commit; each takes effect once, whoever comes first. Checks, policy and
seal were done when the call was made, so nothing but the queue can refuse it now.
Knows how calls are sent; knows no database and no framework.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from fnqueue.broker.names import binding
from fnqueue.dispatch.calls import Prepared
from fnqueue.dispatch.dispatch import Dispatch
from fnqueue.errors import FnQueueError, SendAfterCommitFailed
from fnqueue.events import CallDropped, CallHeld, Events
from fnqueue.task.handle import HoldState

_log = logging.getLogger("fnqueue.commit")


class Transaction(Protocol):
    """An open transaction of the application, as it is at one moment.

    Equal to another: the same block of it, and one that cannot end inside a `with fn.batch():` that began in it.
    """

    def hold(self, held: Held) -> None:
        """Have `held.release()` called once this transaction is committed; if it can be known, `held.drop()` at its
        rollback. What is never released is never sent."""
        ...


class Held:
    """Safe between threads."""

    def __init__(
        self, calls: Sequence[Prepared], dispatch: Dispatch, events: Events, sent: Callable[[], None] = lambda: None
    ) -> None:
        """`sent` is called when they have left."""
        self.calls = tuple(calls)
        self.dispatch, self._events, self.sent = dispatch, events, sent
        self._state: HoldState = "held"
        self._failed: frozenset[str] = frozenset()
        self._instead: dict[str, str] = {}
        self.unsure: list[tuple[Prepared, FnQueueError]] = []
        self._lock = threading.Lock()

    def tell(self) -> None:
        """A transaction took it."""
        if self._events.wanted(CallHeld):
            for call in self.calls:
                about = {"id": call.id, "task": call.task, "queue": binding(call.queue)}
                self._events.publish(CallHeld(**about, principal_kind=call.principal_kind))

    def state_of(self, id: str) -> HoldState:
        return "failed" if id in self._failed else self._state

    def instead_of(self, id: str) -> str | None:
        """The call that had the dedupe key when this one was to leave."""
        return self._instead.get(id)

    def release(self) -> None:
        """The transaction is committed: send. Raises SendAfterCommitFailed, logged with the ids of what is lost."""
        release_all([self])

    def drop(self) -> None:
        """The transaction was rolled back: none of it is sent, and whoever comes next with its dedupe keys is free."""
        if self.leave("dropped"):
            self.dispatch.drop(self.calls)
            for call in self.calls:
                self._tell_dropped(call, None)

    # ---------------------------------------------------------------- what `release_all` asks

    def leave(self, state: HoldState) -> bool:
        """False: it has ended already."""
        with self._lock:
            if self._state != "held":
                return False
            self._state = state
            return True

    def wanted(self) -> Sequence[Prepared]:
        """What is still to be sent. Where another call has the dedupe key by now it is as if that one had come first:
        handles turn to that one. Where that could not be asked the call is in `unsure`: sent, it might be the second.
        """
        self._instead, unsure = self.dispatch.forestalled(self.calls)
        for call in self.calls:
            if call.id in self._instead:
                self._tell_dropped(call, f"{self._instead[call.id]} has its dedupe key")
        self.unsure = [(call, unsure[call.id]) for call in self.calls if call.id in unsure]
        return [call for call in self.calls if call.id not in self._instead and call.id not in unsure]

    def lose(self, call: Prepared, error: Exception) -> None:
        self._failed |= {call.id}
        about = (call.task, call.id, binding(call.queue), error)
        _log.error("the transaction is committed, but %s %s to queue %s could not be sent: %s", *about)
        self._tell_dropped(call, str(error))

    def _tell_dropped(self, call: Prepared, error: str | None) -> None:
        self._events.publish(CallDropped(id=call.id, task=call.task, queue=binding(call.queue), error=error))


def release_all(held: Iterable[Held]) -> None:
    """The transaction that all of these wait for is committed: they leave in tens, as one batch would.

    Raises SendAfterCommitFailed at the end, logged with the ids of what is lost. All else is sent.
    """
    owners: dict[str, Held] = {}
    sends: dict[Dispatch, list[Prepared]] = {}
    failed: list[tuple[Prepared, Exception]] = []
    leaving = [each for each in held if each.leave("sent")]
    for each in leaving:
        owners |= {call.id: each for call in each.calls}
        try:
            sends.setdefault(each.dispatch, []).extend(each.wanted())
            failed += each.unsure
        except Exception as error:
            failed += _unsent(each.calls, error)
    for dispatch, calls in sends.items():
        try:
            failed += dispatch.send(calls)
        except Exception as error:
            failed += _unsent(calls, error)
    for call, reason in failed:
        owners[call.id].lose(call, reason)
    if failed:
        raise SendAfterCommitFailed([(call.id, reason) for call, reason in failed])
    for sent in dict.fromkeys(each.sent for each in leaving):
        sent()


def _unsent(calls: Iterable[Prepared], error: Exception) -> list[tuple[Prepared, Exception]]:
    return [(call, error) for call in calls if call.winner is None]
