"""A message that comes again: what was recorded is finished and not run again, and crashes are counted and bounded."""

from __future__ import annotations

from dataclasses import replace

import pytest
from msgspec import structs

from fnqueue import Backoff, Principal, RetryLater
from fnqueue.broker.base import Entry
from fnqueue.errors import StoreError
from fnqueue.execution.delivery import Delivery
from fnqueue.outcome import DeadLettered, Refused, Released, Succeeded
from fnqueue.policies import custom
from fnqueue.store.base import Record
from tests.execution.helpers import dead_letters, dies_running, executed, left, received


def settled(fn, delivery, outcome):
    return fn.runtime().settler(worker="w").settle([(delivery, outcome)])


def test_a_first_delivery_reads_and_writes_no_record_before_its_end(fn):
    @fn.task(name="plain")
    def plain() -> int:
        return 1

    handle = plain.defer()
    outcome = executed(fn, received(fn))
    assert isinstance(outcome, Succeeded)
    assert fn.runtime().results.read(handle.id) is None


def test_a_worker_that_dies_running_loses_nothing(fn, drain, clock):
    runs = []

    @fn.task(name="work")
    def work() -> str:
        runs.append(1)
        return "done"

    handle = work.defer()
    dies_running(fn, clock)
    drain()
    assert (handle.result(), len(runs)) == ("done", 2)


def test_a_call_that_kills_its_workers_ends_in_the_dead_letter_queue(fn, drain, clock):
    runs = []

    @fn.task(name="poison", retry=100)
    def poison() -> None:
        runs.append(1)

    handle = poison.defer()
    for _ in range(4):  # the first start of a call is not written down before a heartbeat
        assert isinstance(dies_running(fn, clock), Succeeded)
    drain()
    assert len(runs) == 4
    record = handle.record()
    assert (record.state, record.attempts) == ("FAILURE", 3), "of the first start nothing is known"
    assert "max_crashes=3" in record.error.message
    assert dead_letters(fn) == [("CRASHED", "default")]
    assert fn.runtime().results.read(handle.id).crashes == 3


def test_a_crash_uses_up_no_attempt(fn, drain, clock):
    @fn.task(name="fails", retry=Backoff(1, first_seconds=1, jitter=False))
    def fails() -> None:
        raise OSError

    handle = fails.defer()
    dies_running(fn, clock)
    dies_running(fn, clock)
    drain()
    assert handle.state == "RETRY", "the third start is the first attempt that came to its end"
    clock.advance(seconds=1)
    drain()
    assert handle.state == "FAILURE"


def test_what_was_given_back_is_neither_an_attempt_nor_a_crash(fn, drain, clock):
    @fn.task(name="long")
    def long() -> str:
        return "done"

    handle = long.defer()
    dies_running(fn, clock)
    for _ in range(10):  # ten deploys
        delivery = received(fn)
        executed(fn, delivery)
        settled(fn, delivery, Released())
        assert handle.state == "PENDING"
    drain()
    record = fn.runtime().results.read(handle.id)
    assert (record.state, record.attempts, record.crashes) == ("SUCCESS", 1, 0)


def test_finished_work_is_not_run_again_when_its_message_was_not_deleted(fn, drain, clock):
    runs = []

    @fn.task(name="work")
    def work() -> str:
        runs.append(1)
        return "done"

    handle = work.defer()
    delivery = received(fn)
    outcome = executed(fn, delivery)
    plan = fn.runtime().settler().plan([(delivery, outcome)])[0]
    fn.runtime().engine.store.put_many(plan.records, fenced=True)  # and here the worker dies
    clock.advance(seconds=120)
    drain()
    assert (handle.result(), len(runs)) == ("done", 1)
    assert left(fn) == (0, 0, 0)


def test_a_failure_whose_copy_was_not_sent_gets_it_from_the_next_delivery_with_its_reason(fn, drain, clock):
    runs = []

    @fn.task(name="work", retry=0)
    def work() -> None:
        runs.append(1)
        raise OSError

    work.defer()
    delivery = received(fn)
    plan = fn.runtime().settler().plan([(delivery, executed(fn, delivery))])[0]
    fn.runtime().engine.store.put_many(plan.records, fenced=True)
    clock.advance(seconds=120)
    drain()
    assert len(runs) == 1
    assert dead_letters(fn) == [("FAILED", "default")]


def test_a_parked_call_whose_message_was_not_deleted_does_not_run_before_it_is_due(fn, drain, clock):
    runs = []

    @fn.task(name="later")
    def later() -> str:
        runs.append(1)
        if len(runs) == 1:
            raise RetryLater(3600)
        return "done"

    handle = later.defer()
    delivery = received(fn)
    plan = fn.runtime().settler().plan([(delivery, executed(fn, delivery))])[0]
    store = fn.runtime().engine.store
    store.put_many(plan.records, fenced=True)
    store.put_many(plan.parking, fenced=True)  # and here the worker dies
    clock.advance(seconds=120)
    drain()
    assert len(runs) == 1
    assert left(fn) == (0, 0, 0), "the message is superseded by the parked one"
    clock.advance(seconds=3600)
    drain()
    assert (handle.result(), len(runs)) == ("done", 2)


def test_a_message_is_dropped_when_one_that_was_sent_later_has_begun(fn, drain, clock):
    runs = []

    @fn.task(name="later")
    def later() -> None:
        runs.append(1)
        if len(runs) == 1:
            raise RetryLater(3600)

    later.defer()
    first = received(fn)
    settled(fn, first, executed(fn, first))
    clock.advance(seconds=3601)
    # The queue delivers the first message again although it was deleted: standard queues may.
    receipt = structs.replace(first.receipt, receive_count=2, deadline=clock.monotonic() + 60)
    copy = structs.replace(first.message, receipt=receipt)
    drain()
    assert len(runs) == 2
    outcome = executed(fn, Delivery(copy))
    assert outcome == Refused("REPLAY", "SUCCESS")


class TestOnce:
    def test_two_copies_of_one_message_succeed_once(self, fn, drain, clock):
        runs = []

        @fn.task(name="pay", once=True)
        def pay() -> str:
            runs.append(1)
            return "paid"

        handle = pay.defer()
        broker = fn.runtime().engine.broker
        (message,) = broker.receive("default", visibility_seconds=0)
        broker.send("default", [Entry(id=handle.id, body=message.body)] * 3)
        drain()
        clock.advance(hours=1)
        drain()
        assert (handle.result(), len(runs)) == ("paid", 1)
        assert left(fn) == (0, 0, 0)
        assert dead_letters(fn) == []

    def test_a_bystander_is_not_a_crash(self, fn, drain, clock):
        @fn.task(name="pay", once=True)
        def pay() -> str:
            return "paid"

        handle = pay.defer()
        runtime = fn.runtime()
        runtime.settings = replace(runtime.settings, visibility_seconds=1)
        holder = received(fn)
        executed(fn, holder)  # runs, and keeps the right to
        for _ in range(20):  # its lease is kept alive, and the message is delivered again and again
            for _ in range(3):
                runtime.replay.renew([holder.once], lease_seconds=60)
                clock.advance(seconds=30)
            bystander = received(fn)
            outcome = executed(fn, bystander)
            assert isinstance(outcome, Refused), outcome
            assert outcome.code == "REPLAY"
            settled(fn, bystander, outcome)
        clock.advance(seconds=120)
        drain()
        record = runtime.results.read(handle.id)
        assert (record.state, record.crashes) == ("SUCCESS", 0)

    def test_a_retry_gives_the_right_back(self, fn, drain, clock):
        runs = []

        @fn.task(name="pay", once=True, retry=Backoff(2, first_seconds=5, jitter=False))
        def pay() -> str:
            runs.append(1)
            if len(runs) < 3:
                raise OSError
            return "paid"

        handle = pay.defer()
        for _ in range(3):
            drain()
            clock.advance(seconds=10)
        assert (handle.result(), len(runs)) == ("paid", 3)

    def test_after_its_end_it_never_runs_again(self, fn, drain, clock):
        runs = []

        @fn.task(name="pay", once=True, retry=0)
        def pay() -> None:
            runs.append(1)
            raise OSError

        handle = pay.defer()
        broker = fn.runtime().engine.broker
        (message,) = broker.receive("default", visibility_seconds=0)
        drain()
        broker.send("default", [Entry(id=handle.id, body=message.body)])
        drain()
        assert (handle.state, len(runs)) == ("FAILURE", 1)

    def test_the_right_is_given_back_when_a_twin_wrote_first(self, fn, drain, clock):
        @fn.task(name="pay", once=True)
        def pay() -> str:
            return "paid"

        handle = pay.defer()
        dies_running(fn, clock)
        runtime = fn.runtime()
        real = runtime.results.write_started
        runtime.results.write_started = lambda record: None  # a twin's write came between the read and this one
        delivery = received(fn)
        outcome = executed(fn, delivery)
        assert outcome == Refused("REPLAY", "elsewhere", retry_after_seconds=1)
        settled(fn, delivery, outcome)
        runtime.results.write_started = real
        clock.advance(seconds=4)
        drain()
        assert handle.result() == "paid"


class TestWhatIsNotTheTasksFault:
    def test_a_loader_that_fails_makes_nobody_forget_attempts_and_crashes(self, fn, drain, clock):
        @fn.task(name="work", retry=Backoff(1, first_seconds=1, jitter=False))
        def work() -> None:
            raise OSError

        broken = []

        def load(id):
            if broken:
                raise ConnectionError("the database is away")
            return principal

        principal = Principal(id="7", kind="user")
        fn.load_principal(load)
        with fn.as_principal(principal):
            handle = work.defer()
        drain()
        broken.append(1)
        clock.advance(seconds=1)
        drain()
        assert (handle.state, handle.record().attempts) == ("RETRY", 1)
        broken.clear()
        clock.advance(seconds=10)
        drain()
        assert (handle.state, handle.record().attempts) == ("FAILURE", 2)

    def test_a_policy_that_cannot_decide_is_asked_again_and_is_no_attempt(self, fn, drain, clock):
        broken = []

        @custom
        def decides(context) -> bool:
            if broken:
                raise ConnectionError
            return True

        @fn.task(name="work", policy=decides, retry=0)
        def work() -> str:
            return "done"

        handle = work.defer()
        broken.append(1)
        for _ in range(5):
            drain()
            assert (handle.state, handle.record().attempts) == ("RETRY", 0)
            clock.advance(seconds=20)
        broken.clear()
        drain()
        assert handle.result() == "done"

    def test_a_scope_that_cannot_be_entered_is_no_attempt(self, fn, drain, clock):
        class Scope:
            def __enter__(self):
                if broken:
                    raise RuntimeError("no application")

            def __exit__(self, *args):
                return None

        broken = [1]
        fn.hooks.scope = lambda task: Scope()

        @fn.task(name="work", retry=0)
        def work() -> str:
            return "done"

        handle = work.defer()
        drain()
        assert (handle.state, handle.record().attempts) == ("RETRY", 0)
        broken.clear()
        clock.advance(seconds=2)
        drain()
        assert handle.result() == "done"

    def test_a_scope_that_cannot_be_left_is_a_failed_attempt_and_no_endless_row(self, fn, drain, clock):
        class Scope:
            def __enter__(self):
                return None

            def __exit__(self, *args):
                raise RuntimeError("the session could not be committed")

        fn.hooks.scope = lambda task: Scope()
        runs = []

        @fn.task(name="work", retry=Backoff(1, first_seconds=1, jitter=False))
        def work() -> None:
            runs.append(1)

        handle = work.defer()
        for _ in range(10):
            drain()
            clock.advance(seconds=900)
        assert (handle.state, len(runs)) == ("FAILURE", 2)
        assert handle.record().error.message == "the session could not be committed"

    def test_a_store_that_is_away_at_a_redelivery_is_no_attempt(self, fn, clock):
        @fn.task(name="work")
        def work() -> None:
            pass

        work.defer()
        dies_running(fn, clock)
        delivery = received(fn)

        def away(id):
            raise StoreError("away")

        fn.runtime().results.read = away
        outcome = executed(fn, delivery)
        assert isinstance(outcome, Refused)
        assert outcome.retry_after_seconds == 2
        plan = fn.runtime().settler().planner.plan(delivery, outcome)
        assert plan.records == []


def test_an_expired_redelivery_of_finished_work_stays_a_success(fn, drain, clock):
    @fn.task(name="work", expires_seconds=100)
    def work() -> str:
        return "done"

    handle = work.defer()
    delivery = received(fn)
    plan = fn.runtime().settler().plan([(delivery, executed(fn, delivery))])[0]
    fn.runtime().engine.store.put_many(plan.records, fenced=True)
    clock.advance(seconds=200)
    drain()
    assert handle.result() == "done"
    assert drain.outcomes[-1][1] == Refused("REPLAY", "SUCCESS")


def test_an_expired_call_keeps_its_attempts_and_may_be_read_by_who_deferred_it(fn, drain, clock):
    me = Principal(id="7", kind="user")

    @fn.task(name="work", expires_seconds=300, retry=Backoff(5, first_seconds=250, jitter=False))
    def work() -> None:
        raise OSError("disk full")

    @fn.task(name="never", expires_seconds=10)
    def never() -> None:
        raise AssertionError

    with fn.as_principal(me):
        worked, unborn = work.defer(), never.defer()
    clock.advance(seconds=11)
    drain()
    clock.advance(seconds=300)
    drain()
    with fn.as_principal(me):
        assert [fn.handle(handle.id).state for handle in (worked, unborn)] == ["EXPIRED", "EXPIRED"]
        assert fn.handle(worked.id).record().attempts == 1
        assert fn.handle(worked.id).record().error.message == "disk full"
        assert fn.handle(unborn.id).record().attempts == 0


def test_a_forged_record_makes_nobody_believe_that_work_is_done(fn, drain, clock):
    runs = []

    @fn.task(name="work")
    def work() -> None:
        runs.append(1)

    handle = work.defer()
    dies_running(fn, clock)
    fields = {"task": "work", "queue": "default", "state": "SUCCESS", "attempts": 1, "starts": 1, "crashes": 0}
    forged = Record(kind="task", id=handle.id, fields=fields | {"ex": 9e9, "sealed": b"x"}, final=True, fence=(0, 1))
    fn.runtime().engine.store.put(forged)
    drain()
    assert len(runs) >= 2
    assert left(fn) == (0, 0, 0), "and it does not come again for ever"


@pytest.mark.parametrize("crashes", [1, 5])
def test_max_crashes_is_a_setting(fn, drain, clock, crashes):
    runtime = fn.runtime()
    runtime.settings = replace(runtime.settings, max_crashes=crashes)

    @fn.task(name="poison")
    def poison() -> None:
        pass

    poison.defer()
    for _ in range(crashes + 1):
        dies_running(fn, clock)
    outcome = executed(fn, received(fn))
    assert isinstance(outcome, DeadLettered)


def test_a_bystander_that_ran_beside_a_poisonous_call_is_set_apart_and_ends(fn, drain, clock):
    runs = []

    @fn.task(name="bystander")
    def bystander() -> None:
        runs.append(1)

    handle = bystander.defer()
    for _ in range(3):
        dies_running(fn, clock)  # each time because of its neighbour
    drain()
    assert (handle.state, len(runs)) == ("RETRY", 3), "two ended workers are known of: it is set apart first"
    clock.advance(seconds=11)
    drain()
    assert (handle.state, len(runs)) == ("SUCCESS", 4)
