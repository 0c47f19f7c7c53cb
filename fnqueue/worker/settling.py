"""The settling thread: gathers outcomes and settles them in batches, again and again until it worked.

Whatever has come in while the last batch was written makes the next one, so one commit (or one call in ten
on SQS) ends many messages and nothing waits for a timer when work is slow.
Knows the settler and the heartbeat; knows no task.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from fnqueue.clock import Clock
from fnqueue.errors import FnQueueError
from fnqueue.events import EngineRecovered, EngineTrouble, Events
from fnqueue.execution.delivery import Delivery
from fnqueue.execution.later import Plan
from fnqueue.execution.settle import Ended, Settler
from fnqueue.outcome import Outcome
from fnqueue.worker.heartbeat import Heartbeat

RETRY_SECONDS_MAX = 10.0
_log = logging.getLogger("fnqueue.worker")


@dataclass(frozen=True, slots=True, kw_only=True)
class SettlingPowers:
    settler: Settler
    heartbeat: Heartbeat
    clock: Clock
    events: Events
    settled: Callable[[Sequence[Ended], Sequence[Plan]], None]
    batch: int  # most outcomes at once
    linger_seconds: float  # how long to wait for a batch to fill while more is running: saves requests on SQS
    busy: Callable[[], bool]  # whether more outcomes are to be expected soon


class Settling(threading.Thread):
    def __init__(self, powers: SettlingPowers) -> None:
        super().__init__(name="fnqueue-settle", daemon=True)
        self._powers = powers
        self._done: queue.SimpleQueue[Ended | None] = queue.SimpleQueue()
        self._failures = 0
        self._giving_up = threading.Event()

    def put(self, delivery: Delivery, outcome: Outcome) -> None:
        self._done.put((delivery, outcome))

    def close(self, timeout_seconds: float, more_seconds: float = 2.0) -> None:
        """Settle what is there and end. After the time what cannot be written is left: its messages come again."""
        self._done.put(None)
        self.join(timeout_seconds)
        if self.is_alive():
            self._giving_up.set()
            self.join(more_seconds)

    def run(self) -> None:
        open_ = True
        while open_:
            first = self._done.get()
            if first is None:
                return
            batch = [first]
            open_ = self._gather(batch)
            self._settle_or_part(batch)

    def _gather(self, batch: list[Ended]) -> bool:
        """Fill the batch with what is there. False: the end was among it."""
        powers = self._powers
        until = powers.clock.monotonic() + powers.linger_seconds
        while len(batch) < powers.batch:
            left = until - powers.clock.monotonic() if powers.linger_seconds else 0
            try:
                item = self._done.get(timeout=left) if left > 0 and powers.busy() else self._done.get_nowait()
            except queue.Empty:
                return True
            if item is None:
                return False
            batch.append(item)
        return True

    def _settle_or_part(self, batch: list[Ended]) -> None:
        """An outcome that nobody can settle (a mistake of ours) must not keep the others, nor end this thread."""
        try:
            self._settle(batch)
        except Exception:
            if len(batch) == 1:
                _log.exception("%r cannot be settled; its message comes again", batch[0][0])
                self._powers.settled(batch, [])
                return
            for ended in batch:
                self._settle_or_part([ended])

    def _settle(self, batch: list[Ended]) -> None:
        powers = self._powers
        deliveries = [delivery for delivery, _ in batch]
        plans: list[Plan] | None = None
        while True:
            powers.heartbeat.forget(deliveries)
            try:
                plans = powers.settler.plan(batch) if plans is None else plans
                standing = powers.settler.finish(plans)
            except FnQueueError as error:
                # Nothing is lost: the leases are kept alive while the engine is asked again.
                powers.heartbeat.add(deliveries)
                if self._wait(error):
                    powers.settled(batch, [])
                    return
                continue
            if self._failures:
                self._failures = 0
                powers.events.publish(EngineRecovered(what="settle", queue=None))
            powers.settled(batch, standing)
            return

    def _wait(self, error: FnQueueError) -> bool:
        wait = min(RETRY_SECONDS_MAX, 0.1 * 2 ** min(self._failures, 8))
        self._failures += 1
        self._powers.events.publish(EngineTrouble(what="settle", queue=None, error=str(error), retry_seconds=wait))
        return self._giving_up.wait(wait)
