"""For a Django project's own tests: `FnQueueTestCase` beside Django's test cases, and `in_memory` for pytest-django.

    class OrderTests(FnQueueTestCase, TestCase): ...

Django's TestCase wraps each test in a transaction that is never committed, so what is deferred there is held, as it
would be before a commit: `assertDeferred` sees it, `captureOnCommitCallbacks(execute=True)` sends it. A worker has no
such transaction around it: what a task defers is sent when the task has ended, if its own transaction was committed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

from django.core.signals import setting_changed
from django.db import connections
from django.test import TestCase

import django_fnqueue
from django_fnqueue.extension import FnQueue
from fnqueue import testing
from fnqueue.clock import ManualClock
from fnqueue.errors import SettingsInvalid
from fnqueue.testing import memory
from fnqueue.testing.chaos import Chaos
from fnqueue.testing.memory import Eagerness, renew_settings

__all__ = ["FnQueueTestCase", "in_memory"]


@contextmanager
def in_memory(
    fn: FnQueue = django_fnqueue.fn,
    clock: ManualClock | None = None,
    *,
    eager: Eagerness = False,
    chaos: Chaos | None = None,
) -> Iterator[FnQueue]:
    """`fnqueue.testing.in_memory` for Django: the project's `fn`; `override_settings(FNQUEUE=...)` counts inside."""
    with memory.in_memory(fn, clock, eager=eager, chaos=chaos, around=_commits), _following_settings(fn):
        yield fn


class FnQueueTestCase(testing.FnQueueTestCase):
    """Before one of Django's: `class Tests(FnQueueTestCase, TestCase)`. `fn`: another queue than `django_fnqueue.fn`.

    What `setUpTestData` and `setUpClass` defer stays in a queue in memory of the class, and no test sees it run.
    """

    fn = django_fnqueue.fn

    @classmethod
    def queue_of_the_class(cls) -> AbstractContextManager[Any]:
        return in_memory(cls.fn)

    @contextmanager
    def queue_in_memory(self, **how: Any) -> Iterator[FnQueue]:
        with in_memory(self.fn, **how) as fn:
            yield fn


# ---------------------------------------------------------------- as in a worker, as in production


@contextmanager
def _commits() -> Iterator[None]:
    """As a worker, which no test's transaction surrounds: what waits for that alone is sent when the run has ended."""
    with ExitStack() as stack:
        for connection in connections.all(initialized_only=True):
            if connection.atomic_blocks and getattr(connection.atomic_blocks[0], "_from_testcase", False):
                stack.enter_context(TestCase.captureOnCommitCallbacks(using=connection.alias, execute=True))
        yield


@contextmanager
def _following_settings(fn: FnQueue) -> Iterator[None]:
    runtime = fn._runtime
    assert runtime is not None
    is_broken = False

    def follow(*, setting: str, **about: Any) -> None:
        nonlocal is_broken
        if not fn.reads_setting(setting) or not (is_broken or fn._runtime is runtime):
            return
        try:
            renew_settings(fn, runtime)
            fn._runtime, is_broken = runtime, False
        except SettingsInvalid:
            # Whoever defers now is told, as in production; and the checks say so.
            fn._runtime, is_broken = None, True

    setting_changed.connect(follow)
    try:
        yield
    finally:
        setting_changed.disconnect(follow)
