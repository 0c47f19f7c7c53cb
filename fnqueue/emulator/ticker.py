"""Has schedules fire when they are due, and sleeps until then.

It looks when a schedule was changed, when the next one is due, when the clock was turned, and every few seconds
whatever happens: a machine that slept does not count the seconds, and another process may have written to the file.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
from typing import Final

from fnqueue.emulator.desk import Desk
from fnqueue.schedule.service import ScheduleService

_log = logging.getLogger("fnqueue.emulator")
_LOOK_SECONDS: Final = 5.0
_AGAIN_SECONDS: Final = 1.0


class Ticker:
    """Made in the event loop that it runs in. Without `start` nothing fires."""

    def __init__(self, desk: Desk, service: ScheduleService) -> None:
        self._desk, self._service = desk, service
        self._changed = asyncio.Event()
        self._one = asyncio.Lock()
        self._resumes_after: tuple[float, int] | None = (0.0, 0)
        self._running: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._running = asyncio.get_running_loop().create_task(self._run())

    async def stop(self) -> None:
        if self._running is not None:
            self._running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._running

    def look(self) -> None:
        """Something may be due sooner than was known."""
        self._changed.set()

    async def catch_up(self) -> float | None:
        """Fire all that is due; when there is something next, unix seconds. Raises DatabaseError."""
        async with self._one:
            while (after := self._resumes_after) is not None and not self._desk.stopping:
                self._resumes_after, notes = await self._desk.do(functools.partial(self._service.resume, after))
                _tell(notes)
            while not self._desk.stopping:
                due_at, notes = await self._desk.do(self._service.tick)
                _tell(notes)
                if due_at is None or due_at > self._desk.clock.now():
                    return due_at
        return None

    async def _run(self) -> None:
        while await self._ended_deletion():
            pass
        while not self._desk.stopping:
            self._changed.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), await self._pause())

    async def _pause(self) -> float:
        """Seconds until there is something to do."""
        try:
            due_at = await self.catch_up()
        except Exception:
            _log.exception("schedules could not be looked at; in a second again")
            return _AGAIN_SECONDS
        return _LOOK_SECONDS if due_at is None else max(0.0, min(_LOOK_SECONDS, due_at - self._desk.clock.now()))

    async def _ended_deletion(self) -> bool:
        """One trip of what a server that was killed did not end."""
        try:
            return await self._desk.do(self._service.delete_some)
        except Exception:
            _log.exception("a schedule group is not deleted to the end; the next start goes on")
            return False


def _tell(notes: list[str]) -> None:
    for note in notes:
        _log.warning("%s", note)
