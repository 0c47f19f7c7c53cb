"""For unittest: a TestCase whose tests each have an empty queue in memory, time to turn, and a worker by hand.

    class InvoiceTests(FnQueueTestCase):
        fn = shop.fn

The queue is put in place around the whole of a test (`run`), so a `setUp` that forgets `super().setUp()` cannot send
to the real one. What `setUpClass` defers stays in a queue of the class, if it begins with `super().setUpClass()`.
It may stand before any other TestCase: `class Tests(FnQueueTestCase, IsolatedAsyncioTestCase)`.
Flask and Django have their own in `flask_fnqueue.testing` and `django_fnqueue.testing`.
"""

from __future__ import annotations

import functools
import inspect
import sys
import unittest
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, ClassVar

from fnqueue.app import FnQueue
from fnqueue.clock import ManualClock
from fnqueue.errors import FnQueueError
from fnqueue.testing.chaos import Chaos
from fnqueue.testing.deferred import AssertDeferred, Sent
from fnqueue.testing.drain import Drain
from fnqueue.testing.memory import Eagerness, in_memory


class FnQueueTestCase(unittest.TestCase):
    """`fn`: your application's. In a test: `self.drain()`, `self.advance(hours=1)`, `self.assertDeferred(task)`.

    `eager`: True, or "raise": see `in_memory`. `chaos`: True, or a `Chaos`; a test that fails says its seed.
    """

    fn: FnQueue
    eager: ClassVar[Eagerness] = False
    chaos: ClassVar[bool | Chaos] = False

    clock: ManualClock
    drain: Drain
    _deferred: AssertDeferred

    @classmethod
    def setUpClass(cls) -> None:
        cls.enterClassContext(cls.queue_of_the_class())
        super().setUpClass()

    @classmethod
    def queue_of_the_class(cls) -> AbstractContextManager[Any]:
        """Around all tests of the class: what `setUpClass` defers reaches no real queue, and no test sees it."""
        fn = getattr(cls, "fn", None)
        return in_memory(fn) if isinstance(fn, FnQueue) else nullcontext()

    def run(self, result: unittest.TestResult | None = None) -> unittest.TestResult | None:
        if _is_skipped(self):
            return super().run(result)
        opened = self._opened()
        try:
            opened.__enter__()
        except Exception:
            if result is None:
                raise
            result.startTest(self)
            result.addError(self, sys.exc_info())
            result.stopTest(self)
            return result
        try:
            return super().run(result)
        finally:
            opened.__exit__(None, None, None)

    def debug(self) -> None:
        with self._opened():
            super().debug()

    @contextmanager
    def queue_in_memory(self, **how: Any) -> Iterator[FnQueue]:
        """Around each test; gives the `fn` to use. `how`: what `in_memory` takes. Frameworks override it."""
        if not isinstance(getattr(self, "fn", None), FnQueue):
            name = type(self).__name__
            raise FnQueueError(f"{name} does not say whose queue it tests: class {name}(...): fn = yourapp.fn")
        with in_memory(self.fn, **how) as fn:
            yield fn

    # ---------------------------------------------------------------- verbs

    def advance(self, *, seconds: float = 0, minutes: float = 0, hours: float = 0, days: float = 0) -> int:
        """Let time pass with a worker at work: each thing runs when it falls due. See `Drain.advance`."""
        return self.drain.advance(seconds=seconds, minutes=minutes, hours=hours, days=days)

    def assertDeferred(self, task: Any, **wanted: Any) -> list[Sent]:  # noqa: N802 - as unittest names them
        """Some call of `task` was deferred in this test, or is held for a commit. See `AssertDeferred`."""
        return self._deferred(task, **wanted)

    def assertNotDeferred(self, task: Any, **wanted: Any) -> None:  # noqa: N802
        """No call of `task` was deferred in this test, nor held."""
        self._deferred.not_(task, **wanted)

    # ---------------------------------------------------------------- helpers

    @contextmanager
    def _opened(self) -> Iterator[None]:
        self.clock = ManualClock()
        chaos = self._chaos()
        with self.queue_in_memory(clock=self.clock, eager=self.eager, chaos=chaos) as fn:
            self.fn = fn
            self.drain, self._deferred = Drain(fn.runtime), AssertDeferred(fn)
            if chaos is not None:
                method = getattr(self, self._testMethodName)
                setattr(self, self._testMethodName, _noting(method, f"FNQUEUE_CHAOS_SEED={chaos.seed}"))
            yield

    def _chaos(self) -> Chaos | None:
        if isinstance(self.chaos, Chaos):
            return self.chaos.again()
        return Chaos() if self.chaos else None


def _noting(method: Callable[..., Any], seed: str) -> Callable[..., Any]:
    """The test method; what it raises says how to see the same again."""

    def note(error: Exception) -> None:
        error.add_note(f"fnqueue's chaos: to see the same again, set {seed}")

    @functools.wraps(method)
    def noting(*args: Any) -> Any:
        try:
            return method(*args)
        except Exception as error:
            note(error)
            raise

    @functools.wraps(method)
    async def noting_async(*args: Any) -> Any:
        try:
            return await method(*args)
        except Exception as error:
            note(error)
            raise

    return noting_async if inspect.iscoroutinefunction(method) else noting


def _is_skipped(test: unittest.TestCase) -> bool:
    method = getattr(test, test._testMethodName, None)
    return bool(getattr(type(test), "__unittest_skip__", False) or getattr(method, "__unittest_skip__", False))
