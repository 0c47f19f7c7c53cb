"""Tells every open Database of this process about a fork. Holds them weakly."""

from __future__ import annotations

import os
import threading
import weakref
from typing import Protocol


class ForkAware(Protocol):
    def before_fork(self) -> None: ...
    def after_fork_in_parent(self) -> None: ...
    def after_fork_in_child(self) -> None: ...


_watched: weakref.WeakSet[ForkAware] = weakref.WeakSet()
_held: list[ForkAware] = []


def watch(what: ForkAware) -> None:
    _watched.add(what)


_one_at_a_time = threading.Lock()


def _before() -> None:
    _one_at_a_time.acquire()
    _held[:] = list(_watched)
    for what in _held:
        what.before_fork()


def _in_parent() -> None:
    while _held:
        _held.pop().after_fork_in_parent()
    _one_at_a_time.release()


def _in_child() -> None:
    while _held:
        _held.pop().after_fork_in_child()
    _one_at_a_time.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_parent=_in_parent, after_in_child=_in_child)
