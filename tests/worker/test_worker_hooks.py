"""What an integration has called around attempts, in the thread or on the loop where they run."""

from __future__ import annotations

import asyncio
import threading
from contextlib import asynccontextmanager, contextmanager

import pytest

from fnqueue.middleware import Middleware
from tests.worker.helpers import burst, eventually, queue_in


@pytest.fixture
def told():
    return []


@pytest.fixture
def fn(tmp_path, told):
    fn = queue_in(tmp_path)

    def tell(what):
        told.append((what, threading.current_thread().name))

    @contextmanager
    def attempt(task):
        tell(f"before {task.name}")
        yield
        tell(f"after {task.name}")

    @asynccontextmanager
    async def coroutine(task):
        tell(f"before coroutine {task.name}")
        yield
        tell(f"after coroutine {task.name}")

    fn.hooks.attempt, fn.hooks.coroutine = attempt, coroutine
    fn.hooks.thread_done = lambda: tell("done")
    yield fn
    fn.close()


@pytest.fixture
def plain(fn, told):
    return fn.task(name="plain")(lambda: told.append(("runs", threading.current_thread().name)))


@pytest.fixture
def coroutine(fn, told):
    @fn.task(name="coroutine")
    async def coroutine() -> None:
        told.append(("runs", threading.current_thread().name))
        await asyncio.to_thread(lambda: told.append(("beside", threading.current_thread().name)))

    return coroutine


def test_an_attempt_is_surrounded_in_its_thread_and_the_threads_end_is_told(fn, plain, told):
    plain.defer()
    burst(fn, concurrency=1)
    names = ["before plain", "runs", "after plain", "done"]
    assert eventually(lambda: told == [(name, "fnqueue-task-1") for name in names])


def test_a_coroutine_is_surrounded_on_the_loop_after_its_admission_in_a_thread(fn, coroutine, told):
    coroutine.defer()
    burst(fn, concurrency=1)
    assert told[:2] == [(f"{when} coroutine", "fnqueue-task-1") for when in ("before", "after")]
    on_loop = [what for what, thread in told if thread == "fnqueue-loop"]
    assert on_loop == ["before coroutine coroutine", "runs", "after coroutine coroutine"]
    assert eventually(lambda: [what for what, thread in told if thread == "fnqueue-to-thread"] == ["beside", "done"])


def test_a_thread_that_waits_for_a_wrapped_coroutine_is_told_too(fn, coroutine, told):
    class Wraps(Middleware):
        def execute(self, context, call_next):
            return call_next(context)

    fn.middleware.append(Wraps())
    coroutine.defer()
    burst(fn, concurrency=1)
    assert eventually(lambda: ("done", "fnqueue-wrapped") in told)
    assert [what for what, thread in told if thread == "fnqueue-loop"][1] == "runs"


def test_applying_is_part_of_what_the_caller_does_and_not_surrounded(plain, coroutine, told):
    assert plain.apply().state == coroutine.apply().state == "SUCCESS"
    assert {what for what, _ in told} == {"runs", "beside"}


def test_a_hook_that_fails_beside_coroutines_takes_no_thread_away(fn, coroutine, told, caplog):
    def fails():
        if threading.current_thread().name == "fnqueue-to-thread":
            raise RuntimeError("the door jams")

    fn.hooks.thread_done = fails
    handles = [coroutine.defer() for _ in range(3)]
    burst(fn, concurrency=1)
    assert [handle.state for handle in handles] == ["SUCCESS"] * 3
    assert eventually(lambda: "the door jams" in caplog.text)
