"""Which thread Django's synchronous side runs in, for coroutine tasks and for async code that defers.

Django's ORM in async code runs in a thread by `sync_to_async(thread_sensitive=True)`, and the connections and
transactions belong to that thread. So `adefer` sends from there, and sees the transaction that is open there.
In a worker each attempt of a coroutine task has a thread of its own for this, as each request has under ASGI: no
other attempt can meet its connections, and they are closed at its end, in that thread. (CONN_MAX_AGE cannot count
where threads come and go; a pool does.) A thread is made for those that need one.
In `apply` and in tests it is the caller's own thread, so that a task sees what a TestCase wrote.
Knows asgiref; what closing connections means is connections.py's.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from concurrent.futures import Executor, Future
from contextlib import asynccontextmanager
from typing import Any, ParamSpec, TypeVar

from asgiref.sync import SyncToAsync, ThreadSensitiveContext, async_to_sync, sync_to_async

from django_fnqueue.connections import leave
from fnqueue.task.task import Task

P = ParamSpec("P")
T = TypeVar("T")


async def in_thread(function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Call it where this async code's ORM runs, with this context's variables. The loop goes on meanwhile."""
    return await sync_to_async(function, thread_sensitive=True)(*args, **kwargs)


@asynccontextmanager
async def around_coroutine(task: Task[Any, Any, Any]) -> AsyncIterator[None]:
    """For `Hooks.coroutine`."""
    async with ThreadSensitiveContext() as context:
        # asgiref would make a pool, whose thread Python waits for at its end, however long what it does may take.
        SyncToAsync.context_to_thread_executor[context] = _Thread(lambda: leave(task.name))
        yield


def wait_for(coroutine: Coroutine[Any, Any, T]) -> T:
    """For `Hooks.wait_for`: the coroutine's ORM runs in this thread, but where a loop runs in it."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return async_to_sync(_awaited)(coroutine)
    from fnqueue.execution.apply import on_another_thread  # not at the top: most processes never execute

    return on_another_thread(coroutine)


async def _awaited(coroutine: Coroutine[Any, Any, T]) -> T:
    return await coroutine


class _Thread(Executor):
    """One daemon thread, made when first needed. `last` is called in it at its end."""

    def __init__(self, last: Callable[[], None]) -> None:
        self._last = last
        self._calls: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """For the loop's thread only."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._serve, name="fnqueue-sync", daemon=True)
            self._thread.start()
        future: Future[T] = Future()
        self._calls.put((future, lambda: fn(*args, **kwargs)))
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Not waited for: it would hold up the loop, and all else that runs there."""
        self._calls.put(None)

    def _serve(self) -> None:
        while (given := self._calls.get()) is not None:
            future, call = given
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(call())
                except BaseException as error:
                    future.set_exception(error)
            del given, future, call
        self._last()
