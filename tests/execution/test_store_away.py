"""A store that does not answer cannot say that a call has not run: it does not run, and comes again later."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fnqueue import FnQueue
from fnqueue.errors import SettingsInvalid, StoreError
from fnqueue.events import MessageRefused
from fnqueue.outcome import Refused, Succeeded
from fnqueue.policies import public
from fnqueue.testing import in_memory
from tests.execution.helpers import Failing, executed, left, received


@pytest.fixture
def runs():
    return []


@pytest.fixture
def strict(clock, runs):
    """An application whose calls all have a replay record."""
    with in_memory(FnQueue(replay="required"), clock) as fn:
        fn.task(name="pay", policy=public)(lambda: runs.append("pay"))
        yield fn


def away(*args, **options):
    raise StoreError("the store is away")


def failing_store(fn: FnQueue) -> Failing:
    runtime = fn.runtime()
    store = Failing(runtime.engine.store)
    runtime.__dict__["engine"] = replace(runtime.engine, store=store, together=lambda work: work())
    for made in ("replay", "results"):
        runtime.__dict__.pop(made, None)
    return store


def settled(fn, delivery, outcome):
    return fn.runtime().settler(worker="w").settle([(delivery, outcome)])


@pytest.mark.parametrize("verb", ["put", "get"])
def test_a_call_whose_replay_record_cannot_be_asked_for_does_not_run_and_is_hidden(strict, runs, clock, verb):
    strict.registry.get("pay").defer()
    store = failing_store(strict)
    if verb == "get":  # asked where another delivery took it before
        executed(strict, received(strict))
        runs.clear()
        clock.advance(seconds=120)
    store.on["put"] = store.on["get"] = away
    told = []
    strict.runtime().events.on(MessageRefused, told.append)
    for wait in (1, 2, 4) if verb == "put" else (2, 4, 8):
        delivery = received(strict)
        outcome = executed(strict, delivery)
        assert outcome == Refused("REPLAY", "the store could not be asked: StoreError", retry_after_seconds=wait)
        (plan,) = settled(strict, delivery, outcome)
        assert (plan.hide_seconds, plan.records, plan.fate) == (wait, [], "hidden")
        assert runs == []
        clock.advance(seconds=wait)
    assert {(event.code, event.fate) for event in told} == {("REPLAY", "hidden")}
    store.on.clear()
    clock.advance(seconds=120)
    delivery = received(strict)
    outcome = executed(strict, delivery)
    assert isinstance(outcome, Succeeded)
    settled(strict, delivery, outcome)
    assert (runs, left(strict)) == (["pay"], (0, 0, 0))


def test_a_worker_that_took_the_right_to_run_and_then_lost_the_store_does_not_run(strict, runs, clock):
    strict.registry.get("pay").defer()
    store = failing_store(strict)
    received(strict)
    clock.advance(seconds=65)
    store.on["put"] = lambda record, **options: away() if record.kind == "task" else store.real.put(record, **options)
    delivery = received(strict)
    outcome = executed(strict, delivery)  # a redelivery: the right is taken, and its start cannot be written
    assert (outcome.code, runs, delivery.once) == ("REPLAY", [], None)
    (plan,) = settled(strict, delivery, outcome)
    assert plan.records == []
    store.on.clear()
    clock.advance(seconds=120)  # the right has lapsed
    assert isinstance(executed(strict, received(strict)), Succeeded)


def test_where_it_is_required_a_copy_of_a_message_runs_nothing(strict, runs, drain_of):
    from fnqueue.broker.base import Entry

    strict.registry.get("pay").defer()
    broker = strict.runtime().engine.broker
    (message,) = broker.receive("default", max_messages=1, visibility_seconds=0)
    for number in range(3):
        broker.send("default", [Entry(id=f"copy{number}", body=message.body)])
    drain_of(strict)
    assert (runs, left(strict)) == (["pay"], (0, 0, 0))


def test_where_it_is_not_required_only_once_tasks_have_a_record(fn, drain):
    fn.task(name="plain", policy=public)(lambda: None)
    fn.task(name="once", policy=public, once=True)(lambda: None)
    plain, once = fn.registry.get("plain").defer(), fn.registry.get("once").defer()
    drain()
    store = fn.runtime().engine.store
    assert store.get("once", plain.id) is None
    assert store.get("once", once.id) is not None


def test_it_needs_a_store():
    fn = FnQueue(url="sqlite://", store_url="none", replay="required")
    task = fn.task(name="pay", policy=public)(lambda: None)
    with pytest.raises(SettingsInvalid, match="FNQUEUE_REPLAY=required needs a store"):
        task.defer()


@pytest.fixture
def drain_of():
    from fnqueue.testing import Drain

    return lambda fn: Drain(fn.runtime)()
