"""The parts of a worker, each by itself: slots, groups, the heartbeat, the ticker, and how it is told to stop."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time

import pytest

from fnqueue import RetryLater
from fnqueue.broker.base import Entry, Failure, Message, Receipt
from fnqueue.broker.embedded import EmbeddedBroker
from fnqueue.clock import ManualClock
from fnqueue.database import Database
from fnqueue.errors import BrokerRefused, QueueMissing
from fnqueue.events import EngineTrouble, Events, LeaseLost
from fnqueue.execution.delivery import Delivery
from fnqueue.worker.daemons import DaemonExecutor
from fnqueue.worker.groups import Groups
from fnqueue.worker.heartbeat import Heartbeat, HeartbeatPowers
from fnqueue.worker.poller import Poller, PollerPowers
from fnqueue.worker.slots import Slots
from fnqueue.worker.stopping import Stopping
from fnqueue.worker.ticker import DUE_AT_ONCE, Ticker, TickerPowers
from tests.execution.helpers import Failing, left


class TestSlots:
    def test_no_more_come_in_than_threads_can_start_soon(self):
        slots = Slots(8, most=128)
        assert slots.wait_free(0) == 8
        slots.received(8)
        assert slots.wait_free(0) == 0

    def test_short_tasks_open_the_window_and_long_ones_close_it(self):
        slots = Slots(8, most=128)
        for _ in range(30):
            slots.received(1)
            slots.started()
            slots.finished(0.001)
        assert slots.window == 128
        for _ in range(60):
            slots.received(1)
            slots.started()
            slots.finished(10.0)
        assert slots.window == 8

    def test_coroutines_on_the_loop_take_no_threads_place(self):
        slots = Slots(2, most=128, loop_most=100)
        for _ in range(50):
            slots.received(1)
            slots.started()
            slots.moved_to_loop()
        assert slots.wait_free(0) >= 2
        assert slots.held == 50

    def test_a_full_loop_lets_no_more_wait_than_there_are_threads(self):
        slots, inside = Slots(4, most=128, loop_most=10), 0
        while free := slots.wait_free(0):
            slots.received(free)
            inside += free
            for _ in range(free):
                slots.started()
                slots.moved_to_loop()
        assert inside == 14

    def test_what_leaves_the_loop_wakes_who_waits(self):
        slots = Slots(1, most=1, loop_most=0)
        slots.received(1)
        slots.started()
        slots.moved_to_loop()
        got = []
        thread = threading.Thread(target=lambda: got.append(slots.wait_free(5)))
        thread.start()
        time.sleep(0.05)
        slots.left_loop()
        thread.join(5)
        assert got == [1]

    def test_nobody_waits_once_it_is_closed(self):
        slots = Slots(1, most=1)
        slots.close()
        assert slots.wait_free(5) == 0


def delivery(n: int, *, queue: str = "q.fifo", group: str | None = "g", deadline: float = 1e9) -> Delivery:
    receipt = Receipt(queue, f"1.{n}.1", 1, deadline)
    return Delivery(Message(message_id=str(n), body="x", receipt=receipt, sent_at=0, first_received_at=0, group=group))


class TestGroups:
    @pytest.fixture
    def parts(self):
        started: list[str] = []
        given_back: list[str] = []
        groups = Groups(
            lambda one: started.append(one.message.message_id),
            lambda many: given_back.extend(one.message.message_id for one in many),
        )
        return groups, started, given_back

    def test_one_of_a_group_runs_at_a_time_and_in_order(self, parts):
        groups, started, _ = parts
        many = [delivery(n) for n in range(3)]
        for one in many:
            groups.put(one)
        assert started == ["0"]
        groups.settled(many[0], deleted=True)
        groups.settled(many[1], deleted=True)
        assert started == ["0", "1", "2"]

    def test_the_rest_goes_back_last_first_when_one_is_not_deleted(self, parts):
        groups, started, given_back = parts
        many = [delivery(n) for n in range(4)]
        for one in many:
            groups.put(one)
        groups.settled(many[0], deleted=False)
        assert (started, given_back) == (["0"], ["3", "2", "1"])
        groups.put(delivery(9))
        assert started == ["0", "9"], "the group is open again"

    def test_the_end_of_one_that_was_given_back_moves_no_later_line_of_its_group(self, parts):
        """The head's retry comes again, with what follows it, before those that were given back have been settled."""
        groups, started, _ = parts
        before = [delivery(n) for n in range(3)]
        for one in before:
            groups.put(one)
        groups.settled(before[0], deleted=False)
        again = [delivery(n) for n in (10, 11, 12)]
        groups.put(again[0])
        groups.put(again[1])
        for one in before[1:]:
            groups.settled(one, deleted=False)
        groups.put(again[2])
        assert started == ["0", "10"], "two of a group would run at once"
        groups.settled(again[0], deleted=True)
        groups.settled(again[1], deleted=True)
        assert started == ["0", "10", "11", "12"]

    def test_groups_on_standard_queues_have_no_order(self, parts):
        groups, started, _ = parts
        for n in range(3):
            groups.put(delivery(n, queue="q"))
        assert started == ["0", "1", "2"]

    def test_all_that_wait_are_given_out_last_first(self, parts):
        groups, _, _ = parts
        for n in range(4):
            groups.put(delivery(n))
        assert [one.message.message_id for one in groups.empty()] == ["3", "2", "1"]
        assert groups.empty() == []


class TestHeartbeat:
    @pytest.fixture
    def clock(self):
        return ManualClock()

    @pytest.fixture
    def broker(self, clock):
        return Failing(EmbeddedBroker(Database(None, clock=clock), clock=clock))

    @pytest.fixture
    def beating(self, broker, clock):
        ticks: list[list[Delivery]] = []
        told: list[object] = []
        events = Events()
        events.on(object, told.append)
        heartbeat = Heartbeat(
            HeartbeatPowers(
                broker=broker,
                clock=clock,
                events=events,
                visibility_seconds=60,
                tick_seconds=5,
                each_tick=ticks.append,
            )
        )
        heartbeat.told = told
        heartbeat.ticks = ticks
        return heartbeat

    def received(self, broker, clock, queue: str = "default") -> Delivery:
        broker.send(queue, [Entry(id="a", body="x")])
        return Delivery(broker.receive(queue, visibility_seconds=60)[0], received_at=clock.monotonic())

    def test_a_lease_is_renewed_at_half(self, beating, broker, clock):
        one = self.received(broker, clock)
        beating.add([one])
        deadline = one.receipt.deadline
        clock.advance(seconds=29)
        beating.beat()
        assert one.receipt.deadline == deadline
        clock.advance(seconds=2)
        beating.beat()
        assert one.receipt.deadline == clock.monotonic() + 60

    def test_for_twelve_hours_and_not_a_second_longer(self, beating, broker, clock):
        one = self.received(broker, clock)
        beating.add([one])
        began = clock.monotonic()
        for _ in range(43_200 // 20):
            clock.advance(seconds=20)
            beating.beat()
            if one.receipt.deadline <= clock.monotonic():
                break
        assert not one.lost, "it was ours as long as it could be"
        assert 43_140 <= one.receipt.deadline - began <= 43_200
        assert broker.receive("default") == [] or clock.monotonic() - began >= 43_140

    def test_a_queue_that_fails_keeps_no_other_queues_leases(self, beating, broker, clock):
        here, there = self.received(broker, clock), self.received(broker, clock, "other")
        beating.add([here, there])
        real = broker.real.change_visibility

        def change(queue, changes):
            if queue == "default":
                raise QueueMissing(queue)
            return real(queue, changes)

        broker.on["change_visibility"] = change
        clock.advance(seconds=40)
        with pytest.raises(QueueMissing):
            beating.beat()
        assert there.receipt.deadline == clock.monotonic() + 60
        assert beating.ticks == [[here, there]], "and the tick's other duties are done"

    def test_what_another_worker_has_is_lost_once(self, beating, broker, clock):
        one = self.received(broker, clock)
        beating.add([one])
        clock.advance(seconds=61)
        assert broker.receive("default", visibility_seconds=60)
        beating.beat()
        beating.beat()
        assert one.lost
        assert sum(isinstance(event, LeaseLost) for event in beating.told) == 1

    def test_a_message_that_was_deleted_before_its_run_has_no_lease_to_keep(self, beating, broker, clock):
        one = self.received(broker, clock)
        one.deleted = True
        beating.add([one])
        clock.advance(seconds=50)
        broker.on["change_visibility"] = lambda *args: pytest.fail("it was asked for")
        beating.beat()
        assert beating.ticks == [[one]]

    def test_a_forgotten_one_is_not_touched_any_more(self, beating, broker, clock):
        one = self.received(broker, clock)
        beating.add([one])
        beating.forget([one])
        clock.advance(seconds=50)
        beating.beat()
        assert beating.ticks == [[]]


class TestTicker:
    def make(self, fn, broker=None):
        runtime = fn.runtime()
        return Ticker(
            TickerPowers(
                broker=broker or runtime.engine.broker,
                store=runtime.engine.store,
                parked=runtime.parked,
                clock=runtime.clock,
                events=runtime.events,
            )
        )

    def park(self, fn, count: int, queue: str = "default") -> None:
        @fn.task(name=f"work {queue}", queue=queue)
        def work() -> None:
            raise RetryLater(5000)

        for _ in range(count):
            work.using(delay_seconds=5000).defer()

    def test_one_queue_that_is_missing_keeps_no_others_messages(self, fn, clock):
        self.park(fn, 3)
        self.park(fn, 3, "gone")
        clock.advance(seconds=5001)
        broker = Failing(fn.runtime().engine.broker)

        def send(queue, entries):
            if queue == "gone":
                raise QueueMissing(queue)
            return broker.real.send(queue, entries)

        broker.on["send"] = send
        told = []
        fn.on(EngineTrouble, told.append)
        assert self.make(fn, broker).tick() == 3
        assert [event.queue for event in told] == ["gone"]
        clock.advance(seconds=61)
        assert self.make(fn).tick() == 3, "once the queue is there, they are sent"

    def test_a_message_that_the_queue_refuses_is_tried_again(self, fn, clock):
        self.park(fn, 1)
        clock.advance(seconds=5001)
        broker = Failing(fn.runtime().engine.broker)
        broker.on["send"] = lambda queue, entries: [Failure(0, "InternalError", "", False)]
        assert self.make(fn, broker).tick() == 0
        clock.advance(seconds=61)
        assert self.make(fn).tick() == 1

    def test_a_ticker_that_dies_between_claim_and_send_loses_nothing(self, fn, clock):
        self.park(fn, 1)
        clock.advance(seconds=5001)
        parked = fn.runtime().parked
        (record,) = parked.due(clock.now())
        assert parked.claim(record) is not None  # and here it dies
        assert self.make(fn).tick() == 0
        clock.advance(seconds=61)
        assert self.make(fn).tick() == 1
        assert left(fn) == (1, 0, 0)

    def test_a_thousand_that_fall_due_at_once_do_not_wait_a_tick_for_each_hundred(self, fn, clock):
        self.park(fn, 3 * DUE_AT_ONCE + 1)
        clock.advance(seconds=5001)
        ticker = self.make(fn)
        fn.runtime().engine.broker.create("default")
        ticker.start()
        until = time.monotonic() + 10
        while sum(left(fn)) < 3 * DUE_AT_ONCE + 1 and time.monotonic() < until:
            time.sleep(0.01)
        ticker.close()
        ticker.join(5)
        assert sum(left(fn)) == 3 * DUE_AT_ONCE + 1


class TestDaemonExecutor:
    def test_calls_run_and_their_errors_come_back(self):
        executor = DaemonExecutor(4)
        assert [executor.submit(pow, 2, n).result(5) for n in range(20)] == [2**n for n in range(20)]
        with pytest.raises(ZeroDivisionError):
            executor.submit(lambda: 1 / 0).result(5)

    def test_no_more_run_at_once_than_there_is_room_for_and_all_run(self):
        executor, lock, running, most = DaemonExecutor(5), threading.Lock(), [0], [0]

        def work(n: int) -> int:
            with lock:
                running[0] += 1
                most[0] = max(most[0], running[0])
            time.sleep(0.01)
            with lock:
                running[0] -= 1
            return n

        futures = [executor.submit(work, n) for n in range(60)]
        assert [future.result(10) for future in futures] == list(range(60))
        assert most[0] == 5

    def test_it_serves_asyncio(self):
        async def main() -> list[int]:
            asyncio.get_running_loop().set_default_executor(DaemonExecutor(8))
            return await asyncio.gather(*(asyncio.to_thread(pow, n, 2) for n in range(50)))

        assert asyncio.run(main()) == [n**2 for n in range(50)]


class TestStopping:
    def test_it_wakes_who_waits(self):
        stopping = Stopping()
        threading.Timer(0.05, stopping.ask).start()
        began = time.monotonic()
        stopping.wait(10)
        assert time.monotonic() - began < 2
        assert stopping.count == 1

    def test_a_signal_at_any_moment_of_the_wait_is_no_deadlock(self):
        """A handler that took a lock would meet the main thread holding it, sooner or later."""
        stopping = Stopping()
        stopping.on_signals()
        try:
            done = threading.Event()

            def storm() -> None:
                while not done.is_set():
                    os.kill(os.getpid(), signal.SIGTERM)
                    time.sleep(0.0002)

            thread = threading.Thread(target=storm)
            thread.start()
            for _ in range(500):
                stopping.wait(0.0001)
            done.set()
            thread.join(5)
            assert stopping.count > 10
        finally:
            stopping.off_signals()

    def test_a_signal_that_another_thread_gets_wakes_who_waits(self):
        """The system chooses the thread, and after a SIGCONT it is often not the main one."""
        stopping = Stopping()
        stopping.on_signals()
        other = threading.Thread(target=time.sleep, args=(0.5,))
        other.start()
        shot = threading.Timer(0.1, lambda: signal.pthread_kill(other.ident, signal.SIGTERM))
        shot.start()
        try:
            began = time.monotonic()
            stopping.wait(10)
            assert time.monotonic() - began < 5
            assert stopping.count == 1
        finally:
            stopping.off_signals()
            other.join(5)

    def test_the_handlers_of_before_come_back(self):
        before = signal.getsignal(signal.SIGTERM)
        stopping = Stopping()
        stopping.on_signals()
        stopping.off_signals()
        assert signal.getsignal(signal.SIGTERM) is before
        assert signal.set_wakeup_fd(-1) == -1


def test_a_queue_that_refuses_is_asked_again_more_and_more_slowly(clock):
    waits: list[float] = []

    class Waits(threading.Event):
        def wait(self, timeout=None):
            waits.append(timeout)
            if len(waits) == 9:
                self.set()
            return self.is_set()

    broker = Failing(EmbeddedBroker(Database(None, clock=clock), clock=clock))

    def refuse(*args, **kwargs):
        raise BrokerRefused("AccessDenied", "no")

    broker.on["receive"] = refuse
    powers = PollerPowers(
        broker=broker, clock=clock, slots=Slots(1, most=1), events=Events(), take=lambda messages: None,
        stopping=Waits(), wait_seconds=0, visibility_seconds=60,
    )  # fmt: skip
    Poller(powers, [["default"]], "poll").run()
    assert waits == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]
