"""What a queue may do to a call on a bad day, done on purpose and by a seed: the same seed does the same again.

A standard queue delivers at least once and in no order; workers die. So: copies of a message before, after and long
after its run; another order; a worker that dies between the run and its settlement, or between the record and the
message's end; a delivery that is given back and comes later. Each call suffers each of these once at most, so that
what is right ends right. FIFO queues keep the order of their groups and take no copies, as on SQS.

`drain()` waits for what was kept back: it turns the clock as far as that needs.
"""

from __future__ import annotations

import random
import secrets
from collections.abc import Sequence

from fnqueue.broker.base import Entry
from fnqueue.broker.names import is_fifo
from fnqueue.errors import EnvelopeError, OptionInvalid
from fnqueue.execution.delivery import Delivery
from fnqueue.outcome import Outcome
from fnqueue.runtime import Runtime
from fnqueue.security.envelope import peek
from fnqueue.settings import environment_value
from fnqueue.testing.hand import Around, Hand, Raised

#: A little of what waits is in a worker's hands at once: of these the next is drawn.
HELD_MAX = 10
LATE_SECONDS_MAX = 120
GIVEN_BACK_SECONDS_MAX = 30
#: After a lease that ran out, until a `once` call may be taken again, with the rounding of a queue's seconds.
LEASE_SLACK_SECONDS = 5
#: How often a call meets what does not befall each: a death, a delay.
SOME = 0.3


class Chaos:
    """`seed`: whole number; without it FNQUEUE_CHAOS_SEED, else a new one, to be read at `.seed`.

    `duplicates`: every call of a standard queue is delivered twice, the copy sooner or later. `reorder`: the next to
    run is drawn. `crashes`: some workers die after the run, before all is settled. `delays`: some come later.
    """

    def __init__(
        self,
        *,
        seed: int | None = None,
        duplicates: bool = True,
        reorder: bool = True,
        crashes: bool = True,
        delays: bool = True,
    ) -> None:
        self.seed = seed if seed is not None else _given_seed()
        self.duplicates, self.reorder, self.crashes, self.delays = duplicates, reorder, crashes, delays
        self.random = random.Random(self.seed)  # noqa: S311 - not a secret
        #: How long retries wait, where they have jitter. Apart, so that a mishap more or less changes no wait.
        self.waits = random.Random(f"{self.seed}: waits")  # noqa: S311
        #: What befell the calls, in order: lines for people.
        self.story: list[str] = []
        #: When all that was kept back on purpose has come (unix seconds).
        self.over_at = 0.0
        self._befell: set[tuple[str, str]] = set()

    def befalls(self, what: str, delivery: Delivery, chance: float = SOME) -> bool:
        """Whether this happens to this call, now. Once at most."""
        drawn = self.random.random() < chance  # drawn in any case: the rest of the story must not depend on it
        if not drawn or self.befell(what, delivery):
            return False
        self._befell.add((what, delivery.body))
        return True

    def befell(self, what: str, delivery: Delivery) -> bool:
        return (what, delivery.body) in self._befell

    def tell(self, what: str, delivery: Delivery) -> None:
        self.story.append(f"{what}: {delivery.task_name or 'a message'} {delivery.id or ''}".rstrip())

    def again(self) -> Chaos:
        """The same from its beginning."""
        return Chaos(
            seed=self.seed,
            duplicates=self.duplicates,
            reorder=self.reorder,
            crashes=self.crashes,
            delays=self.delays,
        )

    def __repr__(self) -> str:
        return f"Chaos(seed={self.seed})"


def _given_seed() -> int:
    given = environment_value("CHAOS_SEED")
    if given is None:
        return secrets.randbelow(1_000_000)
    try:
        return int(given)
    except ValueError:
        raise OptionInvalid(f"FNQUEUE_CHAOS_SEED={given!r}: must be a whole number") from None


class _Died(BaseException):
    """The worker is gone between two writes."""


class ChaoticHand(Hand):
    """A worker that has a few messages at once, takes them in any order, and does not always live to their end."""

    def __init__(self, runtime: Runtime, around: Around, chaos: Chaos, *, raised: Raised | None) -> None:
        super().__init__(runtime, around, raised=raised, draw=chaos.waits.uniform)
        self._chaos = chaos
        self._held: list[Delivery] = []
        # Not in one transaction, as where queue and store are two: so a death can come between their writes.
        self._dying = runtime.settler(worker="drain", together=lambda work: work(), at=_die_when_stored)

    # ---------------------------------------------------------------- which is next

    def next(self, queues: Sequence[str]) -> Delivery | None:
        """Draws from what is held; what is given back or late is not drawn. FIFO groups give their first only."""
        while True:
            self._take_up(queues)
            if not self._held:
                return None
            index = self._chaos.random.randrange(len(self._held)) if self._chaos.reorder else 0
            delivery = self._held.pop(index)
            if self.runtime.clock.monotonic() >= delivery.receipt.deadline:
                continue  # a task let time pass, and its lease: it comes again by itself
            if not self._given_back(delivery):
                return delivery

    def more_in_seconds(self, queues: Sequence[str]) -> float | None:
        due = self.due_seconds(queues)
        return due if due is not None and self.runtime.clock.now() + due <= self._chaos.over_at else None

    def _take_up(self, queues: Sequence[str]) -> None:
        self.send_parked()
        found = self.served(queues)
        if self._chaos.reorder:
            self._chaos.random.shuffle(found)
        for queue in found:
            while len(self._held) < HELD_MAX:
                # Of a FIFO queue one at a time: its group is locked then, and the next comes from another group.
                received = self.receive(queue, 1 if is_fifo(queue) else HELD_MAX - len(self._held))
                self._held += received
                if not received:
                    break

    def _given_back(self, delivery: Delivery) -> bool:
        chaos = self._chaos
        # A copy is not given back: it would find the record of the first, and be no second run.
        if not chaos.befalls("given back", delivery) or chaos.befell("copied", delivery) or not chaos.delays:
            return False
        seconds = chaos.random.randint(1, GIVEN_BACK_SECONDS_MAX)
        self.runtime.engine.broker.change_visibility(delivery.queue, [(delivery.receipt, seconds)])
        self._wait(seconds)
        chaos.tell(f"given back for {seconds} s", delivery)
        return True

    # ---------------------------------------------------------------- how it ends

    def do(self, delivery: Delivery) -> Outcome | None:
        chaos, at_most_once = self._chaos, self._is_at_most_once(delivery)
        copied = chaos.duplicates and not is_fifo(delivery.queue) and not at_most_once
        copied = chaos.befalls("copied", delivery, chance=1) and copied
        # What comes again looks for a record before it runs. A copy that were to run before it would leave one.
        again = delivery.receipt.receive_count > 1
        when = chaos.random.choice(("after", "late") if again else ("before", "after", "late"))
        if copied and when == "before":
            self._copy(delivery, 0)
        outcome = self._survive(delivery, self.run(delivery))
        if copied and when != "before":
            self._copy(delivery, 0 if when == "after" else chaos.random.randint(1, LATE_SECONDS_MAX))
        return outcome

    def _survive(self, delivery: Delivery, outcome: Outcome) -> Outcome | None:
        """Settled, unless the worker dies."""
        chaos = self._chaos
        dies = chaos.befalls("died", delivery) and chaos.crashes and self.runtime.settings.max_crashes > 1
        if dies and delivery.started_at is not None and not delivery.deleted:
            self._wait(self.runtime.settings.visibility_seconds + LEASE_SLACK_SECONDS)
            if chaos.random.random() < 0.5:
                chaos.tell("died before its outcome was written", delivery)
                return None
            chaos.tell("died before its message was ended", delivery)
            return outcome if self._die(delivery, outcome) else None
        self.settler.settle([(delivery, outcome)])
        return outcome

    def _die(self, delivery: Delivery, outcome: Outcome) -> bool:
        """Whether it got as far as the record."""
        try:
            self._dying.settle([(delivery, outcome)])
        except _Died:
            return True
        return False  # the lease was lost before

    def _copy(self, delivery: Delivery, seconds: int) -> None:
        message = delivery.message
        entry = Entry(
            id=delivery.id or message.message_id,
            body=delivery.body,
            delay_seconds=seconds,
            group=message.group,
            attributes=message.attributes,
        )
        self.runtime.engine.broker.send(delivery.queue, [entry])
        self._wait(seconds)
        self._chaos.tell(f"copied, to come in {seconds} s" if seconds else "copied", delivery)

    def _wait(self, seconds: float) -> None:
        self._chaos.over_at = max(self._chaos.over_at, self.runtime.clock.now() + seconds)

    def _is_at_most_once(self, delivery: Delivery) -> bool:
        # A copy of such a call would run: nothing is recorded that could stop it. That is the queue's doing, and
        # rare; who wrote at_most_once=True has answered it already.
        task = self.runtime.registry.find(delivery.task_name or _peeked_task(delivery.body))
        return task is not None and task.options.at_most_once


def _die_when_stored(point: str) -> None:
    if point == "stored":
        raise _Died


def _peeked_task(body: str) -> str:
    """The name that the message bears, unproven."""
    try:
        return peek(body).task
    except EnvelopeError:
        return ""
