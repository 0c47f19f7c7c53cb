"""The application that the workers of these tests run. Its effects go to a log that knows nothing of queues.

The log is one file that all processes append whole lines to: what, call, attempt or code, process. A line that is
there was written before whatever happened to its process later.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path
from typing import Any

from fnqueue import Backoff, FnQueue, current_task
from fnqueue.events import EngineTrouble, MessageRefused, TaskReleased, TaskSucceeded, WorkerStarted
from fnqueue.policies import from_schedule

fn = FnQueue()
_LOG = os.environ.get("EFFECTS_LOG")
_file = os.open(_LOG, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600) if _LOG else -1


def note(what: str, call: str, word: object) -> None:
    if _file >= 0:
        os.write(_file, f"{what} {call} {word} {os.getpid()}\n".encode())


def effect(seconds: float) -> None:
    note("start", current_task.id, current_task.attempt)
    time.sleep(seconds)
    note("effect", current_task.id, current_task.attempt)


@fn.task(name="work")
def work(seconds: float) -> None:
    effect(seconds)


@fn.task(name="once", once=True)
def once(seconds: float) -> None:
    effect(seconds)


@fn.task(name="coroutine")
async def coroutine(seconds: float) -> None:
    note("start", current_task.id, current_task.attempt)
    await asyncio.sleep(seconds)
    note("effect", current_task.id, current_task.attempt)


@fn.task(name="blocks")
async def blocks(seconds: float) -> None:
    note("start", current_task.id, current_task.attempt)
    await asyncio.to_thread(time.sleep, seconds)
    note("effect", current_task.id, current_task.attempt)


@fn.task(name="most", at_most_once=True)
def most(seconds: float) -> None:
    effect(seconds)


@fn.task(name="poison")
def poison() -> None:
    """Takes its worker along, as a bug in C code or the kernel's lack of memory does."""
    note("start", current_task.id, current_task.attempt)
    os.kill(os.getpid(), signal.SIGKILL)


@fn.task(name="step", queue="steps.fifo", retry=Backoff(10, first_seconds=0, jitter=False))
def step(group: str, n: int, fails: bool) -> None:
    note("step", f"{group}:{n}", current_task.attempt)
    if fails and current_task.attempt == 1:
        raise OSError("not yet")
    time.sleep(0.02)
    note("stepped", f"{group}:{n}", current_task.attempt)


@fn.task(name="scheduled", policy=from_schedule)
def scheduled(schedule: str, at: str) -> None:
    note("scheduled", schedule, at)


@fn.task(name="until", bind=True)
def until(context: Any, path: str, least_seconds: float) -> int:
    """Works until the file is there. Returns the process."""
    note("start", context.id, context.attempt)
    began = time.monotonic()
    while not Path(path).exists() or time.monotonic() - began < least_seconds:
        time.sleep(0.01)
    note("effect", context.id, context.attempt)
    return os.getpid()


fn.on(WorkerStarted, lambda event: note("ready", "-", "-"))
fn.on(TaskSucceeded, lambda event: note("settled", event.id, event.attempt))
fn.on(TaskReleased, lambda event: note("released", event.id, event.attempt))
fn.on(MessageRefused, lambda event: note("refused", event.id or event.body_sha256 or "-", event.code))
fn.on(EngineTrouble, lambda event: note("trouble", event.what.replace(" ", "-"), type(event).__name__))
