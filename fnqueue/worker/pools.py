"""Where tasks run: threads fed by one SimpleQueue, and one event loop for coroutine tasks.

A thread takes a delivery, runs it to its outcome and hands both on. A coroutine task is opened and
authorised in a thread as well, then runs on the loop and frees the thread.
Knows the executor; knows no broker and no store.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable

from fnqueue.errors import TaskRevoked
from fnqueue.execution.delivery import Delivery
from fnqueue.execution.execute import Executor, Run
from fnqueue.outcome import Outcome, Released
from fnqueue.worker.slots import Slots

Finished = Callable[[Delivery, Outcome], None]


class ThreadPool:
    """`stop_starting()` and what was not started comes back as Released."""

    def __init__(self, executor: Executor, loop: AsyncPool, slots: Slots, finished: Finished, threads: int) -> None:
        self._executor, self._loop, self._slots, self._finished = executor, loop, slots, finished
        self._inbox: queue.SimpleQueue[Delivery | None] = queue.SimpleQueue()
        self._stopping = False
        self._threads = [
            threading.Thread(target=self._serve, name=f"fnqueue-task-{n + 1}", daemon=True) for n in range(threads)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def put(self, delivery: Delivery) -> None:
        self._inbox.put(delivery)

    def stop_starting(self) -> None:
        self._stopping = True

    def close(self) -> None:
        for _ in self._threads:
            self._inbox.put(None)

    def _serve(self) -> None:
        get, execute, started, finished = self._inbox.get, self._executor.execute, self._slots.started, self._finished
        while (delivery := get()) is not None:
            started()
            if self._stopping:
                finished(delivery, Released())
                continue
            outcome = execute(delivery)
            if isinstance(outcome, Run):
                self._loop.put(outcome)
            else:
                finished(delivery, outcome)


class AsyncPool:
    """One loop in one thread, started with the first coroutine task; at most `most` run at once."""

    def __init__(self, executor: Executor, finished: Finished, most: int) -> None:
        self._executor, self._finished, self._most = executor, finished, most
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._room: asyncio.Semaphore | None = None
        self._running: set[asyncio.Task[None]] = set()

    def put(self, run: Run) -> None:
        loop = self._started()
        loop.call_soon_threadsafe(self._begin, run)

    def revoke(self, delivery: Delivery) -> None:
        """Interrupt the coroutine with TaskRevoked, where it awaits."""
        runner = delivery.coroutine
        if self._loop is not None and runner is not None:
            self._loop.call_soon_threadsafe(runner.interrupt, TaskRevoked(f"task {delivery.id} was cancelled"))

    def close(self) -> None:
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._loop.stop)

    def _started(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._room = asyncio.Semaphore(self._most)
                threading.Thread(target=self._serve, name="fnqueue-loop", daemon=True).start()
            return self._loop

    def _serve(self) -> None:
        assert self._loop is not None
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    def _begin(self, run: Run) -> None:
        assert self._loop is not None
        task = self._loop.create_task(self._run(run))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _run(self, run: Run) -> None:
        loop, room = self._loop, self._room
        assert loop is not None and room is not None
        async with room:
            if self._executor.wraps_runs():
                outcome = await asyncio.to_thread(self._executor.execute_wrapped, run, loop)
            else:
                outcome = await self._executor.execute_async(run)
        self._finished(run.delivery, outcome)
