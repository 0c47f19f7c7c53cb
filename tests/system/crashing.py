"""A process that runs one delivery and is killed at a chosen point of its settlement.

Started once per test as `python -m tests.system.crashing`. Each line of its input is a job: it forks a child that
receives one message, runs it and settles it, and that kills itself (SIGKILL) at the n-th point. Points are before
and after each write to store and broker, and what `Settler` calls `at` with. The answer is one line of JSON: whether
it was killed, and the points that it passed.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from fnqueue import Backoff, DeadLetter, FnQueue, RetryLater, current_task
from fnqueue.execution.delivery import Delivery

WRITES = ("put", "put_many", "delete", "send", "change_visibility", "increment", "add_member")


def application(settings: dict[str, Any], log: str) -> FnQueue:
    """Tasks that come to each outcome. Each writes its call and attempt to the log first."""
    fn = FnQueue(settings)

    def note() -> None:
        file = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.write(file, f"{current_task.id} {current_task.attempt}\n".encode())
        os.close(file)

    @fn.task(name="success")
    def success() -> str:
        note()
        return "done"

    @fn.task(name="once", once=True)
    def once() -> str:
        note()
        return "done"

    @fn.task(name="failure")
    def failure() -> None:
        note()
        raise OSError("disk full")

    @fn.task(name="letter")
    def letter() -> None:
        note()
        raise DeadLetter("nobody can")

    @fn.task(name="retry", retry=Backoff(1, first_seconds=1, jitter=False))
    def retry() -> str:
        note()
        if current_task.attempt == 1:
            raise OSError("not yet")
        return "done"

    @fn.task(name="once_retry", once=True, retry=Backoff(1, first_seconds=1, jitter=False))
    def once_retry() -> str:
        note()
        if current_task.attempt == 1:
            raise OSError("not yet")
        return "done"

    @fn.task(name="park")
    def park() -> str:
        note()
        if current_task.attempt == 1:
            raise RetryLater(5000)
        return "done"

    return fn


class Points:
    """Counts points, and kills this process at one of them."""

    def __init__(self, deadly: int) -> None:
        self.passed: list[str] = []
        self._deadly = deadly

    def __call__(self, name: str) -> None:
        if len(self.passed) == self._deadly:
            os.kill(os.getpid(), signal.SIGKILL)
        self.passed.append(name)

    def around(self, name: str, work: Callable[..., Any], *args: Any, **options: Any) -> Any:
        self(f"before {name}")
        result = work(*args, **options)
        self(f"after {name}")
        return result


class Watched:
    """A real store or broker, with a point before and after each of its writes."""

    def __init__(self, real: Any, points: Points, kind: str) -> None:
        self._real, self._points, self._kind = real, points, kind

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._real, name)
        return partial(self._points.around, f"{self._kind}.{name}", real) if name in WRITES else real


def run(job: dict[str, Any]) -> list[str]:
    fn = application(job["settings"], job["log"])
    runtime = fn.runtime()
    (message,) = runtime.engine.broker.receive(job["queue"], max_messages=1, wait_seconds=2, visibility_seconds=1)
    points = Points(job["point"])
    engine = runtime.engine
    runtime.__dict__["engine"] = replace(
        engine,
        broker=Watched(engine.broker, points, "broker"),
        store=Watched(engine.store, points, "store"),
        together=partial(points.around, "settlement", engine.together),
    )
    delivery = Delivery(message, received_at=runtime.clock.monotonic())
    executor, settler = runtime.executor(worker="w"), runtime.settler(worker="w", at=points)
    outcome: Any = executor.execute(delivery)
    settler.settle([(delivery, outcome)])
    return points.passed


def main() -> None:
    importlib.import_module("botocore.session")  # once, and not in every child
    for line in sys.stdin:
        job = json.loads(line)
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(read)
            os.write(write, json.dumps(run(job)).encode())
            os._exit(0)
        os.close(write)
        with os.fdopen(read, "rb") as answer:
            passed = json.loads(answer.read() or b"[]")
        _, status = os.waitpid(child, 0)
        print(json.dumps({"killed": os.WIFSIGNALED(status), "code": status, "points": passed}), flush=True)


if __name__ == "__main__":
    main()
