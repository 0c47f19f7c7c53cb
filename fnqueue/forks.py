"""What a process must not inherit: a lock that nobody here will free, a connection that is another's.

A forked child has copies of all its parent's objects, but of its threads only the one that forked. So
whatever must not be shared knows which process it belongs to. It learns of a fork in two ways: Python announces
it (`watch`), before and after; but a server that forks in C need not tell Python (uWSGI does not, unless it is
told to), so it also compares process ids when it is used.
Knows nothing of what is watched, and holds it weakly.
"""

from __future__ import annotations

import os
import sys
import threading
import weakref
from collections.abc import Callable
from typing import Any, Generic, Protocol, TypeVar, overload

T = TypeVar("T")

_TRIES = 20
_PATIENCE_SECONDS = 30.0  # imports take seconds on a busy machine, and their end is certain
_watched: weakref.WeakSet[ForkAware] = weakref.WeakSet()
_held: list[ForkAware] = []


class ForkAware(Protocol):
    """Called in the process that forks, by the thread that does. `after_fork_*` also when `before_fork` failed."""

    def before_fork(self) -> None: ...
    def after_fork_in_parent(self) -> None: ...
    def after_fork_in_child(self) -> None: ...


def watch(what: ForkAware) -> None:
    expect()
    _watched.add(what)


class ProcessLock:
    """A lock that each process has one of: `with lock.here(): ...`. The thread that has it may take it again.

    What it guards may be half made in a child, if another thread was making it: see `UNFORKED`.
    """

    __slots__ = ("__weakref__", "_of")

    def __init__(self) -> None:
        self._of: dict[int, threading.RLock] = {}

    def here(self) -> threading.RLock:
        pid = os.getpid()
        # setdefault: of two threads that are first at once, both get the lock of one.
        return self._of.get(pid) or self._of.setdefault(pid, threading.RLock())


#: `with UNFORKED.here(): ...`: a fork waits until no thread is in such a block, half a minute at most. For what a
#: child must not find half made, as imports inside functions that a web process runs: Python's own lock of a module
#: that another thread was importing stays held in the child, which waits for ever at its import.
#: One for all: of two, a fork would hold the one and wait for a thread that holds the other and wants the one.
UNFORKED = ProcessLock()


class made_once(Generic[T]):  # noqa: N801 - it is used as functools.cached_property is
    """An attribute that is made when first asked for, under the object's own `_lock`: by one thread of a process.

    functools.cached_property has one lock for all objects in Python 3.11, which a child may inherit held, and
    none later, so that two threads may each open the file.
    """

    def __init__(self, make: Callable[[Any], T]) -> None:
        self._make, self._name = make, make.__name__
        self.__doc__ = make.__doc__

    @overload
    def __get__(self, instance: None, owner: type) -> made_once[T]: ...
    @overload
    def __get__(self, instance: Any, owner: type) -> T: ...
    def __get__(self, instance: Any, owner: type) -> T | made_once[T]:
        if instance is None:
            return self
        made = instance.__dict__  # where Python looks first from now on
        with instance._lock.here():
            if self._name not in made:
                made[self._name] = self._make(instance)
        found: T = made[self._name]
        return found


# ------------------------------------------------------------------ the announced fork

_one_at_a_time = threading.Lock()
_forks: int | None = None  # the thread that does now, and holds the above
_calm: threading.RLock | None = None
_listens = False


def expect() -> None:
    """Listen for forks from now on.

    Not when this is imported, but once logging is there: the hooks that were registered last are run first, and
    whoever holds logging's lock must not wait for an import that asks for a logger.
    """
    global _listens
    if _listens or not hasattr(os, "register_at_fork"):
        return
    import logging  # noqa: F401

    _listens = True
    os.register_at_fork(before=_before, after_in_parent=_in_parent, after_in_child=_in_child)


def expect_early() -> None:
    """`expect` where that loads nothing, as in every web process: the first call may come when a fork has begun, and
    that would not wait for it."""
    if "logging" in sys.modules:
        expect()


def importing() -> threading.RLock:
    """UNFORKED, and forks are listened for: before the first import inside a function."""
    expect()
    return UNFORKED.here()


def _before() -> None:
    """All that is watched, then UNFORKED: in the order in which a thread takes them."""
    global _calm, _forks
    _one_at_a_time.acquire()
    _forks = threading.get_ident()
    _held.clear()
    _calm = None
    for _ in range(_TRIES):
        if _calm is not None:
            _calm.release()
        for what in _not_held():
            _held.append(what)
            what.before_fork()
        mine = UNFORKED.here()
        _calm = mine if mine.acquire(timeout=_PATIENCE_SECONDS) else None
        if _calm is None or not _not_held():
            return


def _not_held() -> list[ForkAware]:
    """What other threads made meanwhile is to be held, too; what is made under UNFORKED cannot be made any more."""
    return [what for what in _all_watched() if not any(what is held for held in _held)]


def _all_watched() -> list[ForkAware]:
    while True:
        try:
            return list(_watched)
        except RuntimeError:  # another thread made one while we looked
            continue


def _in_parent() -> None:
    _after(lambda what: what.after_fork_in_parent())


def _in_child() -> None:
    _after(lambda what: what.after_fork_in_child())


def _after(tell: Callable[[ForkAware], None]) -> None:
    """One that fails must not keep the others from being told: they hold locks.

    A fork that had begun before another thread had us listen is told to us at its end only: it holds nothing.
    """
    global _forks
    if _forks != threading.get_ident():
        return
    failed: BaseException | None = None
    while _held:
        try:
            tell(_held.pop())
        except BaseException as error:
            failed = failed or error
    if _calm is not None:
        _calm.release()  # the parent's; in the child a copy that nobody asks for
    _forks = None
    _one_at_a_time.release()
    if failed is not None:
        raise failed  # Python reports it; the fork goes on
