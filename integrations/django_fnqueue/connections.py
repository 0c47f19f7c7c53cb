"""Django's database connections around attempts in a worker: what is old or broken goes, nothing leaks to the next.

Django does this around requests, and a worker has none. Connections belong to a thread: those of a worker's thread
are kept between attempts as CONN_MAX_AGE says, go back to their pool where there is one, and are asked whether they
still live when an attempt first uses them, whatever CONN_HEALTH_CHECKS says: a request that fails is made again by
its user, a task is not. (A pool hands out what it has: there set CONN_HEALTH_CHECKS.)
Inside `atomic` of a caller, as in a TestCase, the connections are the caller's, and nothing is touched.
Knows threads; coroutines are in threads.py.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.conf import settings
from django.db import connections, reset_queries
from django.db.backends.base.base import BaseDatabaseWrapper

from fnqueue.task.task import Task

_log = logging.getLogger("fnqueue.django")


@contextmanager
def around_attempt(task: Task[Any, Any, Any]) -> Iterator[None]:
    """For `Hooks.attempt`."""
    if any(connection.in_atomic_block for connection in _made()):
        yield
        return
    _before()
    try:
        yield
    finally:
        _after(task.name)


def close_all() -> None:
    """For `Hooks.thread_done`: what this thread has open is closed, whatever its age."""
    for connection in _made():
        _forget(connection)


def leave(task: str) -> None:
    """The same at the end of an attempt that had this thread to itself."""
    _after(task)
    close_all()


def _made() -> list[BaseDatabaseWrapper]:
    """This thread's. Opens none."""
    found: list[BaseDatabaseWrapper] = connections.all(initialized_only=True)
    return found


def _before() -> None:
    if settings.DEBUG:  # else nothing is recorded, but by a test that counts queries and wants them
        reset_queries()
    for connection in _made():
        _close_if_old(connection)
        # Asked at the first query, so an attempt that makes none pays nothing.
        connection.health_check_enabled = connection.connection is not None
        connection.health_check_done = False


def _after(task: str) -> None:
    for connection in _made():
        if connection.in_atomic_block:
            _log.warning("%s left a transaction open in the database %r: rolled back", task, connection.alias)
            _forget(connection)
        else:
            _close_if_old(connection)


def _close_if_old(connection: BaseDatabaseWrapper) -> None:
    """By Django's rules: its age, an error on it that was none of the data's, an autocommit that was not restored."""
    try:
        connection.close_if_unusable_or_obsolete()
    except Exception:
        _log.warning("the connection to the database %r is broken and dropped", connection.alias, exc_info=True)
        _forget(connection)


def _forget(connection: BaseDatabaseWrapper) -> None:
    """Close, and have Django make another object when one is wanted: this one may remember a transaction."""
    try:
        connection.close()
    except Exception as error:
        _log.debug("closing the connection to the database %r failed: %s", connection.alias, error)
    finally:
        del connections[connection.alias]
