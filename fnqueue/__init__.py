"""Background functions for Flask and Django: sealed, authorized calls on SQLite or Amazon SQS.

A name is imported when it is first used: `fnqueue healthcheck` runs every few seconds beside a worker, and Python
imports this file before any command of it. What each name is stands in `__init__.pyi`, for editors and mypy.
"""

from typing import Any

__version__ = "0.1.0"

#: Where each public name lives.
_HOMES = {
    "fnqueue.app": "FnQueue",
    "fnqueue.codec.secret": "Secret",
    "fnqueue.context": "TaskContext current_task",
    "fnqueue.errors": (
        "ArgumentError DeadLetter FnQueueError NotYetSent PolicyDenied ResultTimeout RetryLater "
        "SettingsInvalid SoftTimeLimitExceeded SomeNotSent StoreMissing TaskError TaskFailed TaskRevoked"
    ),
    "fnqueue.security.policy": "Decision PolicyContext",
    "fnqueue.security.principal": "Principal",
    "fnqueue.state.results": "Progress",
    "fnqueue.task.handle": "Handle Result State",
    "fnqueue.task.options": "Backoff",
    "fnqueue.task.task": "Task",
    "fnqueue.workflow.signature": "Signature",
}
_HOME = {name: home for home, names in _HOMES.items() for name in names.split()}

__all__ = [
    # the queue and its tasks
    "FnQueue",
    "Task",
    "Signature",
    "Secret",
    "Backoff",
    # what defer gives back
    "Handle",
    "Result",
    "State",
    "Progress",
    "TaskError",
    # inside a task
    "TaskContext",
    "current_task",
    "RetryLater",
    "DeadLetter",
    "TaskRevoked",
    "SoftTimeLimitExceeded",
    # who
    "Principal",
    "PolicyContext",
    "Decision",
    # errors
    "FnQueueError",
    "ArgumentError",
    "NotYetSent",
    "PolicyDenied",
    "ResultTimeout",
    "SettingsInvalid",
    "SomeNotSent",
    "StoreMissing",
    "TaskFailed",
    # about
    "__version__",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'fnqueue' has no attribute {name!r}")
    found = globals()[name] = getattr(__import__(_HOME[name], fromlist=[name]), name)
    return found


def __dir__() -> list[str]:
    return sorted(__all__)
