"""One call to one sealed entry, and entries to the broker: all that happens when a view defers.

Preparing is in `preparing`, where the entry goes in `entries`; here it is sent, or becomes a parked record when the
delay is longer than the queue can hold.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from msgspec import structs

from fnqueue.broker.names import binding
from fnqueue.claims import Claims
from fnqueue.dispatch.calls import Prepared, SendPowers
from fnqueue.dispatch.entries import Entries
from fnqueue.dispatch.preparing import Preparer
from fnqueue.errors import FnQueueError, SendRefused
from fnqueue.events import CallDeferred
from fnqueue.task.task import Task


class Dispatch:
    """Safe between threads."""

    def __init__(self, powers: SendPowers) -> None:
        self._powers = powers
        self._claims = Claims(powers.dedupe, powers.clock)
        self._entries = Entries(powers)
        #: Everything but the send: see `Preparer.prepare`.
        self.prepare = Preparer(powers, self._entries, self._claims).prepare

    def physical_queue(self, task: Task[Any, Any, Any], queue: str) -> str:
        """The one of a logical queue that the task's priority means. Raises OptionInvalid."""
        return self._entries.physical_queue(task, queue)

    def has_priorities(self, queue: str) -> bool:
        """Whether a logical queue has a physical one for each priority."""
        return self._entries.has_priorities(queue)

    def send(self, calls: Sequence[Prepared]) -> list[tuple[Prepared, Exception]]:
        """Send all, in tens per queue, in order. Returns those that were not taken, each with its error.

        Raises what the engine raises when none of a queue's calls could be sent and nothing went before.
        """
        todo = [call for call in calls if call.winner is None]
        try:
            failed = self._send(todo)
        except BaseException:
            # Their blobs stay: an error does not say that the queue has none of them.
            self._claims.settle(todo, unsent={call.id for call in todo})
            raise
        lost = {call.id for call, _ in failed}
        self._claims.settle(todo, unsent=lost)
        self._tell(todo, lost)
        return failed

    def drop(self, calls: Sequence[Prepared]) -> None:
        """These are not sent after all: whoever comes next with their dedupe keys must not be told that they were."""
        self._claims.settle(calls, unsent={call.id for call in calls})
        self._powers.forget(call.blob for call in calls)

    def keep(self, call: Prepared) -> None:
        """It runs here and is not sent: its dedupe key is its own all the same."""
        self._claims.settle([call])

    def renewed(self, calls: Iterable[Prepared]) -> list[Prepared]:
        """What was prepared perhaps long ago and leaves now: where another call has the dedupe key, as its loser."""
        claims = [(call, self._claims.renewed(call.claim, call.id)) for call in calls]
        return [call if claim is call.claim else structs.replace(call, claim=claim) for call, claim in claims]

    def forestalled(self, calls: Sequence[Prepared]) -> tuple[dict[str, str], dict[str, FnQueueError]]:
        """Of calls that were held: see `Claims.forestalled`."""
        instead, unsure = self._claims.forestalled(calls)
        self._powers.forget(call.blob for call in calls if call.id in instead)
        return instead, unsure

    def _send(self, todo: Sequence[Prepared]) -> list[tuple[Prepared, Exception]]:
        late = [call for call in todo if call.parked_until is not None]
        failed, sent_any = self._park(late), bool(late)
        by_queue: dict[str, list[Prepared]] = {}
        for call in todo:
            if call.parked_until is None:
                by_queue.setdefault(call.queue, []).append(call)
        for queue, group in by_queue.items():
            try:
                failures = self._powers.broker.send(queue, [call.entry for call in group])
            except FnQueueError as error:
                if not sent_any and len(by_queue) == 1:
                    raise
                failed += [(call, error) for call in group]
                continue
            sent_any = True
            failed += [(group[f.index], SendRefused(f.code, f.text, sender_fault=f.sender_fault)) for f in failures]
        return failed

    def _park(self, calls: Sequence[Prepared]) -> list[tuple[Prepared, Exception]]:
        """From where the store failed: those that were not taken. Raises its error where it took none."""
        parked = self._powers.parked
        for index, call in enumerate(calls):
            assert parked is not None
            entry, times = call.entry, {"due": call.parked_until, "until": call.expires_at}
            try:
                parked.park(call.id, queue=call.queue, body=entry.body, group=entry.group, **times)
            except FnQueueError as error:
                if index == 0:
                    raise
                return [(rest, error) for rest in calls[index:]]
        return []

    def _tell(self, calls: Sequence[Prepared], failed: set[str]) -> None:
        events = self._powers.events
        if not events.wanted(CallDeferred):
            return
        for call in calls:
            if call.id not in failed:
                events.publish(
                    CallDeferred(
                        id=call.id,
                        task=call.task,
                        queue=binding(call.queue),
                        principal_kind=call.principal_kind,
                        bytes=len(call.entry.body),
                        delay_seconds=call.delay_seconds,
                    )
                )
