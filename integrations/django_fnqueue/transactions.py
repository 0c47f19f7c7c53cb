"""Calls made inside `atomic` wait for its commit: one of Django's own on-commit hooks per database that is open.

A call waits for every database that is inside `atomic` where it is made: it is sent when the last of them has
committed, and never if one rolled back. Savepoints are Django's: a hook goes with the savepoint that it was made in.
Django tells of commits and not of rollbacks, but it lets go of the hooks that it will not run. So a hook is an object
that nobody else keeps: when it goes and was not called, its calls are dropped.
A hook of somebody else's that raises keeps Django from running those after it, ours too: give it `robust=True`.
Without autocommit and outside `atomic` Django runs no hooks, so there calls leave at once: defer after your commit.
Knows Django's connections of this thread; opens none, and sends nothing itself.
"""

from __future__ import annotations

import gc
import logging
import os
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.db import DEFAULT_DB_ALIAS, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from fnqueue.errors import SendAfterCommitFailed
from fnqueue.held import Held, Transaction, release_all

_log = logging.getLogger("fnqueue.commit")


def current_transaction() -> Transaction | None:
    """For `Hooks.transaction`: the atomic blocks that are open in this thread. None: calls may leave at once."""
    while _vanished:
        _vanished.popleft().drop()
    inside = [each for each in connections.all(initialized_only=True) if each.in_atomic_block]
    return Block(tuple(map(_mark, _awaited(inside)))) if inside else None


def _awaited(inside: Sequence[BaseDatabaseWrapper]) -> Sequence[BaseDatabaseWrapper]:
    """Those whose commit counts. A TestCase wraps all databases in blocks that never commit: in production they were
    not there. Alone, one of them stands for all, so that `captureOnCommitCallbacks` has what was deferred."""
    real = [each for each in inside if not all(map(_of_a_test, each.atomic_blocks))]
    return real or [each for each in inside if each.alias == DEFAULT_DB_ALIAS] or inside[:1]


def _of_a_test(block: Any) -> bool:
    return bool(getattr(block, "_from_testcase", False))


@dataclass(frozen=True, slots=True)
class Mark:
    """The innermost block of one database. The blocks are compared by identity, and kept so that none is mistaken
    for a later one in the same place."""

    alias: str
    blocks: tuple[Any, ...]
    savepoints: tuple[str | None, ...]


def _mark(connection: BaseDatabaseWrapper) -> Mark:
    return Mark(connection.alias, tuple(connection.atomic_blocks), tuple(connection.savepoint_ids))


@dataclass(frozen=True, slots=True)
class Block:
    """The same block of the same transactions if equal."""

    marks: tuple[Mark, ...]

    def hold(self, held: Held) -> None:
        """Raises TransactionManagementError where Django would never run the hook."""
        last = [_last_hook(mark.alias) for mark in self.marks]
        for mark in self.marks:
            _check_runs_hooks(mark.alias)
        calls = self._joinable(last)
        if calls is not None:
            calls.held.append(held)
            return
        calls = _Calls(held, missing=len(self.marks))
        for mark, before in zip(self.marks, last, strict=True):
            line = before.line if before is not None else _Line()
            transaction.on_commit(_Hook(calls, mark, line), using=mark.alias)

    def _joinable(self, last: Sequence[_Hook | None]) -> _Calls | None:
        """Calls that follow each other in one block share a hook, and leave in tens. Not in a TestCase, which takes
        some hooks of a block and leaves others."""
        first = last[0]
        if first is None or any(_of_a_test(block) for mark in self.marks for block in mark.blocks):
            return None
        same = all(
            hook is not None
            and hook.mark == mark
            and hook.calls is first.calls
            and connections[mark.alias].run_on_commit[-1][1] is hook
            for hook, mark in zip(last, self.marks, strict=True)
        )
        return first.calls if same and first.calls.missing == len(self.marks) else None


def _last_hook(alias: str) -> _Hook | None:
    """The newest of ours that waits for the transaction under way."""
    hooks = (entry[1] for entry in reversed(connections[alias].run_on_commit))
    return next((hook for hook in hooks if isinstance(hook, _Hook)), None)


def _check_runs_hooks(alias: str) -> None:
    if not connections[alias].settings_dict["AUTOCOMMIT"]:
        raise transaction.TransactionManagementError(
            f"the database {alias!r} has AUTOCOMMIT=False, with which Django never runs what waits for a commit: "
            "this call would never be sent. Defer it after your commit(), outside of atomic"
        )


class _Calls:
    """Calls with one fate: they wait for the hooks of `missing` databases."""

    def __init__(self, held: Held, *, missing: int) -> None:
        self.held = [held]
        self.missing = missing
        self._pid = os.getpid()

    def one_committed(self) -> None:
        """Raises SendAfterCommitFailed."""
        self.missing -= 1
        if self.missing == 0:
            release_all(self.held)

    def drop(self) -> None:
        if os.getpid() == self._pid:  # a child that was forked meanwhile has but a copy
            for each in self.held:
                each.drop()


class _Line:
    """The hooks of one transaction on one database, by number: who is still to come."""

    def __init__(self) -> None:
        self.made = 0
        self.waiting: set[int] = set()
        self.failed: list[tuple[str, Exception]] = []

    def next(self) -> int:
        self.made += 1
        self.waiting.add(self.made)
        return self.made


class _Hook:
    """What Django calls at the commit. Kept by the connection alone."""

    __slots__ = ("_called", "_number", "calls", "line", "mark")

    def __init__(self, calls: _Calls, mark: Mark, line: _Line) -> None:
        self._called = False
        self.calls, self.mark, self.line = calls, mark, line
        self._number = line.next()

    def __call__(self) -> None:
        """Raises SendAfterCommitFailed for itself and those before it, if it is the last of the transaction.

        An error at once would keep Django from running the hooks of the calls that come after.
        """
        if self._called:
            return
        self._called = True
        line = self.line
        line.waiting.discard(self._number)
        try:
            self.calls.one_committed()
        except SendAfterCommitFailed as error:
            line.failed += error.failed
        if line.failed and not any(number > self._number for number in line.waiting):
            failed, line.failed = line.failed, []
            raise SendAfterCommitFailed(failed)

    def __del__(self) -> None:
        if self._called:
            return
        try:
            self.line.waiting.discard(self._number)
            _let_go(self.calls)
        except Exception:
            _log.exception("calls of a transaction that was rolled back could not be given up")


#: What went while Python collected garbage, until somebody asks for a transaction.
_vanished: deque[_Calls] = deque()
_collecting = False


def _let_go(calls: _Calls) -> None:
    """At once, as the next call may want a dedupe key of these. But garbage is collected at any moment, also while
    this thread holds the lock of a file that giving up a key needs."""
    if _collecting:
        _vanished.append(calls)
    else:
        calls.drop()


def _note_collection(phase: str, _: object) -> None:
    global _collecting
    _collecting = phase == "start"


gc.callbacks.append(_note_collection)
