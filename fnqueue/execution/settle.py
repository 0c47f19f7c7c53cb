"""Outcomes become writes, in one fixed order: store, sends, message. The only place that ends a message.

Another order would lose work: a message deleted before its outcome is stored, or before what follows is
sent, is gone if this process dies between the two. In this order a crash leaves a message that comes again
and finds its record. Where broker and store share one file the whole list is one transaction.
Nothing is settled after the receipt's deadline: by then a twin may run.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from fnqueue.broker.base import Broker, Entry, Failure
from fnqueue.broker.names import binding, is_fifo
from fnqueue.clock import Clock
from fnqueue.errors import BrokerError, BrokerRefused, QueueMissing, VersionConflict
from fnqueue.events import EngineTrouble, Events, LeaseLost
from fnqueue.execution.delivery import Delivery
from fnqueue.execution.later import Plan
from fnqueue.execution.plan import Planner
from fnqueue.outcome import Outcome
from fnqueue.state.parked import Parked
from fnqueue.state.replay import Replay
from fnqueue.state.results import KIND, Results
from fnqueue.store.base import Record, Store

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
    #: Blobs that no message needs any more, by name. Raises nothing.
    forget: Callable[[Sequence[str]], None] = lambda names: None
    #: Where the message's own end may be left to whoever brought it: called when all the rest is written.
    written: Callable[[Sequence[Plan]], None] | None = None
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
            wanted=powers.events.wanted,
        )

    def settle(self, batch: Sequence[Ended]) -> list[Plan]:
        """Write what these outcomes mean, and return the plans that stood.

        Raises an engine's error with nothing lost: call again, or `finish` the same plans again.
        """
        return self.finish(self.plan(batch))

    def plan(self, batch: Sequence[Ended]) -> list[Plan]:
        return [self.planner.plan(delivery, outcome) for delivery, outcome in batch]

    def finish(self, plans: Sequence[Plan]) -> list[Plan]:
        """Write the plans whose lease still holds. After an error the same plans may be given again."""
        held = [plan for plan in plans if not self._lost(plan.delivery)]
        standing: list[Plan] = self._powers.together(lambda: self.write(held)) if held else []
        spent = [plan.delivery.blob for plan in standing if plan.spent and plan.delivery.blob is not None]
        if spent:
            self._powers.forget(spent)  # last: while there is a message it must find them
        self.told(standing)
        return standing

    def write(self, plans: Sequence[Plan]) -> list[Plan]:
        """Store, sends, messages. May run again from the start: every write is idempotent by its id."""
        standing = self._store(plans)
        self._powers.at("stored")
        self._send(standing)
        self._powers.at("sent")
        if self._powers.written is not None:
            self._powers.written(standing)
        self._end(standing)
        self._powers.at("ended")
        return standing

    def told(self, plans: Sequence[Plan]) -> None:
        """After the writes are durable: count and publish."""
        for plan in plans:
            if plan.hide_seconds:
                self.planner.later.hidden.add(plan.hide_seconds)
            if plan.event is not None:
                self._powers.events.publish(plan.event)

    # ---------------------------------------------------------------- store

    def _store(self, plans: Sequence[Plan]) -> list[Plan]:
        """Those whose records were taken, or that had none. A refused record is a twin's word that stands."""
        store = self._powers.store
        if store is None:
            return list(plans)
        records = [record for plan in plans for record in plan.records]
        taken = iter(store.put_many(records, fenced=True) if records else ())
        answers = [[next(taken) for _ in plan.records] for plan in plans]
        standing = [
            plan
            for plan, written in zip(plans, answers, strict=True)
            if None not in written or self._stands(store, plan, written)
        ]
        parking = [record for plan in standing for record in plan.parking]
        if parking:
            store.put_many(parking, fenced=True)  # refused: it was parked before, and sent
        return standing

    def _stands(self, store: Store, plan: Plan, written: Sequence[Record | None]) -> bool:
        """Whether the message is still this plan's to end. `written`: the store's answers to its records."""
        answers = zip(plan.records, written, strict=True)
        refused = [record for record, taken in answers if taken is None and not self._overrules(store, record)]
        if not refused:
            return True
        found = store.get(refused[0].kind, refused[0].id)
        if found is None or not found.final:
            self._lose(plan.delivery)
            return False
        if not _is_same(found, refused[0]):
            # It ended otherwise before: the message may go, and nothing follows from this run.
            plan.parking, plan.sends, plan.hide_seconds, plan.event = [], [], None, None
            plan.spent = False
        if self._is_of_another(found, plan.delivery):
            self.planner.conflicts(plan)
        return True

    def _is_of_another(self, found: Record, delivery: Delivery) -> bool:
        """Two first deliveries are not compared before they run: that would cost each call a read."""
        results = self._powers.results
        if results is None or found.kind != KIND or delivery.call is None:
            return False
        return results.opened(found).call not in (None, delivery.call)

    def _overrules(self, store: Store, record: Record) -> bool:
        """Whether what stands there was sealed by no key of ours, and is replaced: it is no twin's word, and must
        neither end a call that is to be run again nor have one run for ever."""
        results = self._powers.results
        if results is None or record.kind != KIND:
            return False
        found = store.get(record.kind, record.id)
        if found is None or results.proves(found):
            return False
        try:
            store.put(record, if_version=found.version)
        except VersionConflict:
            return False
        return True

    # ---------------------------------------------------------------- sends

    def _send(self, plans: Sequence[Plan]) -> None:
        by_queue: dict[str, list[tuple[Plan, Entry]]] = {}
        for plan in plans:
            for queue, entry in plan.sends:
                by_queue.setdefault(queue, []).append((plan, entry))
        for queue, sends in by_queue.items():
            self._send_to(queue, sends)

    def _send_to(self, queue: str, sends: Sequence[tuple[Plan, Entry]]) -> None:
        try:
            failures = self._powers.broker.send(queue, [entry for _, entry in sends])
        except (QueueMissing, BrokerRefused) as error:
            self._dead_letter_queues.pop(queue, None)
            failures = [Failure(index, type(error).__name__, str(error)) for index in range(len(sends))]
        for failure in failures:
            self._not_sent(queue, sends[failure.index][0], failure)

    def _not_sent(self, queue: str, plan: Plan, failure: Failure) -> None:
        """Its message stays, and comes again to have the rest of this settlement done. The others go on."""
        wait = plan.delivery.backoff_seconds
        plan.hide_seconds, plan.fate = int(wait), "hidden"
        self._powers.events.publish(
            EngineTrouble(what="settle", queue=queue, error=f"{failure.code}: {failure.text}", retry_seconds=wait)
        )

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
            except BrokerRefused:
                known = True  # we may not look; sending will tell
            self._dead_letter_queues[queue] = known
        return known

    # ---------------------------------------------------------------- messages

    def _end(self, plans: Sequence[Plan]) -> None:
        delete: dict[str, list[Plan]] = {}
        hide: dict[str, list[tuple[Plan, int]]] = {}
        for plan in plans:
            if plan.keep:
                continue
            if plan.hide_seconds is None:
                delete.setdefault(plan.delivery.queue, []).append(plan)
            else:
                hide.setdefault(plan.delivery.queue, []).append((plan, plan.hide_seconds))
        for queue, ended in delete.items():
            # Of a group nothing must start while the one before it may still come again.
            spare = self._powers.written is not None and not is_fifo(queue)
            if not self._unless_refused(queue, partial(self._delete, queue, ended), spare=spare):
                for plan in ended:
                    plan.spent = False
        for queue, changes in hide.items():
            self._unless_refused(queue, partial(self._hide, queue, changes))

    def _unless_refused(self, queue: str, write: Callable[[], None], *, spare: bool = False) -> bool:
        """A queue that answers no to all of it (rights, say) must not keep the others: these messages come again.
        `spare`: nor one that does not answer."""
        try:
            write()
        except BrokerError as error:
            if not spare and not isinstance(error, QueueMissing | BrokerRefused):
                raise
            self._powers.events.publish(EngineTrouble(what="settle", queue=queue, error=str(error), retry_seconds=0))
            return False
        return True

    def _delete(self, queue: str, plans: Sequence[Plan]) -> None:
        failures = self._powers.broker.delete(queue, [plan.delivery.receipt for plan in plans])
        for failure in failures:
            plans[failure.index].spent = False
        unsure = sum(not failure.sender_fault for failure in failures)
        if unsure:
            # A receipt that is no longer good is a lost lease; a queue that is busy is asked again.
            raise BrokerError(f"{queue!r} did not delete {unsure} messages")

    def _hide(self, queue: str, changes: list[tuple[Plan, int]]) -> None:
        _, failures = self._powers.broker.change_visibility(
            queue, [(plan.delivery.receipt, seconds) for plan, seconds in changes]
        )
        for failure in failures:
            plan, seconds = changes[failure.index]
            if plan.park and seconds and self._powers.store is not None:
                self.planner.later.park(plan, seconds)
                self._powers.store.put_many(plan.parking, fenced=True)
                self._delete(queue, [plan])

    # ---------------------------------------------------------------- leases

    def _lost(self, delivery: Delivery) -> bool:
        if delivery.deleted or (not delivery.lost and self._powers.clock.monotonic() < delivery.receipt.deadline):
            return False
        self._lose(delivery)
        return True

    def _lose(self, delivery: Delivery) -> None:
        if delivery.lost:
            return  # it was told when it was seen
        delivery.lost = True
        self._powers.events.publish(LeaseLost(id=delivery.id, task=delivery.task_name, queue=binding(delivery.queue)))


def _is_same(found: Record, ours: Record) -> bool:
    """Whether the stored end is this very settlement's, written before it was interrupted by an engine's failure."""
    return ours.final and found.fence == ours.fence and found.fields.get("state") == ours.fields.get("state")
