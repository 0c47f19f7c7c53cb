"""What falls due: schedules fire, parked messages are sent, expired records swept. Every worker ticks; nobody leads.

A parked message is claimed with a lease, sent, then marked sent. A crash between the two makes a copy with the
same id, which the record of the task absorbs.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass

from fnqueue.broker.base import Broker, Entry
from fnqueue.broker.names import is_fifo
from fnqueue.clock import Clock
from fnqueue.errors import FnQueueError
from fnqueue.events import EngineTrouble, Events
from fnqueue.state.parked import Claimed, Parked
from fnqueue.store.base import Store

SWEEP_SECONDS = 60.0
DUE_AT_ONCE = 100
CLAIM_SECONDS = 60.0
_log = logging.getLogger("fnqueue.worker")


def _none() -> int:
    return 0


@dataclass(frozen=True, slots=True, kw_only=True)
class TickerPowers:
    broker: Broker
    store: Store
    parked: Parked
    clock: Clock
    events: Events
    tick_seconds: float = 1.0
    #: Fires what is due of the schedules; how many calls were sent.
    schedules: Callable[[], int] = _none


class Ticker(threading.Thread):
    def __init__(self, powers: TickerPowers) -> None:
        super().__init__(name="fnqueue-ticker", daemon=True)
        self._powers = powers
        self._closed = threading.Event()
        self._swept_at = powers.clock.monotonic()

    def close(self) -> None:
        self._closed.set()

    def run(self) -> None:
        while not self._closed.wait(self._powers.tick_seconds):
            self.catch_up()

    def catch_up(self) -> None:
        """All that is due now. Raises nothing: this thread must live, or parked messages would wait for ever."""
        try:
            while self.tick() == DUE_AT_ONCE and not self._closed.is_set():
                pass  # as many as one tick takes: there may be more
        except Exception as error:
            if not isinstance(error, FnQueueError):
                _log.exception("a tick failed")
            self._trouble(None, error)

    def tick(self) -> int:
        """Send what is due; how many parked messages were sent."""
        powers = self._powers
        by_queue: dict[str, list[Claimed]] = {}
        for record in powers.parked.due(powers.clock.now(), DUE_AT_ONCE):
            claim = powers.parked.claim(record, lease_seconds=CLAIM_SECONDS)
            if claim is not None:
                by_queue.setdefault(claim.queue, []).append(claim)
        sent = sum(self._send(queue, claims) for queue, claims in by_queue.items())
        self._powers.schedules()
        self._sweep()
        return sent

    def _send(self, queue: str, claims: list[Claimed]) -> int:
        try:
            failures = self._powers.broker.send(queue, [_entry(claim) for claim in claims])
        except FnQueueError as error:  # one queue's trouble is not the others'; the claims lapse, and it is tried again
            self._trouble(queue, error)
            return 0
        lost = {failure.index for failure in failures}
        taken = [claim for index, claim in enumerate(claims) if index not in lost]
        self._powers.parked.sent(*taken)
        return len(taken)

    def _trouble(self, queue: str | None, error: Exception) -> None:
        wait = self._powers.tick_seconds if queue is None else CLAIM_SECONDS
        self._powers.events.publish(
            EngineTrouble(what="ticker", queue=queue, error=str(error) or type(error).__name__, retry_seconds=wait)
        )

    def _sweep(self) -> None:
        now = self._powers.clock.monotonic()
        if now - self._swept_at >= SWEEP_SECONDS:
            self._swept_at = now
            self._powers.store.sweep()


def _entry(message: Claimed) -> Entry:
    generation = message.generation
    return Entry(
        id=message.id,
        body=message.body,
        group=message.group,
        dedupe=f"{message.id}.{generation}" if is_fifo(message.queue) else None,
        attributes={"g": str(generation)} if generation else {},
    )
