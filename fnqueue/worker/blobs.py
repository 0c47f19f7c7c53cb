"""Deletes large contents in a worker, beside its other work: those of calls that have ended, and what is to be swept.

In a thread of its own, because a bucket may be slow, and what has ended must not keep what runs. Nothing is lost with
this thread: what it did not delete is swept when its day is over, by whichever worker comes.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Sequence

from fnqueue.clock import Clock
from fnqueue.errors import FnQueueError
from fnqueue.events import EngineTrouble, Events
from fnqueue.security.blobs.blobs import Blobs

SWEEP_SECONDS = 3600.0
#: Names that were heard of in the meantime go with the first, in one request.
GATHER = 1000


class BlobKeeper(threading.Thread):
    def __init__(self, blobs: Blobs, clock: Clock, events: Events) -> None:
        super().__init__(name="fnqueue-blobs", daemon=True)
        self._blobs, self._clock, self._events = blobs, clock, events
        self._gone: queue.SimpleQueue[Sequence[str] | None] = queue.SimpleQueue()
        self._swept_at = clock.monotonic() - SWEEP_SECONDS  # a worker that never lives for an hour sweeps, too

    def forget(self, names: Sequence[str]) -> None:
        """For any thread; returns at once."""
        self._gone.put(names)

    def close(self) -> None:
        """What was heard of until now is still deleted."""
        self._gone.put(None)

    def run(self) -> None:
        closed = False
        while not closed:
            self.sweep()
            names, closed = self._gather()
            self._blobs.forget(names)

    def sweep(self) -> None:
        """If it is time for it."""
        now = self._clock.monotonic()
        if now - self._swept_at < SWEEP_SECONDS:
            return
        self._swept_at = now
        try:
            self._blobs.sweep()
        except FnQueueError as error:
            self._events.publish(EngineTrouble(what="blobs", queue=None, error=str(error), retry_seconds=SWEEP_SECONDS))

    def _gather(self) -> tuple[list[str], bool]:
        """Names to delete, after a wait for the first; and whether there will be no more."""
        names: list[str] = []
        try:
            wait: float | None = SWEEP_SECONDS
            while len(names) < GATHER:
                found = self._gone.get(timeout=wait) if wait is not None else self._gone.get_nowait()
                if found is None:
                    return names, True
                names += found
                wait = None
        except queue.Empty:
            pass
        return names, False
