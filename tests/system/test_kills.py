"""Workers are killed at random. Nothing is lost, and only what was running in a killed one is done twice."""

from __future__ import annotations

import random
import signal
import subprocess
import time
from collections.abc import Callable

import pytest

from tests.system.fleet import Fleet

pytestmark = pytest.mark.system
WORKERS = 3


def busy_one(fleet: Fleet, dice: random.Random, feed: Callable[[], object] = lambda: None) -> subprocess.Popen[bytes]:
    """One of the workers that have begun a task, by chance. `feed` is called until there is one."""
    return dice.choice(fleet.wait(lambda: (feed(), fleet.busy())[1], 60, "a worker begins"))


def kill_at_random(fleet: Fleet, dice: random.Random, kills: int, feed: Callable[[], object], **settings: str) -> None:
    """`kills` times: kill one of the workers while it works. Another takes its place."""
    for _ in range(WORKERS):
        fleet.start(**settings)
    for _ in range(kills):
        worker = busy_one(fleet, dice, feed)
        feed()
        time.sleep(dice.uniform(0, 0.4))
        fleet.kill(worker)
        fleet.start(**settings)


def check_effects(fleet: Fleet, calls: set[str]) -> tuple[int, int]:
    """Every effect is there, and doubled only where the process of the earlier one was killed before it settled.

    Returns how many were doubled, and how many begun again.
    """
    lines, settled, ran = fleet.lines("effect", "settled", "start"), set[str](), dict[str, list[int]]()
    doubled, again = set(), set()
    for line in lines:
        if line.what == "settled":
            settled.add(line.call)
            continue
        assert line.call not in settled, f"{line.call} ran again in {line.pid} after it was settled"
        if line.what == "effect":
            before = ran.setdefault(line.call, [])
            if before:
                doubled.add(line.call)
                assert set(before) <= fleet.killed, f"{line.call} ran in {before} and {line.pid}"
            before.append(line.pid)
    for call, starts in fleet.by_call("start").items():
        if len(starts) > 1:
            again.add(call)
            assert {line.pid for line in starts[:-1]} <= fleet.killed, f"{call} was begun in {starts}"
    assert set(ran) == calls, f"{len(calls - set(ran))} effects are missing"
    return len(doubled), len(again)


def check_once(fleet: Fleet, calls: set[str]) -> None:
    """One recorded success each."""
    runtime = fleet.fn.runtime()
    settled = fleet.by_call("settled")
    for call in calls:
        assert runtime.results.read(call).state == "SUCCESS"
        assert runtime.engine.store.get("once", call).fields["state"] == "done"
        assert len(settled.get(call, [])) <= 1


def check_queues(fleet: Fleet, calls: set[str]) -> None:
    fleet.wait(lambda: fleet.left() == 0, 30, "the queue is empty")
    assert fleet.dead() == 0
    records = fleet.fn.runtime().results.read_many(sorted(calls))
    assert {record.state for record in records.values()} == {"SUCCESS"}
    assert set(records) == calls


def run(
    fleet: Fleet, dice: random.Random, *, kills: int, tasks: int, chunk: int, seconds: float, **settings: str
) -> None:
    """One in five tasks is `once`. More than `tasks` are deferred where the kills take longer than that."""
    work, once = fleet.task("work"), fleet.task("once")
    calls: set[str] = set()
    once_calls: set[str] = set()
    settings["max_crashes"] = "100"  # with so many kills a call may be unlucky three times: that bound has its own test

    def defer(count: int) -> None:
        for task, share, into in ((work, count * 4 // 5, calls), (once, count // 5, once_calls)):
            into |= {handle.id for handle in fleet.fn.defer_many(task, [(dice.uniform(0, seconds),)] * share)}

    def feed() -> None:
        if fleet.left() < chunk:
            defer(chunk)

    with fleet.timed(f"{kills} kills"):
        kill_at_random(fleet, dice, kills, feed, **settings)
    defer(max(0, tasks - len(calls) - len(once_calls)))
    everything = calls | once_calls
    with fleet.timed(f"the rest of {len(everything):,} tasks"):
        fleet.wait(lambda: len(fleet.by_call("effect").keys() & everything) == len(everything), 120, "all effects")
        check_queues(fleet, everything)
    for worker in list(fleet.workers):
        assert fleet.stop(worker) == 0
    doubled, again = check_effects(fleet, everything)
    check_once(fleet, once_calls)
    print(f"{len(everything):,} tasks, {kills} kills: {again} begun again, {doubled} effects doubled")
    assert again > 0, "no kill hit a running task: the test proves nothing"


@pytest.mark.timeout(300)
def test_thirty_kills_over_three_workers_on_sqlite(fleet: Fleet, dice: random.Random, full: bool) -> None:
    sizes = {"kills": 30, "tasks": 10_000} if full else {"kills": 12, "tasks": 3000}
    run(fleet, dice, **sizes, chunk=200, seconds=0.08, visibility_seconds="3")


@pytest.mark.aws
@pytest.mark.timeout(300)
def test_thirty_kills_over_three_workers_on_sqs(sqs_fleet: Fleet, dice: random.Random, full: bool) -> None:
    sizes = {"kills": 30, "tasks": 300} if full else {"kills": 8, "tasks": 80}
    run(sqs_fleet, dice, **sizes, chunk=20, seconds=0.5, visibility_seconds="4")


@pytest.mark.timeout(300)
def test_thirty_stops_begin_nothing_twice(fleet: Fleet, dice: random.Random, full: bool) -> None:
    """SIGTERM: what runs finishes, what has not started goes back, and the exit code is 0."""
    work, calls, stops = fleet.task("work"), set[str](), 30 if full else 12

    def feed() -> None:
        if fleet.left() < 100:
            calls.update(handle.id for handle in fleet.fn.defer_many(work, [(dice.uniform(0, 0.05),)] * 100))

    for _ in range(WORKERS):
        fleet.start()
    for _ in range(stops):
        worker = busy_one(fleet, dice, feed)
        feed()
        time.sleep(dice.uniform(0, 0.3))
        assert fleet.stop(worker, 10) == 0
        fleet.start()
    fleet.wait(lambda: len(fleet.by_call("effect")) == len(calls), 60, "all effects")
    check_queues(fleet, calls)
    for worker in list(fleet.workers):
        assert fleet.stop(worker) == 0
    starts, ends = fleet.by_call("start"), fleet.by_call("effect")
    assert starts.keys() == ends.keys() == calls
    assert [call for call in calls if len(starts[call]) > 1] == []
    assert len(fleet.lines("released")) > 0, "no stop found anything waiting: the test proves nothing"
    print(f"{len(calls):,} tasks, {stops} stops: {len(fleet.lines('released'))} given back, none begun twice")


def test_a_second_signal_gives_back_what_runs_at_once(fleet: Fleet, tmp_path) -> None:
    until = fleet.task("until")
    handle = until.defer(str(tmp_path / "go"), 0)
    worker = fleet.start(visibility_seconds="300")
    fleet.wait(fleet.busy, 30)
    worker.send_signal(signal.SIGTERM)
    time.sleep(0.3)
    assert worker.poll() is None, "it waits for the task"
    worker.send_signal(signal.SIGTERM)
    began = time.monotonic()
    assert fleet.ended(worker, 5) == 5
    assert time.monotonic() - began < 4
    (tmp_path / "go").touch()
    other = fleet.start(visibility_seconds="300")
    assert handle.result(10) == other.pid, "it need not wait for the five minutes of the first one's lease"


def test_a_thread_that_a_coroutine_waits_for_keeps_no_worker_from_ending(fleet: Fleet) -> None:
    fleet.task("blocks").defer(60.0)
    worker = fleet.start()
    fleet.wait(fleet.busy, 30)
    worker.send_signal(signal.SIGTERM)
    time.sleep(0.2)
    worker.send_signal(signal.SIGTERM)
    assert fleet.ended(worker, 5) == 5


def test_an_idle_worker_is_gone_within_a_second(fleet: Fleet) -> None:
    handle = fleet.task("work").defer(0)
    worker = fleet.start()
    handle.result(30)
    time.sleep(0.2)
    began = time.monotonic()
    assert fleet.stop(worker) == 0
    took = time.monotonic() - began
    print(f"gone after {took:.2f} s")
    assert took < 3, "a second, and what a busy machine needs besides"


@pytest.mark.timeout(120)
def test_at_most_once_is_never_begun_twice_whoever_is_killed(fleet: Fleet, dice: random.Random) -> None:
    most, calls = fleet.task("most"), set[str]()

    def feed() -> None:
        if fleet.left() < 50:
            calls.update(handle.id for handle in fleet.fn.defer_many(most, [(dice.uniform(0, 0.05),)] * 100))

    for _ in range(2):
        fleet.start(visibility_seconds="2")
    for _ in range(6):
        worker = busy_one(fleet, dice, feed)
        time.sleep(dice.uniform(0, 0.3))
        fleet.kill(worker)
        fleet.start(visibility_seconds="2")
    fleet.wait(lambda: fleet.left() == 0, 60)
    for worker in list(fleet.workers):
        assert fleet.stop(worker) == 0
    starts = fleet.by_call("start")
    assert [call for call in calls if len(starts.get(call, [])) > 1] == []
    lost = len(starts) - len(fleet.by_call("effect"))
    print(f"{len(calls):,} calls, 6 kills: {lost} begun and lost, {len(calls) - len(starts)} deleted and not begun")
    assert lost > 0, "no kill hit a running task: the test proves nothing"


@pytest.mark.timeout(120)
def test_a_call_that_kills_every_worker_is_dead_lettered_and_the_others_run(fleet: Fleet) -> None:
    poisonous = fleet.task("poison").defer()
    others = {handle.id for handle in fleet.fn.defer_many(fleet.task("work"), [(0.01,)] * 200)}
    workers = [fleet.start(visibility_seconds="2")]
    began = time.monotonic()
    while poisonous.state != "FAILURE":
        if workers[-1].poll() is not None:
            fleet.workers.remove(workers[-1])
            workers.append(fleet.start(visibility_seconds="2"))
        assert time.monotonic() - began < 60
        time.sleep(0.05)
    assert len(fleet.by_call("start")[poisonous.id]) == 4, "the start that is not written down, and three that are"
    assert "max_crashes=3" in poisonous.record().error.message
    fleet.wait(lambda: fleet.by_call("effect").keys() == others, 30)
    fleet.wait(lambda: fleet.left() == 0, 10)
    broker = fleet.fn.runtime().engine.broker
    (dead,) = broker.receive("default__dead", visibility_seconds=0)
    assert dead.attributes["reason"] == "CRASHED"


@pytest.mark.timeout(120)
def test_a_group_keeps_its_order_across_retries_and_kills(fleet: Fleet, dice: random.Random, full: bool) -> None:
    step, groups, length = fleet.task("step"), "abcdef", 60 if full else 25
    for n in range(length):
        for group in groups:
            step.using(group=group).defer(group, n, dice.random() < 0.1)
    for _ in range(2):
        fleet.start(visibility_seconds="2")
    for _ in range(10 if full else 4):
        worker = busy_one(fleet, dice)
        time.sleep(dice.uniform(0, 0.5))
        fleet.kill(worker)
        fleet.start(visibility_seconds="2")
    wanted = {f"{group}:{n}" for group in groups for n in range(length)}
    fleet.wait(lambda: fleet.by_call("stepped").keys() >= wanted, 90, "all steps")
    for group in groups:
        done: list[int] = []
        for line in fleet.lines("step", "stepped"):
            name, _, number = line.call.partition(":")
            if name == group:
                n = int(number)
                assert not done or n >= done[-1], f"{line} after {group}:{done[-1]}"
                assert line.what == "step" or not done or n <= done[-1] + 1, f"{line} left one out"
                if line.what == "stepped":
                    done.append(n)
        assert sorted(set(done)) == list(range(length))
