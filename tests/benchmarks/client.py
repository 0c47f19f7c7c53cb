"""A contestant's web process: defers when it is told to, and says what that cost.

    python -m tests.benchmarks.client CONTESTANT          under the contestant's own interpreter

One JSON line in, one out. The first line out says how a worker is started. A process of its own for everybody,
so that nobody pays for what another one imported.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
from collections.abc import Callable
from typing import Any

from tests.benchmarks.effects import ARGUMENTS


def defer(contestant: Any, count: int, gap_seconds: float = 0) -> dict[str, Any]:
    """One call after the other. `each`: seconds; `cpu`: of this process, for one call."""
    each, cpu = [], time.process_time()
    for _ in range(count):
        started = time.perf_counter()
        contestant.defer(*ARGUMENTS)
        each.append(time.perf_counter() - started)
        if gap_seconds:
            time.sleep(gap_seconds)
    return {"each": each, "cpu": (time.process_time() - cpu) / count}


def fill(contestant: Any, count: int) -> dict[str, Any]:
    """Many calls, as fast as the contestant can."""
    many: Callable[[int], None] | None = getattr(contestant, "defer_many", None)
    step = getattr(contestant, "AT_ONCE", 1)
    for start in range(0, count, step):
        if many is not None:
            many(min(step, count - start))
        else:
            contestant.defer(*ARGUMENTS)
    return {}


def stamped(contestant: Any, count: int, gap_seconds: float) -> dict[str, Any]:
    """Calls that carry when they were made, one every `gap_seconds`."""
    for _ in range(count):
        following = time.monotonic() + gap_seconds
        contestant.defer_stamped(time.monotonic())
        time.sleep(max(0.0, following - time.monotonic()))
    return {}


def begin(contestant: Any) -> dict[str, Any]:
    contestant.begin()
    return {"worker": contestant.worker()}


def main() -> None:
    contestant = importlib.import_module(f"tests.benchmarks.contestants.{sys.argv[1]}")
    verbs = {verb.__name__: verb for verb in (begin, defer, fill, stamped)}
    for line in sys.stdin:
        asked = json.loads(line)
        answer = verbs[asked.pop("do")](contestant, **asked)
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
