"""Tasks that end in ways nobody plans for: each comes to its outcome once, and the worker goes on."""

from __future__ import annotations

import asyncio
import gc
from contextvars import ContextVar

import pytest

from fnqueue import DeadLetter, Principal
from fnqueue.errors import OptionInvalid
from fnqueue.events import TaskSucceeded
from fnqueue.execution.delivery import Delivery
from fnqueue.outcome import Failed
from tests.worker.helpers import eventually, queue_in, working


@pytest.fixture
def fn(tmp_path):
    made = queue_in(tmp_path, heartbeat_seconds=0.1, visibility_seconds=2)
    yield made
    made.close()


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt, GeneratorExit, asyncio.CancelledError])
def test_a_coroutine_that_raises_what_stops_a_loop_fails_and_the_others_on_the_loop_go_on(fn, error):
    @fn.task(name="leave")
    async def leave() -> None:
        await asyncio.sleep(0)
        raise error

    @fn.task(name="stay")
    async def stay() -> str:
        await asyncio.sleep(0.1)
        return "done"

    with working(fn):
        beside, left = stay.defer(), leave.defer()
        assert eventually(lambda: left.state == "FAILURE")
        assert beside.result() == "done"
        assert stay.defer().result() == "done"
        assert left.record().attempts == 1


def test_a_coroutine_started_by_a_task_cannot_stop_the_loop_either(fn):
    @fn.task(name="parent")
    async def parent() -> str:
        async def child() -> None:
            raise SystemExit(9)

        asyncio.ensure_future(child())  # noqa: RUF006 - nobody waits for it: that is the trouble
        await asyncio.sleep(0.05)
        return "done"

    with working(fn):
        assert parent.defer().result() == "done"
    # What asyncio says of the child is said here: Python 3.11 breaks an import that it comes in the middle of, because
    # its traceback's marks are parsed while the module is.
    gc.collect()


def test_apply_comes_back_from_a_coroutine_that_raises_system_exit(fn):
    @fn.task(name="leave")
    async def leave() -> None:
        raise SystemExit(2)

    result = leave.apply()
    assert result.state == "FAILURE"
    assert "SystemExit" in result.error.message


def test_an_error_whose_text_utf_8_cannot_say_is_stored_and_the_call_runs_once(fn):
    runs = []

    @fn.task(name="open_file")
    def open_file() -> None:
        runs.append(1)
        raise FileNotFoundError(b"caf\xe9.jpg".decode("utf-8", "surrogateescape"))  # what os.listdir gives

    with working(fn):
        handle = open_file.defer()
        assert eventually(lambda: handle.state == "FAILURE")
    assert handle.record().error.message == "caf\\udce9.jpg"
    assert len(runs) == 1


@pytest.mark.parametrize("reason", [42, "caf\udce9", None])
def test_a_reason_that_is_no_plain_text_ends_the_call_too(fn, reason):
    @fn.task(name="give_up")
    def give_up() -> None:
        raise DeadLetter(reason)

    with working(fn):
        handle = give_up.defer()
        assert eventually(lambda: handle.state == "FAILURE")


def test_progress_may_name_a_file_that_utf_8_cannot_say(fn):
    @fn.task(name="walk", bind=True)
    def walk(context) -> str:
        context.progress(1, 2, "caf\udce9.jpg")
        return "done"

    with working(fn):
        assert walk.defer().result() == "done"


def test_what_a_task_leaves_set_is_not_there_for_the_next_one_of_its_thread(fn):
    left: ContextVar[str] = ContextVar("left", default="nothing")

    @fn.task(name="forgets")
    def forgets() -> None:
        left.set("something")
        fn._principal.set(Principal(id="root"))  # as when a soft limit strikes at the end of `as_principal`

    @fn.task(name="looks")
    def looks() -> list[str]:
        return [left.get(), str(fn.current_principal())]

    with working(fn, concurrency=1):
        forgets.defer().result()
        assert looks.defer().result() == ["nothing", "nobody"]


def test_a_function_that_yields_is_no_task(fn):
    def rows():
        yield 1

    async def pages():
        yield 1

    for function in (rows, pages):
        with pytest.raises(OptionInvalid, match="has a yield"):
            fn.task(name="generates")(function)


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited")
@pytest.mark.parametrize("wants_values", [True, False])
def test_what_a_wrapper_returns_without_running_it_is_no_success_with_or_without_a_store(fn, wants_values):
    async def work() -> None: ...

    @fn.task(name="wrapper")
    def wrapper():
        return work()

    wrapper.defer()
    executor = fn.runtime().executor(wants_values=wants_values)
    (message,) = fn.runtime().engine.broker.receive("default", max_messages=1)
    outcome = executor.execute(Delivery(message))
    assert isinstance(outcome, Failed)
    assert "never awaited" in outcome.error.message


def test_a_subscriber_that_exits_ends_no_thread_of_the_worker(fn):
    @fn.task(name="note")
    def note() -> int:
        return 1

    def leave(event: TaskSucceeded) -> None:
        raise SystemExit

    fn.on(TaskSucceeded, leave)
    with working(fn):
        assert note.defer().result() == 1
        assert note.defer().result() == 1
