"""Coroutine tasks with Django's ORM, and deferring from async code: in which thread, connection and transaction."""

from __future__ import annotations

import asyncio
import threading

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.db import connection, connections, transaction
from django.db.transaction import atomic
from django.http import JsonResponse
from django.test import AsyncClient, TestCase
from django.test.utils import override_settings
from django.urls import path

import fnqueue.testing
from django_fnqueue import FnQueue
from fnqueue.middleware import Middleware
from fnqueue.policies import public
from tests.integrations.django.newsstand.models import Article
from tests.integrations.django.newsstand.tasks import add
from tests.worker.helpers import eventually


class Trouble(Exception):
    """Of a task."""


@pytest.fixture
def note(on_disk):
    return on_disk.task(name="note", policy=public)(_note)


def _note(n: int) -> int:
    return n


def store(title: str) -> int:
    with atomic():
        return int(Article.objects.create(title=title).pk)


# ------------------------------------------------------------------ coroutine tasks in a worker


def test_coroutine_tasks_use_the_orm_many_at_once(on_disk, work):
    @on_disk.task(name="write", policy=public)
    async def write(n: int) -> str:
        pk = await sync_to_async(store)(f"number {n}")
        await asyncio.sleep(0)
        found = await Article.objects.aget(pk=pk)
        found.title += "!"
        await found.asave()
        return (await Article.objects.aget(pk=pk)).title

    handles = [write.defer(n) for n in range(30)]
    work()
    assert [handle.result() for handle in handles] == [f"number {n}!" for n in range(30)]
    assert Article.objects.count() == 30


def test_each_attempt_has_one_thread_and_no_other_has_its_connection(on_disk, work):
    seen = {}

    def look():
        connection.ensure_connection()
        return threading.get_ident(), connection.connection

    @on_disk.task(name="looks", policy=public)
    async def looks(n: int) -> None:
        found = []
        for _ in range(3):
            found.append(await sync_to_async(look)())
            await asyncio.sleep(0.01)
        seen[n] = found

    for n in range(10):
        looks.defer(n)
    work()
    firsts = [found[0] for found in seen.values()]
    assert all(each == found[0] for found in seen.values() for each in found)
    assert len({id(made) for _, made in firsts}) == 10


def test_at_the_end_of_an_attempt_its_connections_are_closed_and_its_thread_ends(on_disk, work, monkeypatch):
    monkeypatch.setitem(connection.settings_dict, "CONN_MAX_AGE", None)
    used = []

    def look():
        connection.ensure_connection()
        used.append((connections["default"], threading.current_thread()))

    @on_disk.task(name="looks", policy=public)
    async def looks() -> None:
        await sync_to_async(look)()
        raise Trouble

    looks.defer()
    work()
    ((made, thread),) = used
    assert eventually(lambda: not thread.is_alive())
    assert made.connection is None


def test_a_coroutine_that_needs_no_synchronous_side_makes_no_thread_for_it(on_disk, work):
    @on_disk.task(name="plain", policy=public)
    async def plain() -> list[str]:
        await asyncio.sleep(0)
        return [thread.name for thread in threading.enumerate()]

    handle = plain.defer()
    work()
    assert "fnqueue-sync" not in handle.result()


def test_a_transaction_that_a_coroutine_left_open_is_rolled_back_and_meets_no_other(on_disk, work, caplog):
    def leave_open():
        atomic().__enter__()
        Article.objects.create(title="never")

    @on_disk.task(name="leaves", policy=public)
    async def leaves() -> None:
        await sync_to_async(leave_open)()

    @on_disk.task(name="writes", policy=public)
    async def writes() -> int:
        return await sync_to_async(store)("there")

    leaves.defer()
    handle = writes.defer()
    work()
    assert handle.state == "SUCCESS"
    assert eventually(lambda: "leaves left a transaction open in the database 'default'" in caplog.text)
    assert [article.title for article in Article.objects.all()] == ["there"]


def test_connections_of_other_threads_of_a_coroutine_are_closed_after_each_call(on_disk, work, monkeypatch):
    monkeypatch.setitem(connection.settings_dict, "CONN_MAX_AGE", None)
    used = []

    def look():
        connection.ensure_connection()
        used.append(connections["default"])

    @on_disk.task(name="looks", policy=public)
    async def looks() -> None:
        await asyncio.to_thread(look)
        await sync_to_async(look, thread_sensitive=False)()

    looks.defer()
    work()
    assert len(used) == 2
    assert eventually(lambda: all(made.connection is None for made in used))


def test_what_a_coroutine_task_defers_waits_for_the_transaction_of_its_own_thread(on_disk, note, work):
    ids = []

    def commits(n):
        with atomic():
            ids.append((n, note.defer(n)))

    def rolls_back(n):
        with pytest.raises(Trouble), atomic():
            ids.append((n, note.defer(n)))
            raise Trouble

    @on_disk.task(name="outer", policy=public)
    async def outer() -> None:
        await sync_to_async(commits)(1)
        await sync_to_async(rolls_back)(2)
        ids.append((3, await note.adefer(3)))

    outer.defer()
    work()
    work()
    assert {n: handle.state for n, handle in ids} == {1: "SUCCESS", 2: "PENDING", 3: "SUCCESS"}


def test_a_coroutine_with_middleware_around_it_has_its_thread_too(on_disk, work):
    class Wraps(Middleware):
        def execute(self, context, call_next):
            Article.objects.count()
            return call_next(context)

    @on_disk.task(name="write", policy=public)
    async def write() -> int:
        return await sync_to_async(store)("one")

    on_disk.middleware.append(Wraps())
    try:
        handle = write.defer()
        work()
    finally:
        on_disk.middleware.clear()
    assert handle.state == "SUCCESS"


# ------------------------------------------------------------------ adefer


def test_adefer_sees_the_transaction_of_the_thread_that_the_async_code_was_called_from(fn, drain):
    note = fn.task(name="note", policy=public)(_note)
    handles = []

    async def view_part(n):
        handles.append(await note.adefer(n))

    with atomic():
        async_to_sync(view_part)(1)
        drain()
        assert handles[0].held
    with pytest.raises(Trouble), atomic():
        async_to_sync(view_part)(2)
        raise Trouble
    drain()
    assert handles[0].result() == 1
    assert not handles[1].held


def test_adefer_sees_the_transaction_that_is_open_in_the_thread_of_sync_to_async(fn):
    note = fn.task(name="note", policy=public)(_note)

    async def view():
        block = atomic()
        await sync_to_async(block.__enter__)()
        inside = await note.adefer(1)
        held = inside.held
        await sync_to_async(block.__exit__)(None, None, None)
        outside = await note.adefer(2)
        await sync_to_async(connections.close_all)()
        return held, inside.held, outside.held

    assert asyncio.run(view()) == (True, False, False)


def test_adefer_leaves_the_loop_free_while_the_queue_is_slow(fn):
    note = fn.task(name="note", policy=public)(_note)
    sending, go_on = threading.Event(), threading.Event()

    class Slow(Middleware):
        def send(self, call, call_next):
            sending.set()
            assert go_on.wait(10)
            return call_next(call)

    fn.runtime().middleware.append(Slow())

    async def view():
        deferring = asyncio.ensure_future(note.adefer(1))
        while not sending.is_set():
            await asyncio.sleep(0.001)
        go_on.set()  # the loop came here while the send was under way
        return await deferring

    try:
        assert len(asyncio.run(view()).id) == 26
    finally:
        fn.runtime().middleware.clear()


async def page(request):
    def commit():
        with atomic():
            return add.defer(1, 1).held

    return JsonResponse({"in it": await sync_to_async(commit)(), "after": (await add.adefer(2, 2)).held})


urlpatterns = [path("page", page)]


def test_an_async_view_defers_in_its_requests_thread(fn, drain):
    async def asks():
        return await AsyncClient().get("/page")

    with override_settings(ROOT_URLCONF=__name__, MIDDLEWARE=[]):
        response = asyncio.run(asks())
    assert response.json() == {"in it": True, "after": False}
    assert drain() == 2


# ------------------------------------------------------------------ apply, and users' tests

alone = FnQueue()


@alone.task(name="count", policy=public)
async def count() -> int:
    return await Article.objects.acount()


@alone.task(name="exits", policy=public)
async def exits() -> None:
    await asyncio.sleep(0)
    raise SystemExit


@alone.task(name="echo", policy=public)
def echo(n: int) -> int:
    return n


class InATestCase(TestCase):
    databases = frozenset({"default", "other"})

    def setUp(self):
        self.enterContext(fnqueue.testing.in_memory(alone))
        Article.objects.create(title="of this test")

    def test_a_coroutine_task_that_is_applied_sees_what_the_test_wrote(self):
        assert count.apply().value == 1

    def test_a_coroutine_task_that_is_drained_sees_what_the_test_wrote(self):
        with self.captureOnCommitCallbacks(execute=True):
            handle = count.defer()
        fnqueue.testing.Drain(alone.runtime)()
        assert handle.result() == 1

    def test_a_coroutine_that_exits_fails_and_nothing_else_ends(self):
        assert exits.apply().state == "FAILURE"
        assert count.apply().value == 1

    async def test_what_an_async_test_defers_is_held(self):
        handle = await echo.adefer(1)
        assert handle.held

    async def test_an_async_test_captures_where_its_orm_runs(self):
        """The coroutine itself is in another thread, which has another connection."""
        captured = self.captureOnCommitCallbacks(execute=True)
        await sync_to_async(captured.__enter__)()
        handle = await echo.adefer(1)
        await sync_to_async(captured.__exit__)(None, None, None)
        await sync_to_async(fnqueue.testing.Drain(alone.runtime))()
        assert handle.result() == 1

    async def test_applying_where_a_loop_runs_works_too(self):
        assert exits.apply().state == "FAILURE"


def test_a_rolled_back_call_of_async_code_is_dropped(fn):
    note = fn.task(name="note", policy=public)(_note)

    async def view():
        def fails():
            with atomic():
                handles.append(note.defer(1))
                transaction.set_rollback(True)

        await sync_to_async(fails)()
        await sync_to_async(connections.close_all)()

    handles = []
    asyncio.run(view())
    assert not handles[0].held
