"""Logical queue names and the physical ones that carry them. The one place that maps between the two.

A task names a logical queue: "billing", or "billing.fifo" for a FIFO queue. On the engine it is up to
three physical queues (priority high, normal, low) and a dead-letter queue. Two underscores divide
the parts, so a logical name may not contain them. The seal binds the logical name without ".fifo";
a dead-letter queue has a logical name of its own, so that a worker pointed at it runs nothing.

    billing            billing__high   billing__low        billing__dead
    billing.fifo       billing__high.fifo                  billing__dead.fifo

The prefix of the url ("shop-") belongs to the broker: no name here bears it.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from fnqueue.errors import OptionInvalid

FIFO: Final = ".fifo"
PRIORITIES: Final = ("high", "normal", "low")
_LOGICAL = re.compile(r"[A-Za-z0-9-]+(?:_[A-Za-z0-9-]+)*(?:\.fifo)?")
_LENGTH_MAX = 60  # leaves room in SQS's 80 for a prefix, a priority and .fifo


def check_queue(name: str) -> str:
    """The name itself. Raises OptionInvalid when no engine could make a queue of it."""
    if not isinstance(name, str) or len(name) > _LENGTH_MAX or not _LOGICAL.fullmatch(name):
        raise OptionInvalid(
            f"queue {name!r}: 1 to {_LENGTH_MAX} letters, digits, hyphens and single underscores, "
            "not at an end; '.fifo' may follow."
        )
    return name


def is_fifo(name: str) -> bool:
    return name.endswith(FIFO)


@lru_cache(maxsize=1024)
def binding(name: str) -> str:
    """What the seal binds for any name, logical or physical: without priority and `.fifo`."""
    stem = name.removesuffix(FIFO)
    base, _, suffix = stem.partition("__")
    return stem if suffix == "dead" else base


def logical(physical: str) -> str:
    """The task's own name of a physical queue: `billing__high.fifo` -> `billing.fifo`, `billing__dead` stays."""
    return binding(physical) + (FIFO if is_fifo(physical) else "")


def physical(queue: str, priority: str = "normal") -> str:
    stem = queue.removesuffix(FIFO)
    suffix = FIFO if is_fifo(queue) else ""
    return queue if priority == "normal" else f"{stem}__{priority}{suffix}"


def dead_letter(queue: str) -> str:
    """The dead-letter queue of a logical or physical queue. All priorities share one."""
    base = binding(queue)
    return f"{base}__dead{FIFO if is_fifo(queue) else ''}"


def is_dead_letter(name: str) -> bool:
    return name.removesuffix(FIFO).endswith("__dead")
