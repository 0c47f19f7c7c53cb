"""The threads behind `asyncio.to_thread` in coroutine tasks: daemons, so that none of them keeps a worker from ending.

asyncio's own executor waits for its threads when Python ends. A worker that gave back what ran too long would then
stay for as long as that runs, and be killed by whoever waits for it. It has room for more threads, too: as many as
coroutines may run at once.
Knows nothing of tasks.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

_log = logging.getLogger("fnqueue.worker")
Call = tuple[Future[Any], Callable[[], Any]]


class DaemonExecutor(ThreadPoolExecutor):
    """A ThreadPoolExecutor, because asyncio takes no other; but with threads of its own, made when needed.

    `done` is called in the thread after each call: what that left open there would wait for a next one for ever.
    """

    def __init__(self, most: int, done: Callable[[], None] = lambda: None) -> None:
        super().__init__(max_workers=1)  # never used: it starts no thread before its own `submit`
        self._done = done
        self._most, self._made, self._idle = most, 0, 0
        self._calls: queue.SimpleQueue[Call] = queue.SimpleQueue()
        self._lock = threading.Lock()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        self._calls.put((future, lambda: fn(*args, **kwargs)))
        with self._lock:
            if self._idle:
                self._idle -= 1  # one that waits takes it
                return future
            if self._made == self._most:
                return future  # the first that is free takes it
            self._made += 1
        threading.Thread(target=self._serve, name="fnqueue-to-thread", daemon=True).start()
        return future

    def _serve(self) -> None:
        while True:
            future, call = self._calls.get()
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(call())
                except BaseException as error:
                    future.set_exception(error)
                self._tidy()
            del future, call
            with self._lock:
                if self._calls.empty():
                    self._idle += 1

    def _tidy(self) -> None:
        try:
            self._done()
        except Exception:
            _log.exception("tidying up a thread beside coroutines failed; it goes on")
