"""Where tasks run: threads fed by one SimpleQueue, and one event loop for coroutine tasks.

A thread takes a delivery, runs it to its outcome and hands both on. A coroutine task is opened and
authorised in a thread as well, then runs on the loop and frees the thread. Whatever happens, each delivery comes
to exactly one outcome: one that were forgotten here would be kept invisible by the heartbeat for ever.
Knows the executor; knows no broker and no store.
"""

from __future__ import annotations

import asyncio
import contextvars
import os
import queue
import threading
from collections import deque
from collections.abc import Callable

from fnqueue.errors import TaskRevoked
from fnqueue.execution.admitting import Run
from fnqueue.execution.coroutines import serve
from fnqueue.execution.delivery import Delivery
from fnqueue.execution.execute import Executor
from fnqueue.execution.texts import error_text
from fnqueue.outcome import Outcome, Released, Rescheduled
from fnqueue.worker.daemons import DaemonExecutor
from fnqueue.worker.slots import Slots

Finished = Callable[[Delivery, Outcome], None]


class ThreadPool:
    """After `stop_starting()` what has not started comes back as Released."""

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
        if self._stopping:
            self.stop_starting()  # no thread may be free to see it

    def stop_starting(self) -> None:
        """Give back what waits, now: the threads may all be busy for long."""
        self._stopping = True
        try:
            while (delivery := self._inbox.get_nowait()) is not None:
                self._slots.started()
                self._finished(delivery, Released())
        except queue.Empty:
            return

    def close(self) -> None:
        for _ in self._threads:
            self._inbox.put(None)

    def _serve(self) -> None:
        try:
            self._run_all()
        finally:
            self._executor.powers.thread_done()

    def _run_all(self) -> None:
        get, started = self._inbox.get, self._slots.started
        while (delivery := get()) is not None:
            started()
            outcome = Released() if self._stopping or self._is_stale(delivery) else self._execute(delivery)
            if isinstance(outcome, Run):
                self._slots.moved_to_loop()
                self._loop.put(outcome)
            else:
                self._finished(delivery, outcome)

    def _is_stale(self, delivery: Delivery) -> bool:
        """Whether it waited for longer than it is ours: this process stood still, and a twin may run it by now."""
        return delivery.lost or self._executor.powers.clock.monotonic() >= delivery.receipt.deadline

    def _execute(self, delivery: Delivery) -> Outcome | Run:
        try:
            # In a context of its own: what a task leaves set (a principal, say) is not for the next of this thread.
            return contextvars.copy_context().run(self._executor.execute, delivery)
        except BaseException as error:
            return _unforeseen(error)


class KeptLoop:
    """The loop of one pool after another in a process, for what coroutines keep there: connections, locks."""

    def __init__(self) -> None:
        self._of: tuple[int, asyncio.AbstractEventLoop] | None = None

    def get(self) -> asyncio.AbstractEventLoop | None:
        pid, loop = self._of or (0, None)
        return loop if pid == os.getpid() else None  # a forked child has no thread that serves it

    def keep(self, loop: asyncio.AbstractEventLoop) -> None:
        self._of = os.getpid(), loop


class AsyncPool:
    """One loop in one thread, started with the first coroutine task; at most `most` run at once. What is `kept` is not
    closed."""

    def __init__(self, executor: Executor, finished: Finished, most: int, kept: KeptLoop | None = None) -> None:
        self._executor, self._finished, self._most, self._kept = executor, finished, most, kept
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        # What follows belongs to the loop's thread.
        self._waiting: deque[Run] = deque()
        self._running: set[asyncio.Task[None]] = set()
        self._stopping = False

    def put(self, run: Run) -> None:
        self._started().call_soon_threadsafe(self._begin, run)

    def revoke(self, delivery: Delivery) -> None:
        """Interrupt the coroutine with TaskRevoked, where it awaits."""
        runner = delivery.coroutine
        if self._loop is not None and runner is not None:
            self._loop.call_soon_threadsafe(runner.interrupt, TaskRevoked(f"task {delivery.id} was cancelled"))

    def stop_starting(self) -> None:
        """What waits for room, and what comes from now on, is Released."""
        with self._lock:
            if self._loop is None:
                self._stopping = True
            else:
                self._loop.call_soon_threadsafe(self._give_back)

    def close(self) -> None:
        if self._loop is not None and self._thread is not None and self._kept is None:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(1.0)

    def _started(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None and self._kept is not None:
                self._loop = self._kept.get()
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                if self._kept is not None:
                    self._kept.keep(self._loop)
                self._loop.set_default_executor(DaemonExecutor(self._most, self._executor.powers.thread_done))
                self._thread = threading.Thread(target=self._serve, name="fnqueue-loop", daemon=True)
                self._thread.start()
            return self._loop

    def _serve(self) -> None:
        assert self._loop is not None
        asyncio.set_event_loop(self._loop)
        serve(self._loop)
        if not self._running:  # what was given back may still be running, until the process ends
            self._loop.close()

    # ---------------------------------------------------------------- in the loop's thread

    def _give_back(self) -> None:
        self._stopping = True
        while self._waiting:
            self._finished(self._waiting.popleft().delivery, Released())

    def _begin(self, run: Run) -> None:
        if self._stopping:
            self._finished(run.delivery, Released())
        elif len(self._running) >= self._most:
            self._waiting.append(run)
        else:
            assert self._loop is not None
            task = self._loop.create_task(self._run(run))
            self._running.add(task)
            task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        if self._waiting:
            self._begin(self._waiting.popleft())

    async def _run(self, run: Run) -> None:
        try:
            if self._executor.wraps_runs():
                outcome = await self._wrapped(run)
            else:
                outcome = await self._executor.execute_async(run)
        except BaseException as error:
            outcome = _unforeseen(error)
        self._finished(run.delivery, outcome)

    async def _wrapped(self, run: Run) -> Outcome:
        """In a daemon thread of its own: asyncio's executor has few, and waits for all of them when Python ends."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[Outcome] = loop.create_future()

        def work() -> None:
            try:
                outcome = self._executor.execute_wrapped(run, loop)
            except BaseException as error:
                outcome = _unforeseen(error)
            loop.call_soon_threadsafe(done.set_result, outcome)
            self._executor.powers.thread_done()

        threading.Thread(target=work, name="fnqueue-wrapped", daemon=True).start()
        return await done


def _unforeseen(error: BaseException) -> Outcome:
    # The executor lets no exception out, so this is a mistake of ours. The message must not be lost for it.
    return Rescheduled(1.0, error_text(error), counts=False)
