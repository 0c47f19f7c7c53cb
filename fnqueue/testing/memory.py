"""`in_memory`: an application's own `fn` on an empty engine in memory, with its own settings, tasks, users and hooks.

Only the place changes: what the settings say of policies, limits and the environment's name holds, and every call
is sealed and opened. What must never happen is that a test reaches the queue that a shell or a `.env` is set up for.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from typing import Literal, TypeVar

from fnqueue.app import FnQueue
from fnqueue.clock import ManualClock
from fnqueue.errors import OptionInvalid
from fnqueue.runtime import Runtime
from fnqueue.security.blobs.url import NO_BLOBS
from fnqueue.settings import Settings
from fnqueue.testing.aids import Aids
from fnqueue.testing.chaos import Chaos
from fnqueue.testing.eager import Eager
from fnqueue.testing.hand import Around

F = TypeVar("F", bound=FnQueue)
Eagerness = Literal[False, True, "raise"]


@contextmanager
def in_memory(
    fn: F,
    clock: ManualClock | None = None,
    *,
    eager: Eagerness = False,
    chaos: Chaos | None = None,
    around: Around = nullcontext,
) -> Iterator[F]:
    """`fn` on an empty engine in memory with a key of its own, until the block ends; its tasks and hooks stay.

    `clock`: the time to turn; without it a new one. `eager`: calls run as soon as they are sent, and with "raise" what
    they raise comes out of `defer`. `chaos`: `drain()` delivers as a bad day of SQS does. `around`: each run.
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
    runtime.settings = _kept_in_memory(runtime.settings)
    runtime.clock = clock or ManualClock()
    runtime.aids = Aids(chaos=chaos, around=around)
    fn._runtime = runtime
    try:
        if eager:
            Eager(runtime, propagate=eager == "raise")
        yield fn
    finally:
        fn._runtime = before
        runtime.close()


def renew_settings(fn: FnQueue, runtime: Runtime) -> None:
    """The application's settings changed: they hold from now on, on the same engine. Raises SettingsInvalid."""
    settings, overrides = fn.given
    fresh = fn.make_runtime(settings, overrides, base=".")
    runtime.settings, runtime.hooks = _kept_in_memory(fresh.settings), fresh.hooks
    runtime.ask_again()


def _kept_in_memory(settings: Settings) -> Settings:
    # After the environment had its say: a test must never reach the queue that a shell is set up for.
    # Large arguments likewise; but where the application would refuse them, its tests do.
    off = settings.blobs_url == NO_BLOBS or (settings.blobs_url is None and not settings.url.startswith("sqlite:"))
    blobs_url = NO_BLOBS if off else None
    settings = replace(settings, url="sqlite://", store_url=None, keys=None, keys_file=None)
    return replace(settings, audit_dir=None, blobs_url=blobs_url)
