"""Running a coroutine so that limits and revocations arrive in it as exceptions of ours.

asyncio can only cancel. The driver below turns a cancellation that we asked for into the exception that
says why (SoftTimeLimitExceeded, TaskRevoked), so that the task can clean up and tell the two apart.
"""

from __future__ import annotations

import types
from collections.abc import Coroutine, Generator
from typing import TYPE_CHECKING, Any

# Imported where a coroutine runs, and not here: asyncio is a fifth of what `from fnqueue import FnQueue` costs, and
# most web processes run none.
if TYPE_CHECKING:
    import asyncio


class HardTimeLimitExceeded(Exception):
    """The coroutine was cancelled because its time limit was over."""


class Reason:
    """Why the running coroutine is about to be cancelled, if it is by us."""

    __slots__ = ("error",)

    def __init__(self) -> None:
        self.error: BaseException | None = None


@types.coroutine
def _driven(coroutine: Coroutine[Any, Any, Any], reason: Reason) -> Generator[Any, Any, Any]:
    import asyncio

    sent: Any = None
    thrown: BaseException | None = None
    while True:
        try:
            awaited = coroutine.send(sent) if thrown is None else coroutine.throw(thrown)
        except StopIteration as end:
            return end.value
        except GeneratorExit as error:
            if isinstance(thrown, GeneratorExit):
                raise  # we are being closed
            # Whoever awaits would be closed by it, and never learn how the task ended.
            raise RuntimeError("the task raised GeneratorExit") from error
        sent = thrown = None
        try:
            sent = yield awaited
        except asyncio.CancelledError as cancelled:
            thrown, reason.error = reason.error or cancelled, None
        except BaseException as error:
            thrown = error


class Runner:
    """One coroutine on the running loop; `interrupt` may be called from the loop's thread only."""

    def __init__(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        self._coroutine = coroutine
        self._reason = Reason()
        self._task: asyncio.Task[Any] | None = None

    async def run(self, soft_seconds: float | None, hard_seconds: float | None, soft: type[BaseException]) -> Any:
        import asyncio

        loop = asyncio.get_running_loop()
        self._task = asyncio.ensure_future(_wrap(self._coroutine, self._reason))
        timers = []
        if soft_seconds is not None:
            timers.append(loop.call_later(soft_seconds, self.interrupt, soft()))
        if hard_seconds is not None:
            timers.append(loop.call_later(hard_seconds, self.interrupt, HardTimeLimitExceeded(_over(hard_seconds))))
        if self._reason.error is not None:
            self._task.cancel()  # interrupted before it began
        try:
            return await self._task
        except asyncio.CancelledError:
            if self._reason.error is None:
                raise
            self._coroutine.close()
            raise self._reason.error from None  # cancelled before its first step: the driver saw nothing of it
        finally:
            for timer in timers:
                timer.cancel()

    def interrupt(self, error: BaseException) -> None:
        if self._task is None:
            self._reason.error = error
        elif not self._task.done():
            self._reason.error = error
            self._task.cancel()


def serve(loop: asyncio.AbstractEventLoop) -> None:
    """Run a loop until it is told to stop. A coroutine that raises SystemExit ends itself, not the loop.

    asyncio lets these two out of `run_forever`, after it gave them to whoever awaits the coroutine: all others on the
    loop would stand still for ever, with the worker looking alive.
    """
    while True:
        try:
            loop.run_forever()
        except (SystemExit, KeyboardInterrupt):
            continue
        return


async def _wrap(coroutine: Coroutine[Any, Any, Any], reason: Reason) -> Any:
    return await _driven(coroutine, reason)


def _over(seconds: float) -> str:
    return f"the time limit of {seconds:g} s is over"
