"""What execution is handed: who finds tasks and keys, reloads principals, keeps records. Data only."""

from __future__ import annotations

import random
from collections.abc import Callable, Container, Coroutine, Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

from fnqueue.clock import Clock
from fnqueue.events import Events
from fnqueue.execution.delivery import Delivery
from fnqueue.execution.limits import SoftLimits
from fnqueue.middleware import Middleware
from fnqueue.security.blobs.blobs import Blobs
from fnqueue.security.keyring import KeyRing
from fnqueue.security.policy import Policy
from fnqueue.security.principal import Principal
from fnqueue.state.parked import Parked
from fnqueue.state.replay import Replay
from fnqueue.state.results import Results
from fnqueue.store.base import Record
from fnqueue.task.options import Draw
from fnqueue.task.task import Task

Scope = Callable[[Task[Any, Any, Any]], AbstractContextManager[Any]]
WaitFor = Callable[[Coroutine[Any, Any, Any]], Any]


def no_scope(task: Task[Any, Any, Any]) -> AbstractContextManager[Any]:
    return nullcontext()


def no_async_scope(task: Task[Any, Any, Any]) -> AbstractAsyncContextManager[Any]:
    return nullcontext()


def nothing() -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Powers:
    """What execution is handed. `load_principal` returns None for one that is gone, and may raise."""

    find: Callable[[str], Task[Any, Any, Any] | None]
    keys: Callable[[], KeyRing]
    environment: str
    suites: Mapping[str, Container[str]]  # that a queue takes, "" for all others; of a queue in neither, all
    clock: Clock
    events: Events
    load_principal: Callable[[Principal], Principal | None]
    policy_of: Callable[[Task[Any, Any, Any]], Policy]
    results: Results | None = None
    replay: Replay | None = None
    replay_required: bool = False  # of all tasks, not only of those that are `once`
    exchange: Callable[[Delivery], str] | None = None  # a schedule ticket into the body of the call it stands for
    parked: Parked | None = None
    blobs: Blobs | None = None
    scope: Scope = no_scope
    attempt: Scope = no_scope  # outside of `scope`, in a thread
    coroutine: Callable[[Task[Any, Any, Any]], AbstractAsyncContextManager[Any]] = no_async_scope  # the same on a loop
    wait_for: WaitFor | None = None  # a coroutine, in a thread that is no worker's
    thread_done: Callable[[], None] = nothing  # in a thread that ran application code, when it is idle or ends
    middleware: tuple[Middleware, ...] = ()
    max_crashes: int = 3
    lease_seconds: float = 60
    delete_first: Callable[[Delivery], bool] | None = None  # at_most_once
    extend: Callable[[Delivery], None] | None = None
    write: Callable[[Record], Record | None] | None = None  # a fenced write; None: a newer delivery wrote
    worker: str = ""
    wants_values: bool = True  # False without a store: results are not made into JSON
    limits: SoftLimits | None = None
    draw: Draw = random.uniform  # the jitter of waits: not a secret, and in tests by a seed
    raised: Callable[[Delivery, BaseException], None] | None = None  # told what a task raised; tests raise it again
