"""A receive that is opened in one go ends as it would message by message."""

from __future__ import annotations

import pytest

from fnqueue import FnQueue
from fnqueue.broker.base import Entry
from fnqueue.clock import ManualClock
from fnqueue.execution.delivery import Delivery
from fnqueue.execution.opening import AHEAD_BYTES_MAX, AHEAD_SECONDS
from fnqueue.outcome import Outcome, Refused, Succeeded
from fnqueue.security.ids import new_id
from fnqueue.security.keyring import new_key
from fnqueue.security.keys import FixedKeys
from fnqueue.state.revocations import EVERY_CALL, Revocation, Snapshot


@pytest.fixture
def work(fn: FnQueue):
    @fn.task(name="work", expires_seconds=60)
    def work(text: str = "") -> int:
        return len(text)

    return work


def received(fn: FnQueue) -> list[Delivery]:
    runtime = fn.runtime()
    messages = runtime.engine.broker.receive("default", max_messages=64, visibility_seconds=600)
    return [Delivery(message, received_at=runtime.clock.monotonic()) for message in messages]


def outcomes(fn: FnQueue, clock: ManualClock, *, waiting_seconds: float = 0) -> list[Outcome]:
    """Of all that is in the queue: opened ahead, then each in its turn, `waiting_seconds` later."""
    executor, deliveries = fn.runtime().executor(worker="w"), received(fn)
    executor.open_ahead(deliveries)
    clock.advance(seconds=waiting_seconds)
    return [executor.execute(delivery) for delivery in deliveries]  # type: ignore[misc]


def test_what_opens_ahead_runs_without_being_opened_again(fn: FnQueue, work, clock: ManualClock) -> None:
    work.defer("abc")
    executor, (delivery,) = fn.runtime().executor(worker="w"), received(fn)
    executor.open_ahead([delivery])
    assert delivery.opened is not None
    delivery.body = "gone"  # nobody looks at it any more
    assert executor.execute(delivery) == Succeeded(b"3")


def test_what_does_not_open_ahead_is_refused_in_its_turn_and_the_others_run(fn, work, clock) -> None:
    work.defer("a")
    fn.runtime().engine.broker.send("default", [Entry(id=new_id(clock.now()), body="rubbish")])
    work.defer("abc")
    assert outcomes(fn, clock) == [
        Succeeded(b"1"),
        Refused("MALFORMED", "not the grammar of fq1"),
        Succeeded(b"3"),
    ]


def test_a_call_that_expires_while_it_waits_for_its_turn_does_not_run(fn, work, clock) -> None:
    work.defer("abc")
    clock.advance(seconds=59)
    (outcome,) = outcomes(fn, clock, waiting_seconds=AHEAD_SECONDS + 2)
    assert isinstance(outcome, Refused)
    assert outcome.code == "EXPIRED"


def test_keys_are_asked_again_for_what_waited(fn, work, clock) -> None:
    work.defer("abc")
    executor, (delivery,) = fn.runtime().executor(worker="w"), received(fn)
    executor.open_ahead([delivery])
    fn.runtime().__dict__["keys"] = FixedKeys(new_key())
    clock.advance(seconds=AHEAD_SECONDS + 0.1)
    outcome = executor.execute(delivery)
    assert isinstance(outcome, Refused)
    assert outcome.code == "UNKNOWN_KEY"


def test_a_revoked_call_that_was_opened_ahead_does_not_run(fn, work, clock) -> None:
    handle = work.defer("abc")
    executor, (delivery,) = fn.runtime().executor(worker="w"), received(fn)
    executor.open_ahead([delivery])
    executor.revoked = Snapshot([Revocation("id", handle.id, clock.now() + 60, 0, EVERY_CALL)])
    assert executor.execute(delivery) == Refused("REVOKED")


def test_a_large_body_waits_for_its_turn_to_be_opened(fn, work, clock) -> None:
    work.defer("a" * AHEAD_BYTES_MAX)
    executor, (delivery,) = fn.runtime().executor(worker="w"), received(fn)
    executor.open_ahead([delivery])
    assert delivery.opened is None
    assert executor.execute(delivery) == Succeeded(b"%d" % AHEAD_BYTES_MAX)
