"""Outcomes become writes, in one fixed order: store, sends, message. The only place that ends a message.

Another order would lose work: a message deleted before its outcome is stored, or before what follows is
sent, is gone if this process dies between the two. In this order a crash leaves a message that comes again
and finds its record. Where broker and store share one file the whole list is one transaction.
Nothing is settled after the receipt's deadline: by then a twin may run.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from fnqueue.broker.base import Broker, Entry, Receipt
from fnqueue.broker.names import binding
from fnqueue.clock import Clock
from fnqueue.errors import BrokerError, QueueMissing
from fnqueue.events import Events, LeaseLost
from fnqueue.execution.delivery import Delivery
from fnqueue.execution.plan import Plan, Planner
from fnqueue.outcome import Outcome
from fnqueue.state.parked import Parked
from fnqueue.state.replay import Replay
from fnqueue.state.results import Results
from fnqueue.store.base import Store

Ended = tuple[Delivery, Outcome]


@dataclass(frozen=True, slots=True, kw_only=True)
class SettlePowers:
    broker: Broker
    clock: Clock
    events: Events
    together: Callable[[Callable[[], Any]], Any]
    results: Results | None = None
    replay: Replay | None = None
    parked: Parked | None = None
    store: Store | None = None
    unknown_grace_seconds: float = 3600.0
    worker: str = ""
    #: Called between every two writes, with the write's name. Tests kill the process here.
    at: Callable[[str], None] = lambda point: None


class Settler:
    """Settles batches. One thread at a time: a worker has one settling thread."""

    def __init__(self, powers: SettlePowers) -> None:
        self._powers = powers
        self._dead_letter_queues: dict[str, bool] = {}
        self.planner = Planner(
            clock=powers.clock,
            results=powers.results,
            replay=powers.replay,
            parked=powers.parked,
            has_dead_letter=self._has_dead_letter,
            unknown_grace_seconds=powers.unknown_grace_seconds,
            worker=powers.worker,
        )

    def settle(self, batch: Sequence[Ended]) -> list[Plan]:
        """Write what these outcomes mean, and return the plans that stood.

        Raises an engine's error with nothing lost: call again with the same batch.
        """
        plans = self.plan(batch)
        standing: list[Plan] = self._powers.together(lambda: self.write(plans)) if plans else []
        self.told(standing)
        return standing

    def plan(self, batch: Sequence[Ended]) -> list[Plan]:
        """Plans of those whose lease still holds."""
        held = [(delivery, outcome) for delivery, outcome in batch if not self._lost(delivery)]
        return [self.planner.plan(delivery, outcome) for delivery, outcome in held]

    def write(self, plans: Sequence[Plan]) -> list[Plan]:
        """Store, sends, messages. May run again from the start: every write is idempotent by its id."""
        standing = self._store(plans)
        self._powers.at("stored")
        self._send(standing)
        self._powers.at("sent")
        self._end(standing)
        self._powers.at("ended")
        return standing

    def told(self, plans: Sequence[Plan]) -> None:
        """After the writes are durable: count and publish."""
        for plan in plans:
            if plan.hide_seconds:
                self.planner.hidden.add(plan.hide_seconds)
            if plan.event is not None:
                self._powers.events.publish(plan.event)

    # ---------------------------------------------------------------- store

    def _store(self, plans: Sequence[Plan]) -> list[Plan]:
        """Those whose records were taken, or that had none. A refused record is a twin's word that stands."""
        store = self._powers.store
        records = [record for plan in plans for record in plan.records]
        if store is None or not records:
            return list(plans)
        taken = iter(store.put_many(records, fenced=True))
        standing = []
        for plan in plans:
            written = [next(taken) for _ in plan.records]
            if all(record is not None for record in written) or self._finished(store, plan):
                standing.append(plan)
        return standing

    def _finished(self, store: Store, plan: Plan) -> bool:
        """Whether the record that refused us is final: then the message may go, and nothing else happens."""
        found = store.get(plan.records[0].kind, plan.records[0].id)
        if found is None or not found.final:
            self._lose(plan.delivery)
            return False
        plan.sends, plan.hide_seconds = [], None
        return True

    # ---------------------------------------------------------------- sends

    def _send(self, plans: Sequence[Plan]) -> None:
        by_queue: dict[str, list[Entry]] = {}
        for plan in plans:
            for queue, entry in plan.sends:
                by_queue.setdefault(queue, []).append(entry)
        for queue, entries in by_queue.items():
            failures = self._powers.broker.send(queue, entries)
            if failures:
                # Raised, so that the messages stay and are settled again: their copies are not durable.
                raise BrokerError(f"{queue!r} did not take {len(failures)} messages; the first: {failures[0].text}")

    def _has_dead_letter(self, queue: str) -> bool:
        if self._powers.broker.creates_queues:
            return True
        known = self._dead_letter_queues.get(queue)
        if known is None:
            try:
                self._powers.broker.attributes(queue)
                known = True
            except QueueMissing:
                known = False
            self._dead_letter_queues[queue] = known
        return known

    # ---------------------------------------------------------------- messages

    def _end(self, plans: Sequence[Plan]) -> None:
        delete: dict[str, list[Receipt]] = {}
        hide: dict[str, list[tuple[Plan, int]]] = {}
        for plan in plans:
            if plan.keep:
                continue
            if plan.hide_seconds is None:
                delete.setdefault(plan.delivery.queue, []).append(plan.delivery.receipt)
            else:
                hide.setdefault(plan.delivery.queue, []).append((plan, plan.hide_seconds))
        for queue, receipts in delete.items():
            self._delete(queue, receipts)
        for queue, changes in hide.items():
            self._hide(queue, changes)

    def _delete(self, queue: str, receipts: list[Receipt]) -> None:
        failures = self._powers.broker.delete(queue, receipts)
        unsure = [receipts[f.index] for f in failures if not f.sender_fault]
        if unsure:
            # A receipt that is no longer good is a lost lease; a queue that is busy is asked again.
            raise BrokerError(f"{queue!r} did not delete {len(unsure)} messages")

    def _hide(self, queue: str, changes: list[tuple[Plan, int]]) -> None:
        _, failures = self._powers.broker.change_visibility(
            queue, [(plan.delivery.receipt, seconds) for plan, seconds in changes]
        )
        for failure in failures:
            plan, seconds = changes[failure.index]
            if plan.park and seconds and self._powers.store is not None:
                self.planner.park(plan, seconds)
                self._powers.store.put_many(plan.records, fenced=True)
                self._delete(queue, [plan.delivery.receipt])

    # ---------------------------------------------------------------- leases

    def _lost(self, delivery: Delivery) -> bool:
        held = not delivery.lost and self._powers.clock.monotonic() < delivery.receipt.deadline
        if held or self._deleted(delivery):
            return False
        self._lose(delivery)
        return True

    def _deleted(self, delivery: Delivery) -> bool:
        return delivery.task is not None and delivery.task.options.at_most_once and delivery.started_at is not None

    def _lose(self, delivery: Delivery) -> None:
        self._powers.events.publish(LeaseLost(id=delivery.id, task=delivery.task_name, queue=binding(delivery.queue)))
