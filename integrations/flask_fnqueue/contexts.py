"""What an attempt of a task finds around it: an app context of its own, and for some a request that nobody made.

The request is the app's own invention (`GET /` of its SERVER_NAME), for code that will not do without one, as
`url_for` in templates. It carries nothing of the request in which the call was made, and nobody is asked for a
principal because of it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from flask import Flask, has_request_context, request
from flask.ctx import AppContext, RequestContext

_MARK = "fnqueue.of_a_task"
_log = logging.getLogger("fnqueue.flask")


def in_request() -> bool:
    """Whether somebody's request is under way."""
    return has_request_context() and _MARK not in request.environ


@contextmanager
def contexts_of_a_run(app: Flask, *, with_request: bool = False) -> Iterator[None]:
    """Of its own for each attempt, torn down at its end.

    A teardown function that fails is logged and does not undo the run: the task would be repeated for ever.
    """
    makes: list[Callable[[], AppContext | RequestContext]] = [app.app_context]
    if with_request:
        makes.append(partial(app.test_request_context, environ_overrides={_MARK: True}))
    pushed: list[AppContext | RequestContext] = []
    try:
        for make in makes:
            context = make()
            context.push()
            pushed.append(context)
        yield
    finally:
        for context in reversed(pushed):
            try:
                context.pop()
            except Exception:
                name = app.import_name
                _log.exception("%s: a teardown function failed after a task; the task's outcome stands", name)
