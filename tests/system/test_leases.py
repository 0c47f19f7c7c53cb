"""A long task runs once, and a worker that stood still past its lease cannot spoil its twin's work."""

from __future__ import annotations

import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from fnqueue.broker.base import Entry
from fnqueue.state.results import TaskRecord
from tests.system.fleet import Fleet

pytestmark = [pytest.mark.system, pytest.mark.timeout(120)]


@pytest.mark.parametrize("engine", ["sqlite", pytest.param("sqs", marks=pytest.mark.aws)])
def test_a_task_of_five_times_its_visibility_runs_once(engine: str, request: pytest.FixtureRequest) -> None:
    fleet: Fleet = request.getfixturevalue("fleet" if engine == "sqlite" else "sqs_fleet")
    # On SQS a lease of a second is gone before its renewal has travelled, so it is three there.
    visibility = 1 if engine == "sqlite" else 3
    for _ in range(2):
        fleet.start(visibility_seconds=str(visibility))
    handles = [fleet.task(name).defer(5.0 * visibility) for name in ("work", "once", "coroutine")]
    for handle in handles:
        handle.result(60)
    assert {call: len(lines) for call, lines in fleet.by_call("start").items()} == {h.id: 1 for h in handles}
    fleet.wait(lambda: fleet.left() == 0, 10)
    for handle in handles:
        record = handle.record()
        assert record.attempts == 1
        assert (record.finished_at - record.started_at).total_seconds() >= 5 * visibility


def started_by(fleet: Fleet, call: str) -> list[int]:
    return [line.pid for line in fleet.by_call("start").get(call, [])]


def stand_still(fleet: Fleet, handle: Any) -> tuple[subprocess.Popen[bytes], subprocess.Popen[bytes]]:
    """The worker that runs the call is stopped, and its twin has begun the same call. (the stopped, the twin)"""
    first = fleet.start(visibility_seconds="2", shutdown_timeout_seconds="30")
    fleet.wait(lambda: started_by(fleet, handle.id), 30)
    time.sleep(0.3)
    first.send_signal(signal.SIGSTOP)
    twin = fleet.start(visibility_seconds="2", shutdown_timeout_seconds="30")
    fleet.wait(lambda: len(started_by(fleet, handle.id)) == 2, 30, "the twin begins")
    return first, twin


def record_of(fleet: Fleet, handle: Any) -> TaskRecord:
    found = fleet.fn.runtime().results.read(handle.id)
    assert found is not None
    return found


@pytest.mark.parametrize("files", ["one file", "two files"])
def test_a_worker_that_wakes_after_its_twin_has_ended_changes_nothing(fleet: Fleet, tmp_path: Path, files: str) -> None:
    if files == "two files":
        fleet.settings["FNQUEUE_STORE_URL"] = f"sqlite:///{tmp_path}/store.db"
    go = tmp_path / "go"
    handle = fleet.task("until").defer(str(go), 0)
    first, twin = stand_still(fleet, handle)
    go.touch()
    assert handle.result(30) == twin.pid
    before = record_of(fleet, handle)
    first.send_signal(signal.SIGCONT)
    fleet.wait(lambda: len(fleet.by_call("effect").get(handle.id, [])) == 2, 30, "the first one ends, too")
    assert fleet.stop(first) == 0
    assert record_of(fleet, handle) == before
    assert handle.result() == twin.pid
    assert [line.pid for line in fleet.lines("settled")] == [twin.pid]
    assert (fleet.left(), fleet.dead()) == (0, 0)


@pytest.mark.parametrize("files", ["one file", "two files"])
def test_a_worker_that_wakes_while_its_twin_runs_neither_ends_nor_deletes_its_message(
    fleet: Fleet, tmp_path: Path, files: str
) -> None:
    if files == "two files":
        fleet.settings["FNQUEUE_STORE_URL"] = f"sqlite:///{tmp_path}/store.db"
    go = tmp_path / "go"
    handle = fleet.task("until").defer(str(go), 8)  # the twin has begun later, so it ends later
    first, twin = stand_still(fleet, handle)
    go.touch()
    first.send_signal(signal.SIGCONT)
    fleet.wait(lambda: [line.pid for line in fleet.lines("effect")] == [first.pid], 30, "the first one ends")
    assert fleet.stop(first) == 0, "and has settled what it may"
    assert handle.state == "STARTED"
    assert fleet.left() == 1, "the twin's message is where it was"
    assert fleet.lines("settled") == []
    assert handle.result(30) == twin.pid
    fleet.wait(lambda: fleet.left() == 0, 10)
    assert [line.pid for line in fleet.lines("settled")] == [twin.pid]
    assert record_of(fleet, handle).fence == (0, 2)


def test_a_once_task_has_one_holder_though_a_worker_stands_still(fleet: Fleet, tmp_path: Path) -> None:
    """The twin waits for the lease of the right, not only for that of the message; then the first one is too late."""
    handle = fleet.task("once").defer(1.0)
    first, twin = stand_still(fleet, handle)
    handle.result(30)
    first.send_signal(signal.SIGCONT)
    fleet.wait(lambda: len(fleet.by_call("effect")[handle.id]) == 2, 30)
    assert fleet.stop(first) == 0
    assert [line.pid for line in fleet.lines("settled")] == [twin.pid]
    record = fleet.fn.runtime().engine.store.get("once", handle.id)
    assert (record.fields["state"], record.fields["run"]) == ("done", 2)
    assert (fleet.left(), fleet.dead()) == (0, 0)


@pytest.mark.parametrize("replay", ["once", "required"])
def test_workers_that_race_for_copies_of_one_call_run_it_once(fleet: Fleet, replay: str) -> None:
    """Ten copies of a message, three workers: one run, where the task is `once` or a replay record is required."""
    handle = fleet.task("once" if replay == "once" else "work").defer(0.5)
    broker = fleet.fn.runtime().engine.broker
    (message,) = broker.receive("default", max_messages=1, visibility_seconds=0)
    assert broker.send("default", [Entry(id=f"copy{n}", body=message.body) for n in range(10)]) == []
    for _ in range(3):
        fleet.start(visibility_seconds="2", replay=replay)
    assert handle.result(30) is None
    fleet.wait(lambda: fleet.left() == 0, 30, "the copies are gone")
    assert [len(lines) for lines in fleet.by_call("effect").values()] == [1]
    assert handle.state == "SUCCESS"
    assert fleet.dead() == 0
