"""Keeps messages in flight invisible for as long as their task runs, and brings news of revocations.

A received message is hidden for its visibility timeout. A task may run longer, so one thread per worker asks
the broker for more time once half of it is over, for all messages inside the worker, in batches. The same
tick reads the revocations and records that a task is STARTED.
Knows brokers and deliveries; what else a tick does is handed in.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from fnqueue import quotas
from fnqueue.broker.base import Broker
from fnqueue.broker.names import binding
from fnqueue.clock import Clock
from fnqueue.errors import FnQueueError
from fnqueue.events import EngineTrouble, Events, LeaseLost
from fnqueue.execution.delivery import Delivery

MARGIN_SECONDS = 5.0  # kept from the 12 hours, for the way of the request
_log = logging.getLogger("fnqueue.worker")


@dataclass(frozen=True, slots=True, kw_only=True)
class HeartbeatPowers:
    broker: Broker
    clock: Clock
    events: Events
    visibility_seconds: int
    tick_seconds: float
    #: Called with all that is inside: record STARTED, look at revocations, renew rights, touch the health file.
    each_tick: Callable[[list[Delivery]], None]


class Heartbeat(threading.Thread):
    """`add` when received, `forget` before settling: a forgotten delivery is not touched any more."""

    def __init__(self, powers: HeartbeatPowers) -> None:
        super().__init__(name="fnqueue-heartbeat", daemon=True)
        self._powers = powers
        self._condition = threading.Condition()
        self._active: dict[int, Delivery] = {}
        self._touching: set[int] = set()
        self._closed = False

    def add(self, deliveries: Iterable[Delivery]) -> None:
        with self._condition:
            for delivery in deliveries:
                self._active[id(delivery)] = delivery

    def forget(self, deliveries: Iterable[Delivery]) -> None:
        """Returns when none of them is being touched: a visibility set afterwards stands."""
        with self._condition:
            keys = [id(delivery) for delivery in deliveries]
            for key in keys:
                self._active.pop(key, None)
            self._condition.wait_for(lambda: not any(key in self._touching for key in keys))

    def active(self) -> list[Delivery]:
        with self._condition:
            return list(self._active.values())

    def close(self) -> None:
        with self._condition:
            self._closed = True
            self._condition.notify_all()

    def run(self) -> None:
        while not self._pause():
            try:
                self.beat()
            except Exception as error:  # this thread must live: without it every long task would run twice
                if not isinstance(error, FnQueueError):
                    _log.exception("a heartbeat failed")
                self._powers.events.publish(
                    EngineTrouble(
                        what="heartbeat", queue=None, error=str(error), retry_seconds=self._powers.tick_seconds
                    )
                )

    def _pause(self) -> bool:
        with self._condition:
            return self._condition.wait_for(lambda: self._closed, self._powers.tick_seconds)

    # ---------------------------------------------------------------- one tick

    def beat(self) -> None:
        """One tick. Also called by tests, and by `context.extend()` for one delivery."""
        held = self._hold()
        try:
            try:
                self.extend([delivery for delivery in held if self._half_over(delivery)])
            finally:
                self._powers.each_tick(held)
        finally:
            self._let_go()

    def _hold(self) -> list[Delivery]:
        with self._condition:
            self._touching = set(self._active)
            return list(self._active.values())

    def _let_go(self) -> None:
        with self._condition:
            self._touching = set()
            self._condition.notify_all()

    def _half_over(self, delivery: Delivery) -> bool:
        left = delivery.receipt.deadline - self._powers.clock.monotonic()
        return left < self._powers.visibility_seconds / 2

    def extend(self, deliveries: list[Delivery]) -> None:
        """Another visibility timeout for each. Those that are lost stay in the worker; settling will refuse them.

        Raises the first queue's error, when all queues have been asked.
        """
        by_queue: dict[str, list[Delivery]] = {}
        for delivery in deliveries:
            if not delivery.lost and not delivery.deleted:
                by_queue.setdefault(delivery.queue, []).append(delivery)
        errors: list[FnQueueError] = []
        for queue, group in by_queue.items():
            try:
                self._extend(queue, group)
            except FnQueueError as error:
                errors.append(error)
        if errors:
            raise errors[0]

    def _extend(self, queue: str, group: list[Delivery]) -> None:
        wanted = [(delivery, self._seconds(delivery)) for delivery in group]
        able = [(delivery, seconds) for delivery, seconds in wanted if seconds > 0]
        if not able:
            return
        receipts, failures = self._powers.broker.change_visibility(
            queue, [(delivery.receipt, seconds) for delivery, seconds in able]
        )
        for (delivery, _), receipt in zip(able, receipts, strict=True):
            if receipt is not None:
                delivery.receipt = receipt
        for failure in failures:
            if failure.sender_fault:
                self._lose(able[failure.index][0])

    def _seconds(self, delivery: Delivery) -> int:
        """How much to ask for. Near the 12 hours what is left of them; 0 when that is no more than it has."""
        now = self._powers.clock.monotonic()
        left = int(delivery.received_at + quotas.VISIBILITY_SECONDS_MAX - now - MARGIN_SECONDS)
        wanted = min(self._powers.visibility_seconds, left)
        return wanted if now + wanted > delivery.receipt.deadline else 0

    def _lose(self, delivery: Delivery) -> None:
        delivery.lost = True
        self._powers.events.publish(LeaseLost(id=delivery.id, task=delivery.task_name, queue=binding(delivery.queue)))
