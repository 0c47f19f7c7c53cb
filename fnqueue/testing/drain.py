"""`drain()` runs what is due; `advance(...)` turns the clock and runs what falls due meanwhile.

The difference between `advance(hours=1)` and `clock.advance(hours=1)` is the worker: with the first it works all that
hour, and each retry, delayed call and parked one runs at its own time; with the second nobody worked, and what comes
after (an expired call, a lease that ran out) is what a worker finds that was started too late.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from fnqueue.clock import ManualClock
from fnqueue.errors import FnQueueError
from fnqueue.execution.delivery import Delivery
from fnqueue.outcome import Outcome
from fnqueue.runtime import Runtime
from fnqueue.testing.aids import aids_of
from fnqueue.testing.chaos import ChaoticHand
from fnqueue.testing.hand import Hand, Raised

RUNS_MAX = 10_000
#: Nothing comes sooner than this once all that was due has run: however the engine rounds, time goes on.
STEP_SECONDS = 0.001

Told = Callable[[Delivery, Outcome], None]


class Drain:
    """Runs what is due, here and now, until nothing is. Calling it returns how many deliveries ended.

    `outcomes` holds (task name, outcome) of all, in order. Raises FnQueueError after 10,000 deliveries: then a
    task defers itself, or is tried again without a wait. `told` hears of each end, `raised` of what tasks raise.
    """

    def __init__(
        self, runtime: Callable[[], Runtime], *, told: Told | None = None, raised: Raised | None = None
    ) -> None:
        self._runtime_of, self._told, self._raised = runtime, told, raised
        self.outcomes: list[tuple[str | None, Outcome]] = []

    def __call__(self, *queues: str) -> int:
        return self._run(self._hand(), queues, 0)

    def advance(self, *, seconds: float = 0, minutes: float = 0, hours: float = 0, days: float = 0) -> int:
        """Let so much time pass with a worker at work: what is due now runs, then each thing when it falls due.

        Returns how many deliveries ended. Raises FnQueueError where time is not the test's to turn.
        """
        clock, hand = self.clock(), self._hand()
        until = clock.now() + seconds + 60 * minutes + 3600 * hours + 86_400 * days
        count = self._run(hand, (), 0)
        while (due := hand.due_seconds()) is not None and clock.now() + due <= until:
            clock.advance(seconds=max(due, STEP_SECONDS))
            count = self._run(hand, (), count)
        clock.advance(seconds=max(0.0, until - clock.now()))
        return self._run(hand, (), count)

    def step(self) -> bool:
        """Turn the clock to what falls due next, and run it. False: nothing is hidden, delayed or parked."""
        hand = self._hand()
        due = hand.due_seconds()
        if due is not None:
            self.clock().advance(seconds=max(due, STEP_SECONDS))
            self._run(hand, (), 0)
        return due is not None

    def clock(self) -> ManualClock:
        clock = self._runtime_of().clock
        if not isinstance(clock, ManualClock):
            raise FnQueueError(
                f"time can be turned only where it is a ManualClock, and this queue has a {type(clock).__name__}: "
                "use fnqueue.testing.in_memory(fn)"
            )
        return clock

    # ---------------------------------------------------------------- helpers

    def _hand(self) -> Hand:
        runtime = self._runtime_of()
        aids = aids_of(runtime)
        if aids.chaos is None:
            return Hand(runtime, aids.around, raised=self._raised)
        return ChaoticHand(runtime, aids.around, aids.chaos, raised=self._raised)

    def _run(self, hand: Hand, queues: Sequence[str], count: int) -> int:
        """`count` and what ended now."""
        while True:
            delivery = hand.next(queues)
            if delivery is not None:
                self._tell(delivery, hand.do(delivery))
                count += 1
            elif (due := hand.more_in_seconds(queues)) is not None:
                self.clock().advance(seconds=max(due, STEP_SECONDS))
            else:
                return count
            if count > RUNS_MAX:
                raise FnQueueError(f"drain() ran {count:,} deliveries and there are more: does a task defer itself?")

    def _tell(self, delivery: Delivery, outcome: Outcome | None) -> None:
        if outcome is not None:
            self.outcomes.append((delivery.task_name, outcome))
            if self._told is not None:
                self._told(delivery, outcome)
