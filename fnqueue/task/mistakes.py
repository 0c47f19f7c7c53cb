"""What is said to those who know another queue's words, or gave a public verb what is none of its kind.

Makes errors and raises none. Knows handles.
"""

from __future__ import annotations

from typing import Any

from fnqueue.errors import NotATask, SettingsInvalid
from fnqueue.task.handle import Handle

#: On a task: words of other queues -> ours.
_OF_A_TASK = {
    "delay": "defer(...)",
    "apply_async": "using(delay_seconds=..., queue=...).defer(...)",
    "enqueue": "defer(...)",
    "aenqueue": "adefer(...)",
    "send": "defer(...)",
    "send_with_options": "using(delay_seconds=..., queue=...).defer(...)",
    "schedule": "using(delay_seconds=...).defer(...)",
    "call_local": "function(...)",
}


def not_settings(given: Any) -> SettingsInvalid:
    return SettingsInvalid(
        [
            f"settings are a mapping of names to values, got {type(given).__name__}: write "
            'FnQueue(url="sqlite:///fnqueue.db"). In Flask: from flask_fnqueue import FnQueue'
        ]
    )


def no_attribute_of_task(task: str, name: str) -> AttributeError:
    instead = _OF_A_TASK.get(name)
    hint = f": write {task.rpartition('.')[2]}.{instead}" if instead else ""
    return AttributeError(f"a task of fnqueue has no {name!r}{hint}")


def no_attribute_of_queue(kind: type, name: str) -> AttributeError:
    hint = ": write fn.defer(task, ...)" if name in ("delay", "enqueue", "send_task") else ""
    if name == "init_app":
        hint = ": it is for programs without a framework; in Flask: from flask_fnqueue import FnQueue"
    return AttributeError(f"{kind.__module__}.{kind.__name__} has no {name!r}{hint}")


def not_a_task(given: Any) -> NotATask:
    if callable(given):
        name = getattr(given, "__qualname__", type(given).__name__)
        return NotATask(f"fn.defer({name}): a plain function, and no worker would know it: put @fn.task above it")
    hint = "write fn.defer(task, 7), not fn.defer(task(7))"
    if isinstance(given, Handle):
        hint = "it is deferred already"
    elif isinstance(given, str):
        hint = "pass the task itself and not its name"
    return NotATask(f"fn.defer({given!r}): the first argument must be a task, got {type(given).__name__}: {hint}")
