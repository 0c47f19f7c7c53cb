"""`in_memory`: an application's own `fn` on an empty engine in memory, with its own settings, tasks, users and hooks.

Only the place changes: what the settings say of policies, limits and the environment's name holds, and every call
is sealed and opened. What must never happen is that a test reaches the queue that a shell or a `.env` is set up for.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Literal, TypeVar

from fnqueue.app import FnQueue
from fnqueue.clock import ManualClock
from fnqueue.errors import OptionInvalid
from fnqueue.execution.apply import run_coroutine
from fnqueue.testing.aids import Aids
from fnqueue.testing.chaos import Chaos
from fnqueue.testing.eager import Eager
from fnqueue.testing.hand import RunCoroutine

F = TypeVar("F", bound=FnQueue)
Eagerness = Literal[False, True, "raise"]


@contextmanager
def in_memory(
    fn: F,
    clock: ManualClock | None = None,
    *,
    eager: Eagerness = False,
    chaos: Chaos | None = None,
    run_coroutine: RunCoroutine = run_coroutine,
) -> Iterator[F]:
    """`fn` on an empty engine in memory with a key of its own, until the block ends; its tasks and hooks stay.

    `clock`: the time to turn; without it a new one. `eager`: calls run as soon as they are sent, and with "raise" what
    they raise comes out of `defer`. `chaos`: `drain()` delivers as a bad day of SQS does.
    """
    if clock is not None and not isinstance(clock, ManualClock):
        raise OptionInvalid(
            f"in_memory(clock={clock!r}): must be a fnqueue.testing.ManualClock. Where your project has a fixture "
            "`clock` of its own, call in_memory(fn) without one, and turn fn.runtime().clock"
        )
    if eager and chaos is not None:
        raise OptionInvalid("in_memory(eager=..., chaos=...): give one of them; chaos is what drain() does to calls")
    before = fn._runtime
    settings, overrides = fn.given
    runtime = fn.make_runtime(settings, overrides, base=".")
    # After the environment had its say: a test must never reach the queue that a shell is set up for.
    runtime.settings = replace(runtime.settings, url="sqlite://", store_url=None, keys=None, keys_file=None)
    runtime.clock = clock or ManualClock()
    runtime.aids = Aids(chaos=chaos, run_coroutine=run_coroutine)
    fn._runtime = runtime
    try:
        if eager:
            Eager(runtime, propagate=eager == "raise")
        yield fn
    finally:
        fn._runtime = before
        runtime.close()
