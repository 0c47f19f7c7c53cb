"""What is behind the port: an engine and the emulator on it; and, where it lives in memory, another in its place.

`POST /_reset` is for test suites: between two tests everything is gone and the clock is the machine's, in milliseconds
and under the same address. A new engine is put in the place of the old one, which ends when its last request has:
nothing has to know how to empty itself.
Knows neither protocols nor queues.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from fnqueue.broker.embedded.service import QueueService
from fnqueue.clock import Clock
from fnqueue.database import Database
from fnqueue.emulator.app import Emulator, Setting
from fnqueue.emulator.desk import Desk
from fnqueue.emulator.http import Gone, Request, Send
from fnqueue.schedule.service import ScheduleService

_PATIENCE_SECONDS = 1.0


class Engine(NamedTuple):
    """`service` and `schedules` are of `database`."""

    database: Database
    service: QueueService
    schedules: ScheduleService
    clock: Clock


class Site:
    """Made in the event loop that it serves, of an engine that it closes. `another`: makes an empty one, or None."""

    def __init__(self, engine: Engine, setting: Setting, another: Callable[[], Engine] | None) -> None:
        self._setting, self._another = setting, another
        self._standing = self._stand(engine)
        self._leaving: set[asyncio.Task[None]] = set()
        self._resetting = asyncio.Lock()

    def __call__(self, request: Request, gone: Gone, send: Send) -> Awaitable[None] | None:
        return self._standing.serve(request, gone, send)

    def stop(self) -> None:
        """Long polls end now, with nothing."""
        self._standing.desk.stop()

    async def close(self) -> None:
        """After the server's end. Requests that it left are not waited for, long."""
        for leaving in self._leaving:
            leaving.cancel()
        await self._standing.close(patience_seconds=_PATIENCE_SECONDS)

    def _stand(self, engine: Engine) -> _Standing:
        return _Standing(engine, self._setting, None if self._another is None else self._reset)

    async def _reset(self) -> None:
        async with self._resetting:
            assert self._another is not None
            engine = await asyncio.get_running_loop().run_in_executor(None, self._another)
            old, self._standing = self._standing, self._stand(engine)
            old.desk.stop()
            leaving = asyncio.create_task(old.close())
            self._leaving.add(leaving)
            leaving.add_done_callback(self._leaving.discard)


class _Standing:
    """An engine, the emulator on it, and how many requests wait in it."""

    def __init__(self, engine: Engine, setting: Setting, reset: Callable[[], Awaitable[None]] | None) -> None:
        self._database = engine.database
        self.desk = Desk(engine.database, engine.service, engine.clock)
        self._emulator = Emulator(self.desk, engine.service, engine.schedules, setting, reset=reset)
        self._emulator.ticker.start()
        self._emulator.move()  # tasks that were under way when the last process ended
        self._waiting = 0  # requests that are awaited
        self._left: asyncio.Event | None = None  # when the last of them has; only who ends this asks

    def serve(self, request: Request, gone: Gone, send: Send) -> Awaitable[None] | None:
        waits = self._emulator(request, gone, send)
        return None if waits is None else self._until(waits)

    async def _until(self, waits: Awaitable[None]) -> None:
        self._waiting += 1
        try:
            await waits
        finally:
            self._waiting -= 1
            if self._left is not None and not self._waiting:
                self._left.set()

    async def close(self, *, patience_seconds: float | None = None) -> None:
        self.desk.stop()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience_seconds):
                if self._waiting:
                    self._left = asyncio.Event()
                    await self._left.wait()
                await self.desk.idle()  # the others' works are in its hands
        await self._emulator.close()
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(None, self.desk.close)
        await loop.run_in_executor(None, self._database.close)
