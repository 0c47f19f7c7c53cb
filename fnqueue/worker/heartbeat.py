"""Keeps messages in flight invisible for as long as their task runs, and brings news of revocations.

A received message is hidden for its visibility timeout. A task may run longer, so one thread per worker asks
the broker for more time once half of it is over, for all messages inside the worker, in batches. The same
tick reads the revocations and records that a task is STARTED.
Knows brokers and deliveries; what else a tick does is handed in.
"""

from __future__ import annotations

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


@dataclass(frozen=True, slots=True, kw_only=True)
class HeartbeatPowers:
    broker: Broker
    clock: Clock
    events: Events
    visibility_seconds: int
    tick_seconds: float
    #: Called with those that run: record STARTED, look at revocations, touch the health file.
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
            except FnQueueError as error:
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
            self.extend([delivery for delivery in held if self._half_over(delivery)])
            self._powers.each_tick([delivery for delivery in held if delivery.started_at is not None])
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
        """Another visibility timeout for each. Those that are lost stay in the worker; settling will refuse them."""
        by_queue: dict[str, list[Delivery]] = {}
        for delivery in deliveries:
            if not delivery.lost:
                by_queue.setdefault(delivery.queue, []).append(delivery)
        for queue, group in by_queue.items():
            self._extend(queue, group)

    def _extend(self, queue: str, group: list[Delivery]) -> None:
        seconds = min(self._powers.visibility_seconds, quotas.VISIBILITY_SECONDS_MAX)
        receipts, failures = self._powers.broker.change_visibility(
            queue, [(delivery.receipt, seconds) for delivery in group]
        )
        for delivery, receipt in zip(group, receipts, strict=True):
            if receipt is not None:
                delivery.receipt = receipt
        for failure in failures:
            if failure.sender_fault:
                self._lose(group[failure.index])

    def _lose(self, delivery: Delivery) -> None:
        delivery.lost = True
        self._powers.events.publish(LeaseLost(id=delivery.id, task=delivery.task_name, queue=binding(delivery.queue)))
