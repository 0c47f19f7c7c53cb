"""Outcomes become writes in one order, and what fails half-way is finished later: nothing is lost for it."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from fnqueue import Backoff, RetryLater
from fnqueue.broker.base import Entry, Failure
from fnqueue.errors import BrokerRefused, BrokerUnreachable, QueueMissing
from fnqueue.events import EngineTrouble, LeaseLost, TaskRescheduled, TaskSucceeded
from fnqueue.execution.settle import Settler
from fnqueue.outcome import Released, Succeeded
from tests.execution.helpers import dead_letters, executed, failing_broker, left, received


def unreachable(*args, **kwargs):
    raise BrokerUnreachable("nobody answers")


@pytest.fixture
def told(fn):
    events = []
    fn.on(object, events.append)
    return events


@pytest.fixture
def failed_call(fn):
    """A delivery whose task failed for good, on an engine that can be told to fail."""

    @fn.task(name="bad")
    def bad() -> None:
        raise OSError("disk full")

    broker = failing_broker(fn)
    handle = bad.defer()
    delivery = received(fn)
    return broker, handle, [(delivery, executed(fn, delivery))]


def test_a_dead_letter_copy_survives_an_engine_that_fails_between_store_and_send(fn, failed_call):
    broker, handle, batch = failed_call
    settler = fn.runtime().settler()
    broker.on["send"] = unreachable
    with pytest.raises(BrokerUnreachable):
        settler.settle(batch)
    assert handle.state == "FAILURE"
    del broker.on["send"]
    settler.settle(batch)
    assert dead_letters(fn) == [("FAILED", "default")]
    assert left(fn) == (0, 0, 0)


def test_a_plan_that_failed_half_way_is_finished_again(fn, failed_call):
    broker, _, batch = failed_call
    settler = fn.runtime().settler()
    plans = settler.plan(batch)
    for verb in ("send", "delete"):
        broker.on[verb] = unreachable
        with pytest.raises(BrokerUnreachable):
            settler.finish(plans)
        del broker.on[verb]
    settler.finish(plans)
    assert ("FAILED", "default") in dead_letters(fn)
    assert left(fn) == (0, 0, 0)


@pytest.mark.parametrize(
    "refusal",
    [
        lambda queue, entries: [Failure(0, "InvalidMessageContents", "no")],
        lambda queue, entries: (_ for _ in ()).throw(QueueMissing(queue)),
        lambda queue, entries: (_ for _ in ()).throw(BrokerRefused("AccessDenied", "no")),
    ],
    ids=["entry", "missing", "denied"],
)
def test_a_copy_that_the_dead_letter_queue_refuses_keeps_the_message_and_no_other(
    fn, failed_call, drain, clock, told, refusal
):
    broker, _, batch = failed_call

    @fn.task(name="good")
    def good() -> str:
        return "done"

    other = good.defer()
    delivery = received(fn)
    batch.append((delivery, executed(fn, delivery)))
    broker.on["send"] = refusal
    fn.runtime().settler().settle(batch)
    assert other.result() == "done"
    assert left(fn) == (0, 1, 0), "the failed one is hidden, the good one is gone"
    assert [event.what for event in told if isinstance(event, EngineTrouble)] == ["settle"]
    del broker.on["send"]
    clock.advance(seconds=2)
    drain()
    assert dead_letters(fn) == [("FAILED", "default")]
    assert left(fn) == (0, 0, 0)


def test_a_queue_that_refuses_deletes_keeps_no_other_queue(fn, clock):
    @fn.task(name="here")
    def here() -> None:
        pass

    @fn.task(name="there", queue="other")
    def there() -> None:
        pass

    broker = failing_broker(fn)
    here.defer()
    there.defer()
    batch = []
    for queue in ("default", "other"):
        delivery = received(fn, queue)
        batch.append((delivery, executed(fn, delivery)))

    def delete(queue, receipts):
        if queue == "default":
            raise BrokerRefused("AccessDenied", "no")
        return broker.real.delete(queue, receipts)

    broker.on["delete"] = delete
    fn.runtime().settler().settle(batch)
    assert left(fn, "other") == (0, 0, 0)
    assert left(fn) == (0, 1, 0)


def test_nothing_is_settled_after_the_receipts_deadline(fn, drain, clock, told):
    runs = []

    @fn.task(name="work")
    def work() -> str:
        runs.append(1)
        return f"run {len(runs)}"

    handle = work.defer()
    delivery = received(fn)
    outcome = executed(fn, delivery)
    clock.advance(seconds=fn.runtime().settings.visibility_seconds)
    assert fn.runtime().settler().settle([(delivery, outcome)]) == []
    assert handle.state == "PENDING"
    assert left(fn) == (1, 0, 0)
    assert [event.id for event in told if isinstance(event, LeaseLost)] == [handle.id]
    drain()
    assert handle.result() == "run 2"


def test_a_worker_whose_clock_stood_still_cannot_overwrite_its_twin(fn, clock, told):
    """Its own clock says that it has time; the twin's delivery is newer, and that is what counts."""
    runs = []

    @fn.task(name="work")
    def work() -> str:
        runs.append(1)
        return f"run {len(runs)}"

    handle = work.defer()
    late = received(fn)
    late_outcome = executed(fn, late)
    clock.advance(seconds=90)
    twin = received(fn)
    twin_outcome = executed(fn, twin)
    late.receipt = replace(late.receipt, deadline=clock.monotonic() + 60)
    settler = fn.runtime().settler()
    assert settler.settle([(late, late_outcome)]) == []
    assert handle.state == "STARTED"
    assert left(fn) == (0, 1, 0), "the twin's message is where it was"
    settler.settle([(twin, twin_outcome)])
    assert handle.result() == "run 2"
    assert sum(isinstance(event, TaskSucceeded) for event in told) == 1


def test_a_late_outcome_of_finished_work_ends_its_message_and_tells_nothing(fn, clock, told):
    @fn.task(name="work", retry=Backoff(3, first_seconds=1, jitter=False))
    def work() -> None:
        raise OSError

    handle = work.defer()
    delivery = received(fn)
    failed = executed(fn, delivery)
    settler = fn.runtime().settler()
    plan = settler.plan([(delivery, Succeeded(b'"done"'))])[0]
    fn.runtime().engine.store.put_many(plan.records, fenced=True)  # another delivery's word
    settler.settle([(delivery, failed)])
    assert handle.result() == "done"
    assert left(fn) == (0, 0, 0)
    assert not any(isinstance(event, TaskRescheduled) for event in told)


def test_what_is_given_back_is_visible_at_once(fn):
    @fn.task(name="work")
    def work() -> None:
        raise AssertionError("it does not run")

    work.defer()
    delivery = received(fn)
    fn.runtime().settler().settle([(delivery, Released())])
    assert left(fn) == (1, 0, 0)
    assert received(fn).receipt.receive_count == 2


def test_a_queue_that_refuses_to_hide_makes_the_message_parked(fn, drain, clock):
    runs = []

    @fn.task(name="work")
    def work() -> str:
        runs.append(1)
        if len(runs) == 1:
            raise RetryLater(100)
        return "done"

    broker = failing_broker(fn)
    handle = work.defer()
    delivery = received(fn)
    outcome = executed(fn, delivery)
    broker.on["change_visibility"] = lambda queue, changes: ([None], [Failure(0, "InvalidParameterValue", "12 hours")])
    fn.runtime().settler().settle([(delivery, outcome)])
    del broker.on["change_visibility"]
    assert left(fn) == (0, 0, 0)
    clock.advance(seconds=99)
    drain()
    assert len(runs) == 1
    clock.advance(seconds=1)
    drain()
    assert (handle.result(), len(runs)) == ("done", 2)


def test_so_many_are_hidden_at_once_and_no_more(fn, drain, clock, monkeypatch):
    """Retries must not fill the in-flight quota of a queue: beyond the bound they are parked."""
    monkeypatch.setattr("fnqueue.quotas.HIDDEN_MESSAGES_MAX", 5)

    @fn.task(name="work", retry=Backoff(1, first_seconds=100, jitter=False))
    def work() -> None:
        raise OSError

    for _ in range(8):
        work.defer()
    settler: Settler = fn.runtime().settler()
    for _ in range(8):
        delivery = received(fn)
        settler.settle([(delivery, executed(fn, delivery))])
    assert left(fn) == (0, 5, 0)
    clock.advance(seconds=101)
    drain()
    assert len(dead_letters(fn)) == 8


def test_a_body_at_the_limit_goes_to_the_dead_letter_queue_all_the_same(fn, drain):
    @fn.task(name="bad")
    def bad(text: str) -> None:
        raise OSError

    size = 1_048_576
    low, high = 0, size
    while low < high - 1:  # the longest text that can be deferred
        middle = (low + high) // 2
        try:
            fn.runtime().dispatch.prepare(bad, ("x" * middle,), {}, fn.current_principal(), hint="")
            low = middle
        except TypeError:
            high = middle
    bad.defer("x" * low)
    drain()
    assert left(fn) == (0, 0, 0)
    assert left(fn, "default__dead") == (1, 0, 0)


def test_rubbish_at_the_limit_goes_to_the_dead_letter_queue_however_few_characters_its_bytes_make(fn, drain):
    @fn.task(name="note")
    def note() -> None: ...

    assert fn.runtime().engine.broker.send("default", [Entry(id="0", body="é" * 524_288)]) == []
    drain()
    assert left(fn) == (0, 0, 0)
    assert left(fn, "default__dead") == (1, 0, 0)


def test_a_fifo_queue_that_refuses_to_hide_keeps_the_message_in_its_place(fn, drain, clock):
    """Parked, it would come back behind the rest of its group."""
    runs = []

    @fn.task(name="work", queue="steps.fifo", bind=True)
    def work(context, n: int) -> None:
        runs.append(n)
        if runs == [0]:
            raise RetryLater(10)

    broker = failing_broker(fn)
    for n in range(3):
        work.using(group="a").defer(n)
    delivery = received(fn, "steps.fifo")
    outcome = executed(fn, delivery)
    broker.on["change_visibility"] = lambda queue, changes: ([None], [Failure(0, "InvalidParameterValue", "expired")])
    fn.runtime().settler().settle([(delivery, outcome)])
    del broker.on["change_visibility"]
    clock.advance(seconds=fn.runtime().settings.visibility_seconds + 1)
    drain()
    assert runs == [0, 0, 1, 2]
