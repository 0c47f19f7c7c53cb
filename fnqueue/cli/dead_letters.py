"""What can be done with the messages of a dead-letter queue: look at them, send them back, discard them.

A message is received, and shown again at the end unless it was sent back or discarded. What its header says is
shown as it says it, without proof: whoever can write to the queue can write that. An argument is opened only where an
operator asks for it.
Sending back forgets the record of a call that failed, as only an operator may: otherwise the worker would find
that the call ended already, and not run it. A success is never forgotten, nor is anything for a message whose tag
is false: a copy put here by a stranger must not make a call run twice.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from fnqueue.broker.base import Broker, Entry, Message, Receipt
from fnqueue.broker.names import FIFO, binding, dead_letter, is_dead_letter, is_fifo
from fnqueue.cli.releasing import id_after, opened, renewed, shown
from fnqueue.cli.screen import moment
from fnqueue.errors import BrokerError, EnvelopeError, KmsUnavailable
from fnqueue.runtime import Runtime
from fnqueue.security import envelope
from fnqueue.security.header import Header
from fnqueue.security.ids import is_id
from fnqueue.security.principal import KINDS
from fnqueue.security.suites import accepted
from fnqueue.state import replay, results

HOLD_SECONDS = 60
#: Of the task's record, and of the replay record.
SUCCEEDED = ("SUCCESS", "done")


@dataclass(frozen=True, slots=True)
class Dead:
    """A message of a dead-letter queue. `header` None: its text is no envelope."""

    message: Message
    header: Header | None

    @property
    def id(self) -> str:
        return self.header.id if self.header is not None else self.message.message_id

    def expired(self, now: float) -> bool:
        return self.header is not None and self.header.expires_at < now

    def facts(self) -> dict[str, Any]:
        """What is known of it without a key."""
        message, header = self.message, self.header
        known = {
            "id": self.id,
            "reason": message.attributes.get("reason") or ("RECEIVES" if message.dead_letter_source else None),
            "source": message.attributes.get("source") or message.dead_letter_source,
            "dead_lettered_at": moment(message.sent_at),
            "bytes": len(message.body),
        }
        if header is None:
            return {**known, "task": None, "principal_kind": None, "deferred_at": None, "expires_at": None}
        return known | {
            "task": header.task,
            "principal_kind": KINDS[header.principal_kind],
            "deferred_at": moment(header.created_at),
            "expires_at": moment(header.expires_at),
        }


def dead_letter_queue(name: str) -> str:
    """`billing` or `billing__dead` -> `billing__dead`."""
    return name if is_dead_letter(name) else dead_letter(name)


def home(queue: str) -> str:
    """The queue that a dead-letter queue belongs to: `billing__dead.fifo` -> `billing.fifo`."""
    stem = queue.removesuffix(FIFO).removesuffix("__dead")
    return stem + (FIFO if is_fifo(queue) else "")


class Visit:
    """One walk through a dead-letter queue. Leave it with `close`: what was only looked at is shown again."""

    def __init__(self, runtime: Runtime, queue: str) -> None:
        self.queue = queue
        self._runtime = runtime
        self._looked_at: list[Receipt] = []

    @property
    def _broker(self) -> Broker:
        return self._runtime.engine.broker

    def walk(self, limit: int | None = None) -> Iterator[list[Dead]]:
        """Batches of messages, each message once, until `limit` or the end."""
        engine, seen = self._runtime.engine, 0
        wait = 0 if engine.embedded else 1  # SQS's short poll asks some of its servers, and may find nothing
        while limit is None or seen < limit:
            most = engine.broker.receive_max if limit is None else min(engine.broker.receive_max, limit - seen)
            batch = engine.broker.receive(
                self.queue, max_messages=most, wait_seconds=wait, visibility_seconds=HOLD_SECONDS
            )
            if not batch:
                return
            seen += len(batch)
            self._looked_at += [message.receipt for message in batch]
            yield [Dead(message, _header(message.body)) for message in batch]

    def send_back(self, chosen: Sequence[Dead]) -> None:
        """Send again to where they came from, then delete here. A crash between the two leaves a copy here."""
        by_queue: dict[str, list[Dead]] = {}
        for dead in chosen:
            by_queue.setdefault(self._destination(dead), []).append(dead)
        for queue, group in by_queue.items():
            self._forget_ends(group)
            failures = self._broker.send(queue, [_entry(dead, queue) for dead in group])
            if failures:
                raise BrokerError(f"{queue!r} did not take {len(failures)} messages; the first: {failures[0].text}")
            self.discard(group)

    def discard(self, chosen: Sequence[Dead]) -> None:
        receipts = [dead.message.receipt for dead in chosen]
        if receipts:
            self._broker.delete(self.queue, receipts)
        gone = {id(receipt) for receipt in receipts}
        self._looked_at = [receipt for receipt in self._looked_at if id(receipt) not in gone]

    def release(self, dead: Dead, by: str) -> str:
        """Send it in a new envelope, then delete the old one here. Returns the new id.

        Raises EnvelopeError for one that is not ours or does not open, BrokerError.
        """
        queue = self._destination(dead)
        entry = renewed(self._runtime, self.taken(dead), queue=queue, group=dead.message.group, by=by)
        failures = self._broker.send(queue, [entry])
        if failures:
            raise BrokerError(f"{queue!r} did not take a message: {failures[0].text}")
        self.throw_away([dead])
        return entry.id

    def task_of(self, dead: Dead) -> str:
        """The task that it names, where its tag is true; "" where nobody can say so."""
        try:
            return self.verified(dead).task
        except EnvelopeError:
            return ""

    def taken(self, dead: Dead) -> envelope.Verified:
        """As a worker would take it: of a suite of its queue, and within the limits of its key. What gets a new
        envelope must be, for it is then under our key, which may do more. Raises EnvelopeError."""
        queue, suites = binding(home(self.queue)), accepted(self._runtime.settings.suites)
        found = self.verified(dead, suites.get(queue, suites.get("")))
        found.check_limits()
        return found

    def is_taken(self, dead: Dead) -> bool:
        try:
            self.taken(dead)
        except EnvelopeError:
            return False
        return True

    def succeeded(self, dead: Dead) -> bool:
        """Whether a record of ours says so, of it or of what it was released as: then it is a copy, and in a new
        envelope it would run again. Raises EnvelopeError for one that is not ours."""
        records = self._record(dead.id), self._record(id_after(self.verified(dead), self._runtime.clock.now()))
        return any(record is not None and record.state == "SUCCESS" for record in records)

    def arguments(self, dead: Dead) -> dict[str, Any]:
        """As they travel, without secrets. Raises EnvelopeError, BlobsUnavailable."""
        sealed = opened(self._runtime, self.verified(dead))
        return {"args": shown(sealed.get("args", [])), "kwargs": shown(sealed.get("kwargs", {}))}

    def throw_away(self, chosen: Sequence[Dead]) -> None:
        """For ever, with the large arguments that they lead to if their calls have ended. They are not taken from one
        that waits, of which a crash or a stranger left a copy here; in time they are swept."""
        blobs = self._runtime.blobs
        ended = [dead for dead in chosen if blobs is not None and self._has_ended(dead)]
        names = [name for dead in ended if (name := self._blob_of(dead)) is not None]
        self.discard(chosen)
        if blobs is not None:
            blobs.forget(names)

    def close(self) -> None:
        receipts, self._looked_at = self._looked_at, []
        if receipts:
            self._broker.change_visibility(self.queue, [(receipt, 0) for receipt in receipts])

    def _destination(self, dead: Dead) -> str:
        own = home(self.queue)
        said = dead.message.attributes.get("source") or dead.message.dead_letter_source or own
        # What stands beside a body is anybody's word: it may choose a priority, and no other queue.
        return said if binding(said) == binding(own) and is_fifo(said) == is_fifo(own) else own

    def _forget_ends(self, group: Sequence[Dead]) -> None:
        store = self._runtime.engine.store
        for dead in group:
            if store is not None and dead.header is not None and self.is_taken(dead):
                for kind in (results.KIND, replay.KIND):
                    found = store.get(kind, dead.header.id)
                    if found is not None and found.fields.get("state") not in SUCCEEDED:
                        store.delete(kind, dead.header.id, if_version=found.version)

    def _has_ended(self, dead: Dead) -> bool:
        record = self._record(dead.id)
        return dead.expired(self._runtime.clock.now()) or (record is not None and record.final)

    def _record(self, id: str) -> results.TaskRecord | None:
        """Of the call, if a key of ours made it."""
        known = self._runtime.results
        record = known.read(id) if known is not None and is_id(id) else None
        return record if record is not None and record.readable else None

    def _blob_of(self, dead: Dead) -> str | None:
        """Of a message that is true and that we may open: anybody else's word must delete nothing."""
        try:
            reference = self.verified(dead).unseal().get("bl")
        except (EnvelopeError, KmsUnavailable):  # what is left behind is swept when its time is over
            return None
        return reference["n"] if reference is not None else None

    def verified(self, dead: Dead, suites: Container[str] | None = None) -> envelope.Verified:
        runtime = self._runtime
        return envelope.verify(
            dead.message.body,
            keyring=runtime.ring(),
            environment=runtime.settings.environment,
            queue=binding(home(self.queue)),
            now=runtime.clock.now(),
            suites=suites,
        )


def each(visit: Visit, limit: int | None, chosen: Callable[[Dead], bool], do: Callable[[Sequence[Dead]], None]) -> int:
    """Do it to all that are chosen. Returns how many."""
    done = 0
    for batch in visit.walk(limit):
        group = [dead for dead in batch if chosen(dead)]
        do(group)
        done += len(group)
    return done


def _header(body: str) -> Header | None:
    try:
        return envelope.peek(body)
    except EnvelopeError:
        return None


def _entry(dead: Dead, queue: str) -> Entry:
    fifo = is_fifo(queue)
    return Entry(
        id=dead.id,
        body=dead.message.body,
        group=dead.message.group,
        # Not the id that it was first sent with: SQS would take it for a copy of that within five minutes.
        dedupe=f"{dead.id}.{dead.message.message_id}"[:128] if fifo else None,
    )
