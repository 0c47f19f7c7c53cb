"""What a worker says when it starts: what it is, what it works on, what is off, what to look at.

At most twelve lines, so that they are read. Paths are absolute, so that web and worker cannot quietly use two
files. No key, no argument, no credential.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fnqueue import __version__
from fnqueue.broker.base import Broker
from fnqueue.broker.names import dead_letter, logical
from fnqueue.cli.screen import count
from fnqueue.errors import FnQueueError, QueueMissing
from fnqueue.runtime import Runtime

LINES_MAX = 12
NAMES_MAX = 4
WITHOUT_STORE = "results and states, progress, once, dedupe, cancel, delays over 15 min (FNQUEUE_STORE_URL is not set)"


@dataclass(frozen=True, kw_only=True)
class Banner:
    facts: dict[str, str]
    warnings: tuple[str, ...]

    def lines(self) -> list[str]:
        """For people: a head, a fact a line, warnings at the end."""
        head = f"fnqueue {__version__}, python {platform.python_version()}, pid {os.getpid()}"
        width = max(len(name) for name in self.facts)
        lines = [head, *(f"  {name.ljust(width)}  {value}" for name, value in self.facts.items())]
        left = LINES_MAX - len(lines)
        shown = list(self.warnings)
        if len(shown) > left:
            shown = [*shown[: left - 1], f"and {len(shown) - left + 1} warnings more"]
        return [*lines, *(f"  warning: {text}" for text in shown)]

    def fields(self) -> dict[str, Any]:
        """For a JSON log."""
        return {"event": "WorkerReady", "version": __version__, "pid": os.getpid(), **self.facts} | (
            {"warnings": list(self.warnings)} if self.warnings else {}
        )


def banner(runtime: Runtime, app: str, queues: Sequence[str], details: Sequence[str]) -> Banner:
    """`queues`: logical names. `details`: what the worker says of itself."""
    engine, settings = runtime.engine, runtime.settings
    facts = {
        "app": f"{app}, {count(len(runtime.registry), 'task')}",
        "queue": engine.queue_shown,
        "store": engine.store_shown,
        **({"blobs": runtime.blobs.place.shown} if settings.blobs_url and runtime.blobs is not None else {}),
        "environment": settings.environment,
        "key": runtime.ring().primary.key_id,
        "queues": ", ".join(queues),
        "runs": ", ".join(details),
    }
    open_tasks = runtime.open_tasks()
    if open_tasks:
        facts["open"] = f"{some([task.name for task in open_tasks])}: no policy, anybody may defer them"
    if engine.store is None:
        facts["off"] = WITHOUT_STORE
    return Banner(facts=facts, warnings=tuple(_warnings(runtime, queues)))


def _warnings(runtime: Runtime, queues: Sequence[str]) -> list[str]:
    known = set(runtime.registry.queues())
    found = [f"no task uses the queue {queue!r}" for queue in queues if queue not in known]
    left_out = sorted(known - set(queues))
    if left_out:
        found.append(f"not served here: {some(left_out)}")
    return found if runtime.engine.broker.creates_queues else found + _absent(runtime, queues)


def _absent(runtime: Runtime, queues: Sequence[str]) -> list[str]:
    """What is missing on Amazon SQS, where only `fnqueue queues create` makes queues."""
    try:
        missing, without = absent(runtime.engine.broker, queues)
    except FnQueueError as error:
        return [f"the queue cannot be asked just now: {error}"]
    found = [not_there(missing)] if missing else []
    return [*found, no_dead_letters(without)] if without else found


def absent(broker: Broker, queues: Sequence[str]) -> tuple[list[str], list[str]]:
    """Of these the queues that do not exist, and those that exist without a dead-letter queue. Asks, makes nothing."""
    missing = [queue for queue in queues if not _exists(broker, queue)]
    there = [queue for queue in queues if queue not in missing]
    return missing, [queue for queue in there if not _exists(broker, dead_letter(logical(queue)))]


def not_there(queues: Sequence[str]) -> str:
    return f"not there: {some(queues)}; make them: fnqueue queues create"


def no_dead_letters(queues: Sequence[str]) -> str:
    return f"no dead-letter queue, failed calls are lost: {some(queues)}; fnqueue queues create"


def _exists(broker: Broker, queue: str) -> bool:
    try:
        broker.attributes(queue)
    except QueueMissing:
        return False
    return True


def some(names: Sequence[str]) -> str:
    more = len(names) - NAMES_MAX
    return ", ".join(names[:NAMES_MAX]) + (f" and {more} more" if more > 0 else "")
