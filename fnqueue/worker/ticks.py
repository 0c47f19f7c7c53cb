"""What a worker does at every heartbeat, besides keeping leases: four small duties towards what is inside.

Renew the right to run of `once` tasks, obey revocations, write down that a task has STARTED, write the health file.
Each is done whether or not the others failed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from fnqueue.broker.names import binding
from fnqueue.errors import FnQueueError
from fnqueue.events import EngineTrouble, LeaseLost
from fnqueue.execution.delivery import Delivery
from fnqueue.execution.execute import Executor
from fnqueue.execution.opening import revocable
from fnqueue.runtime import Runtime
from fnqueue.state.revocations import UNREAD

Duty = Callable[[Sequence[Delivery]], None]


class Ticks:
    """Called by the heartbeat's thread only. `interrupt`: tells a running coroutine that it was cancelled."""

    def __init__(
        self,
        runtime: Runtime,
        executor: Executor,
        interrupt: Callable[[Delivery], None],
        write_health: Callable[[], None],
    ) -> None:
        self._runtime, self._executor = runtime, executor
        self._interrupt, self._write_health = interrupt, write_health

    def begin(self) -> None:
        """Before the first receive: what was cancelled while no worker ran must not start now. Nor while the store is
        away, and nobody knows."""
        if self._runtime.control is not None:
            self._executor.revoked = UNREAD
        self._do("start", self._revoke, [])

    def tick(self, held: Sequence[Delivery]) -> None:
        self._do("health file", lambda _: self._write_health(), held)
        self._do("heartbeat", self._renew_once, held)
        self._do("heartbeat", self._revoke, held)
        self._do("heartbeat", self._write_started, held)

    def _do(self, what: str, duty: Duty, held: Sequence[Delivery]) -> None:
        try:
            duty(held)
        except (FnQueueError, OSError) as error:
            self._runtime.events.publish(EngineTrouble(what=what, queue=None, error=str(error), retry_seconds=0))

    def _renew_once(self, held: Sequence[Delivery]) -> None:
        """The right to run is a lease, too. A run that was replaced has nothing to settle any more."""
        taken = [(delivery, delivery.once) for delivery in held if delivery.once is not None and not delivery.lost]
        if not taken or self._runtime.replay is None:
            return
        renewed = self._runtime.replay.renew(
            [right for _, right in taken], lease_seconds=self._runtime.settings.visibility_seconds
        )
        for (delivery, _), right in zip(taken, renewed, strict=True):
            if right is not None:
                delivery.once = right
            else:
                self._lose(delivery)

    def _lose(self, delivery: Delivery) -> None:
        delivery.lost = True
        self._runtime.events.publish(LeaseLost(id=delivery.id, task=delivery.task_name, queue=binding(delivery.queue)))

    def _revoke(self, held: Sequence[Delivery]) -> None:
        if self._runtime.control is None:
            return
        self._executor.revoked = revoked = self._runtime.control.snapshot()
        if not revoked.any:
            return
        for delivery in held:
            context = delivery.context
            if delivery.started_at is None or context is None or delivery.revoked:
                continue
            if revoked.revokes(revocable(delivery, context.principal.via)):
                delivery.revoked = context.revoked = True
                self._interrupt(delivery)

    def _write_started(self, held: Sequence[Delivery]) -> None:
        """A first delivery's start is written down once it has run for a while: most end before."""
        results = self._runtime.results
        for delivery in held:
            record = delivery.record
            runs = delivery.started_at is not None and not delivery.ended and not delivery.lost
            if results is not None and record is not None and runs and not delivery.recorded:
                delivery.record = results.write_started(record) or record
