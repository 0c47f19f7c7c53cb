"""A worker runs what is due and stops without loss. Real threads, a real file, the system's time."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from fnqueue import Backoff, FnQueue, SoftTimeLimitExceeded, TaskRevoked
from fnqueue.errors import ReceiptExpired
from fnqueue.events import EngineTrouble, TaskReleased, WorkerStopped
from fnqueue.middleware import Middleware
from fnqueue.policies import from_schedule
from fnqueue.worker.worker import EXIT_FORCED, Worker
from tests.worker.helpers import burst, eventually, queue_in, working


@pytest.fixture
def fn(tmp_path):
    with_short_times = queue_in(tmp_path, heartbeat_seconds=0.1, visibility_seconds=2, shutdown_timeout_seconds=5)
    yield with_short_times
    with_short_times.close()


class Wraps(Middleware):
    def execute(self, context, call_next):
        return call_next(context)


class TestBurst:
    def test_it_ends_when_nothing_is_left(self, fn):
        @fn.task(name="add")
        def add(a: int, b: int) -> int:
            return a + b

        handles = [add.defer(n, 1) for n in range(50)]
        assert burst(fn) == 0
        assert [handle.result(0) for handle in handles] == list(range(1, 51))

    def test_it_runs_what_its_tasks_defer(self, fn):
        @fn.task(name="chain")
        def chain(n: int) -> None:
            seen.append(n)
            time.sleep(0.02)
            if n:
                chain.defer(n - 1)

        seen: list[int] = []
        chain.defer(10)
        burst(fn)
        assert seen == list(range(10, -1, -1))

    def test_what_has_fallen_due_is_run_before_it_ends(self, fn):
        """Whoever starts it from a crontab has no worker that is there for a second tick."""

        @fn.schedule("rate(1 hour)", name="hourly")
        @fn.task(name="note", policy=from_schedule)
        def note() -> None:
            seen.append(1)

        seen: list[int] = []
        burst(fn, schedules=False)
        assert seen == []
        burst(fn)
        assert seen == [1]
        burst(fn)
        assert seen == [1]

    def test_max_tasks_ends_it_earlier(self, fn):
        @fn.task(name="note")
        def note() -> None:
            seen.append(1)
            time.sleep(0.05)

        seen: list[int] = []
        for _ in range(30):
            note.defer()
        burst(fn, max_tasks=5, concurrency=1)
        assert 5 <= len(seen) < 30

    def test_a_call_that_was_cancelled_while_no_worker_ran_does_not_start(self, fn):
        @fn.task(name="note")
        def note() -> None:
            raise AssertionError("it starts")

        handle = note.defer()
        handle.cancel()
        burst(fn)
        assert handle.state == "REVOKED"


class TestStopping:
    def test_an_idle_worker_is_gone_at_once(self, fn):
        @fn.task(name="note")
        def note() -> None:
            pass

        with working(fn) as worker:
            time.sleep(0.2)
            began = time.monotonic()
            worker.stop()
        assert time.monotonic() - began < 1

    def test_running_tasks_finish_and_what_has_not_started_is_given_back_before_they_do(self, fn):
        go, started = threading.Event(), threading.Event()

        @fn.task(name="slow")
        def slow() -> str:
            runs.append(1)
            started.set()
            go.wait(10)
            return "done"

        runs: list[int] = []
        handles = [slow.defer() for _ in range(6)]
        broker = fn.runtime().engine.broker
        with working(fn, concurrency=2) as worker:
            assert started.wait(10)
            eventually(lambda: len(runs) == 2)
            worker.stop()
            eventually(lambda: worker._pool._stopping)  # asked is not yet done
            eventually(lambda: broker.attributes("default").visible == 4, 8)
            assert len(runs) == 2
            go.set()
        assert sorted(handle.state for handle in handles) == ["PENDING"] * 4 + ["SUCCESS"] * 2
        assert broker.attributes("default").visible == 4

    def test_messages_that_wait_inside_are_given_back_though_all_threads_are_busy(self, fn):
        """Short tasks let the worker take many at once; then one that blocks every thread."""
        go = threading.Event()

        @fn.task(name="short")
        def short() -> None:
            pass

        @fn.task(name="slow")
        def slow() -> None:
            go.wait(10)

        broker = fn.runtime().engine.broker
        for _ in range(100):
            short.defer()
        with working(fn, concurrency=1) as worker:
            eventually(lambda: broker.attributes("default").visible == 0 and worker._slots.held == 0)
            for _ in range(40):
                slow.defer()
            eventually(lambda: worker._slots.held > 1)
            worker.stop()
            eventually(lambda: broker.attributes("default").visible == 39, 8)
            go.set()

    def test_a_second_stop_gives_back_what_runs_at_once_and_its_late_end_changes_nothing(self, fn):
        go, codes = threading.Event(), []

        @fn.task(name="slow")
        def slow() -> str:
            started.set()
            go.wait(10)
            return "late"

        started = threading.Event()
        handle = slow.defer()
        worker = Worker(fn.runtime())
        thread = threading.Thread(target=lambda: codes.append(worker.run()))
        thread.start()
        assert started.wait(10)
        eventually(lambda: handle.state == "STARTED")
        worker.stop()
        worker.stop()
        thread.join(3)
        assert codes == [EXIT_FORCED]
        assert fn.runtime().engine.broker.attributes("default").visible == 1
        go.set()
        time.sleep(0.2)
        record = fn.runtime().results.read(handle.id)
        assert (record.state, record.attempts, record.crashes) == ("PENDING", 0, 0), "neither an attempt nor a crash"
        burst(fn)
        assert handle.result(0) == "late"

    def test_the_time_of_the_shutdown_is_a_setting(self, tmp_path):
        fn = queue_in(tmp_path, shutdown_timeout_seconds=0.3)
        go, started, codes = threading.Event(), threading.Event(), []

        @fn.task(name="slow")
        def slow() -> None:
            started.set()
            go.wait(10)

        slow.defer()
        worker = Worker(fn.runtime())
        thread = threading.Thread(target=lambda: codes.append(worker.run()))
        thread.start()
        assert started.wait(10)
        began = time.monotonic()
        worker.stop()
        thread.join(5)
        assert 0.25 < time.monotonic() - began < 2
        assert codes == [0]
        assert fn.runtime().engine.broker.attributes("default").visible == 1
        go.set()

    @pytest.mark.parametrize("wrapped", [False, True])
    def test_coroutines_finish_and_those_that_wait_for_room_are_given_back(self, tmp_path, wrapped):
        fn = queue_in(tmp_path, async_concurrency=2)
        if wrapped:
            fn.middleware.append(Wraps())
        released = []
        fn.on(TaskReleased, released.append)

        @fn.task(name="slow")
        async def slow() -> str:
            running.append(1)
            while not go.is_set():
                await asyncio.sleep(0.01)
            return "done"

        running, go = [], threading.Event()
        handles = [slow.defer() for _ in range(5)]
        broker = fn.runtime().engine.broker
        with working(fn) as worker:
            eventually(lambda: worker._slots.held == 5)
            eventually(lambda: len(running) == 2)
            worker.stop()
            eventually(lambda: broker.attributes("default").visible == 3, 8)
            go.set()
        assert sorted(handle.state for handle in handles) == ["PENDING"] * 3 + ["SUCCESS"] * 2
        assert len(released) >= 3  # a receive that was under way may bring them once more

    def test_at_most_once_that_has_to_be_left_is_a_failure_with_that_text(self, fn):
        started, go, codes = threading.Event(), threading.Event(), []

        @fn.task(name="slow", at_most_once=True)
        def slow() -> None:
            started.set()
            go.wait(10)

        handle = slow.defer()
        worker = Worker(fn.runtime())
        thread = threading.Thread(target=lambda: codes.append(worker.run()))
        thread.start()
        assert started.wait(10)
        assert fn.runtime().engine.broker.attributes("default").in_flight == 0, "deleted before it runs"
        worker.stop()
        worker.stop()
        thread.join(5)
        go.set()
        assert handle.state == "FAILURE"
        assert "at_most_once" in handle.record().error.message


class TestLongTasks:
    def test_a_task_of_several_visibility_timeouts_runs_once(self, tmp_path):
        fn = queue_in(tmp_path, visibility_seconds=1)
        runs = []

        @fn.task(name="long")
        def long() -> str:
            runs.append(1)
            time.sleep(2.5)
            return "done"

        @fn.task(name="coroutine")
        async def coroutine() -> str:
            runs.append(2)
            await asyncio.sleep(2.5)
            return "done"

        handles = [long.defer(), coroutine.defer()]
        with working(fn), working(fn):
            assert [handle.result(10) for handle in handles] == ["done", "done"]
        assert sorted(runs) == [1, 2]

    def test_a_task_that_goes_on_is_started_for_who_asks(self, fn):
        go = threading.Event()

        @fn.task(name="long")
        def long() -> None:
            go.wait(10)

        handle = long.defer()
        with working(fn):
            eventually(lambda: handle.state == "STARTED")
            go.set()
            eventually(lambda: handle.state == "SUCCESS")

    def test_a_running_function_and_a_running_coroutine_are_cancelled_within_two_heartbeats(self, fn):
        ended = []

        @fn.task(name="function", bind=True)
        def function(context) -> None:
            try:
                while True:
                    context.progress(1)
                    time.sleep(0.01)
            except TaskRevoked:
                ended.append(("function", time.monotonic()))
                raise

        @fn.task(name="coroutine")
        async def coroutine() -> None:
            try:
                await asyncio.sleep(60)
            except TaskRevoked:
                ended.append(("coroutine", time.monotonic()))
                raise

        @fn.task(name="most", at_most_once=True)
        async def most() -> None:
            await asyncio.sleep(60)

        handles = [function.defer(), coroutine.defer(), most.defer()]
        with working(fn):
            eventually(lambda: [handle.state for handle in handles] == ["STARTED"] * 3)
            began = time.monotonic()
            for handle in handles:
                handle.cancel()
            eventually(lambda: [handle.state for handle in handles] == ["REVOKED"] * 3, 5)
            assert all(at - began < 2 * 0.1 + 1.0 for _, at in ended)
        assert sorted(name for name, _ in ended) == ["coroutine", "function"]
        assert fn.runtime().engine.broker.attributes("default").in_flight == 0

    def test_limits_of_functions_and_coroutines(self, fn):
        @fn.task(name="soft", soft_time_limit_seconds=0.1)
        def soft() -> str:
            try:
                while True:
                    time.sleep(0.005)
            except SoftTimeLimitExceeded:
                return "cleaned up"

        @fn.task(name="hard", time_limit_seconds=0.1)
        async def hard() -> None:
            await asyncio.sleep(60)

        @fn.task(name="overrun", soft_time_limit_seconds=0.1)
        def overrun() -> None:
            while True:
                time.sleep(0.005)

        handles = [soft.defer(), hard.defer(), overrun.defer()]
        burst(fn)
        assert handles[0].result(0) == "cleaned up"
        errors = [handle.record().error.type for handle in handles[1:]]
        assert errors == ["HardTimeLimitExceeded", "SoftTimeLimitExceeded"]

    def test_extend_says_when_the_message_is_no_longer_ours(self, fn):
        said = []

        @fn.task(name="work", bind=True)
        def work(context) -> None:
            context.extend()
            runtime = fn.runtime()
            runtime.engine.broker.purge("default")
            try:
                context.extend()
            except ReceiptExpired as error:
                said.append(str(error))

        work.defer()
        burst(fn)
        assert len(said) == 1


class TestCoroutines:
    def test_many_run_at_once_though_there_are_few_threads(self, fn):
        running, most = [0], [0]

        @fn.task(name="slow")
        async def slow() -> None:
            running[0] += 1
            most[0] = max(most[0], running[0])
            await asyncio.sleep(0.3)
            running[0] -= 1

        fn.defer_many(slow, [()] * 60)
        began = time.monotonic()
        burst(fn, concurrency=2)
        assert most[0] > 30
        assert time.monotonic() - began < 3

    def test_middleware_wraps_more_of_them_than_asyncio_has_threads(self, fn):
        fn.middleware.append(Wraps())
        running, most = [0], [0]

        @fn.task(name="slow")
        async def slow() -> None:
            running[0] += 1
            most[0] = max(most[0], running[0])
            await asyncio.sleep(0.5)
            running[0] -= 1

        fn.defer_many(slow, [()] * 40)
        burst(fn, concurrency=2)
        assert most[0] == 40


class TestOrder:
    def test_a_group_keeps_its_order_across_retries_with_two_workers(self, tmp_path):
        fn = queue_in(tmp_path, visibility_seconds=5)
        ran, lock = [], threading.Lock()
        fails = {("a", 3), ("b", 7), ("c", 1)}

        @fn.task(name="step", queue="steps.fifo", retry=Backoff(5, first_seconds=0, jitter=False))
        def step(group: str, n: int) -> None:
            with lock:
                if (group, n) in fails:
                    fails.discard((group, n))
                    raise OSError
                ran.append((group, n))

        for n in range(20):
            for group in "abc":
                step.using(group=group).defer(group, n)
        with working(fn), working(fn):
            eventually(lambda: len(ran) == 60, 20)
        for group in "abc":
            assert [n for g, n in ran if g == group] == list(range(20))
        assert fails == set()


class TestTrouble:
    def test_a_health_file_that_cannot_be_written_does_not_end_the_heartbeat(self, fn, tmp_path):
        told = []
        fn.on(EngineTrouble, told.append)
        folder = tmp_path / "health"
        folder.mkdir()

        @fn.task(name="long")
        def long() -> str:
            time.sleep(3)
            return "done"

        handle = long.defer()
        with working(fn, health_file=str(folder / "file")):
            eventually(lambda: (folder / "file").exists())
            (folder / "file").unlink()
            folder.rmdir()
            assert handle.result(10) == "done"
        assert handle.record().attempts == 1
        assert {event.what for event in told} == {"health file"}

    def test_a_mistake_in_a_subscriber_or_a_tick_ends_no_thread(self, fn):
        @fn.task(name="long")
        def long() -> str:
            time.sleep(3)
            return "done"

        def broken(*args):
            raise RuntimeError("a mistake")

        handle = long.defer()
        with working(fn) as worker:
            worker._ticks._write_health = broken
            assert handle.result(10) == "done"
        assert handle.record().attempts == 1

    def test_one_outcome_that_cannot_be_settled_keeps_no_other(self, fn, caplog):
        @fn.task(name="work")
        def work(n: int) -> int:
            return n

        handles = [work.defer(n) for n in range(20)]
        bad = handles[7].id
        with working(fn) as worker:
            planner = worker._settling._powers.settler.planner
            real = type(planner).plan

            class Spoilt:
                def __getattr__(self, name):
                    return getattr(planner, name)

                def plan(self, delivery, outcome):
                    if delivery.id == bad:
                        raise RuntimeError("a mistake")
                    return real(planner, delivery, outcome)

            worker._settling._powers.settler.planner = Spoilt()
            for n, handle in enumerate(handles):
                if handle.id != bad:
                    assert handle.result(10) == n
            assert worker._settling.is_alive()
        assert handles[7].state in ("PENDING", "STARTED")

    def test_a_worker_says_how_many_it_gave_back(self, fn):
        told = []
        fn.on(WorkerStopped, told.append)

        @fn.task(name="work")
        def work() -> None:
            pass

        work.defer()
        burst(fn)
        assert [event.released for event in told] == [0]


def test_two_queues_one_of_which_is_busy_do_not_starve_each_other(tmp_path):
    fn: FnQueue = queue_in(tmp_path)
    seen = []

    @fn.task(name="busy", queue="busy")
    def busy() -> None:
        time.sleep(0.002)

    @fn.task(name="rare", queue="rare")
    def rare() -> None:
        seen.append(time.monotonic())

    fn.defer_many(busy, [()] * 500)
    with working(fn, concurrency=2):
        began = time.monotonic()
        rare.defer()
        eventually(lambda: seen, 5)
        assert seen[0] - began < 1
