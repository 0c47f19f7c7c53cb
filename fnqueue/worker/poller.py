"""Receives messages: long polls, never hot, and only for slots that are free.

One poller serves either all queues of an engine that can wait for any of them (SQLite), or one queue (SQS,
where each long poll is a request of its own). After a failure it waits, doubling to 30 s, and says so once.
Knows brokers and slots; knows nothing of envelopes or tasks.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from fnqueue import quotas
from fnqueue.broker.base import Broker, Message, WaitsForAny
from fnqueue.clock import Clock
from fnqueue.errors import FnQueueError
from fnqueue.events import EngineRecovered, EngineTrouble, Events
from fnqueue.worker.slots import Slots

RETRY_SECONDS_MAX = 30.0
IDLE_SECONDS = 20.0
#: Which of high, normal, low is asked first, by turns: 7 of 10 high, 2 normal, 1 low. Low still moves.
TURNS = (0, 0, 0, 1, 0, 0, 0, 2, 0, 1)
_log = logging.getLogger("fnqueue.worker")


@dataclass(frozen=True, slots=True, kw_only=True)
class PollerPowers:
    broker: Broker
    clock: Clock
    slots: Slots
    events: Events
    take: Callable[[list[Message]], None]  # the worker's: hands messages to the pool
    stopping: threading.Event
    wait_seconds: int
    visibility_seconds: int
    burst: bool = False


class Poller(threading.Thread):
    """`queues`: physical names. Grouped by priority when the engine can wait for all of them at once."""

    def __init__(self, powers: PollerPowers, queues: Sequence[Sequence[str]], name: str) -> None:
        super().__init__(name=name, daemon=True)
        self._powers, self._queues = powers, [list(group) for group in queues if group]
        self._turn = 0
        self._failures = 0
        self.idle_from: float | None = None  # burst: when the last look began that was in vain; monotonic

    def run(self) -> None:
        powers = self._powers
        while not powers.stopping.is_set():
            free = powers.slots.wait_free(1.0)
            if not free or powers.stopping.is_set():
                continue
            began = powers.clock.monotonic()
            try:
                got = self._round(free)
            except Exception as error:  # this thread must live, or the worker would look alive and do nothing
                if not isinstance(error, FnQueueError):
                    _log.exception("a receive failed")
                self._trouble(error)
                continue
            self._fine()
            if not got and powers.burst:
                self.idle_from = began
                powers.stopping.wait(0.05)

    # ---------------------------------------------------------------- one round

    def _round(self, free: int) -> int:
        powers, broker = self._powers, self._powers.broker
        if not isinstance(broker, WaitsForAny):
            return self._receive(self._queues[0][0], free, 0 if powers.burst else powers.wait_seconds)
        seen, got = broker.bell_count(), 0
        for queue in self._order():
            if got < free:
                got += self._receive(queue, free - got, 0)
        if not got and not powers.burst and not powers.stopping.is_set():
            broker.wait_any([queue for group in self._queues for queue in group], IDLE_SECONDS, seen=seen)
        return got

    def _receive(self, queue: str, most: int, wait_seconds: int) -> int:
        powers = self._powers
        messages = powers.broker.receive(
            queue,
            max_messages=min(most, powers.broker.receive_max),
            wait_seconds=min(wait_seconds, quotas.WAIT_TIME_SECONDS_MAX),
            visibility_seconds=powers.visibility_seconds,
        )
        if messages:
            powers.take(messages)
        return len(messages)

    def _order(self) -> list[str]:
        groups, self._turn = self._queues, self._turn + 1
        first = min(TURNS[self._turn % len(TURNS)], len(groups) - 1)
        ordered = [groups[first], *(group for index, group in enumerate(groups) if index != first)]
        # Queues of one priority take turns at being asked first, or the first would starve the others.
        return [queue for group in ordered for queue in _rotated(group, self._turn)]

    # ---------------------------------------------------------------- trouble

    def _trouble(self, error: Exception) -> None:
        wait = min(RETRY_SECONDS_MAX, 0.5 * 2 ** min(self._failures, 8))
        self._failures += 1
        self._powers.events.publish(
            EngineTrouble(what="receive", queue=self._queues[0][0], error=str(error), retry_seconds=wait)
        )
        self._powers.stopping.wait(wait)

    def _fine(self) -> None:
        if self._failures:
            self._failures = 0
            self._powers.events.publish(EngineRecovered(what="receive", queue=self._queues[0][0]))


def _rotated(group: list[str], turn: int) -> list[str]:
    at = turn % len(group)
    return group[at:] + group[:at]
