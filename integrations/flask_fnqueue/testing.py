"""For a Flask application's own tests: `in_memory(app)` for a fixture, and `FnQueueTestCase` for unittest.

    @pytest.fixture
    def fn(app, clock):
        with flask_fnqueue.testing.in_memory(app, clock) as fn:
            yield fn

The app says which `fn` is its own (`app.extensions`). No application context stays open around the test: it would be
that of every request of the test client, and keep `g` and who is logged in from one to the next.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from flask import Flask

from flask_fnqueue.state import EXTENSION
from fnqueue import testing
from fnqueue.app import FnQueue
from fnqueue.clock import ManualClock
from fnqueue.errors import AppNotFound
from fnqueue.testing import memory
from fnqueue.testing.chaos import Chaos
from fnqueue.testing.memory import Eagerness

__all__ = ["FnQueueTestCase", "in_memory"]


@contextmanager
def in_memory(
    app: Flask, clock: ManualClock | None = None, *, eager: Eagerness = False, chaos: Chaos | None = None
) -> Iterator[FnQueue]:
    """The app's FnQueue on an empty engine in memory, with the app's configuration. See `fnqueue.testing.in_memory`.

    Raises AppNotFound where the app has none.
    """
    fn = fn_of(app)
    opened = memory.in_memory(fn, clock, eager=eager, chaos=chaos)
    with app.app_context():
        opened.__enter__()
    try:
        yield fn
    finally:
        opened.__exit__(None, None, None)


def fn_of(app: Flask) -> FnQueue:
    """Raises AppNotFound."""
    state = app.extensions.get(EXTENSION)
    if state is None:
        raise AppNotFound(f"the app {app.import_name!r} has no fnqueue: call fn.init_app(app) where it is made")
    fn: FnQueue = state.fn
    return fn


class FnQueueTestCase(testing.FnQueueTestCase):
    """A test case with `self.app`, from `create_app()`, made anew for each test; `self.fn` is its FnQueue.

    `setUpClass` has no app yet: whatever it defers with an app of its own goes to that app's own queue.
    """

    app: Flask

    def create_app(self) -> Flask:
        """Your application, for a test."""
        name = type(self).__name__
        raise NotImplementedError(f"{name}: def create_app(self): return yourapp.create_app(...)")

    @classmethod
    def queue_of_the_class(cls) -> AbstractContextManager[Any]:
        return nullcontext()

    @contextmanager
    def queue_in_memory(self, **how: Any) -> Iterator[FnQueue]:
        self.app = self.create_app()
        with in_memory(self.app, **how) as fn:
            yield fn
