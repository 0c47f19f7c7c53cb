"""For your own tests: a queue in memory, time that you turn, and a worker that runs when you say so.

    def test_the_invoice_is_sent_again_after_a_failure(fn, drain, advance): ...

Nothing is faked: calls are checked, authorised, sealed, received, opened, run and settled as in production,
by the same code, on SQLite in memory. The fixtures come with fnqueue, as a pytest plugin (`plugin.py`); for unittest
there is `FnQueueTestCase`, and its like in `flask_fnqueue.testing` and `django_fnqueue.testing`.

A name is imported when it is first used: pytest imports this file in every project that has fnqueue installed.
What each name is stands in `__init__.pyi`, for editors and mypy.
"""

from typing import Any

#: This file is the plugin that pytest finds; the fixtures are in that one. There is no `__dir__` here: pytest asks for
#: each name that a plugin has, and would import all of them.
pytest_plugins = ("fnqueue.testing.plugin",)

#: Where each name lives.
_HOME = {
    "AssertDeferred": "fnqueue.testing.deferred",
    "Chaos": "fnqueue.testing.chaos",
    "Drain": "fnqueue.testing.drain",
    "FnQueueTestCase": "fnqueue.testing.cases",
    "LocalAws": "fnqueue.testing.aws",
    "ManualClock": "fnqueue.clock",
    "Sent": "fnqueue.testing.deferred",
    "in_memory": "fnqueue.testing.memory",
    "local_aws": "fnqueue.testing.aws",
}

__all__ = [
    # the queue
    "in_memory",
    "ManualClock",
    "Drain",
    "Chaos",
    # what was deferred
    "AssertDeferred",
    "Sent",
    # unittest
    "FnQueueTestCase",
    # SQS and EventBridge Scheduler
    "LocalAws",
    "local_aws",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'fnqueue.testing' has no attribute {name!r}")
    found = globals()[name] = getattr(__import__(_HOME[name], fromlist=[name]), name)
    return found
