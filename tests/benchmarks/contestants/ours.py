"""fnqueue, as a user has it: sealed calls, a policy on the task, results stored. The settings come by FNQUEUE_*."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from typing import Any

from fnqueue import FnQueue, Principal
from fnqueue.errors import QueueMissing
from fnqueue.policies import role
from tests.benchmarks import effects

AT_ONCE = 500

fn = FnQueue()
_staff = ExitStack()


@fn.task(policy=role("staff"))
def noop(number: int, address: str, options: dict[str, Any]) -> None:
    effects.noop()


@fn.task(policy=role("staff"))
def arrive(sent_at: float) -> None:
    effects.arrived(sent_at)


def begin() -> None:
    _staff.close()
    _staff.enter_context(fn.as_principal(Principal("42", roles=frozenset({"staff"}))))
    try:
        fn.runtime().engine.broker.drop("default")
    except QueueMissing:
        pass  # the first time


defer = noop.defer


def defer_many(count: int) -> None:
    fn.defer_many(noop, [effects.ARGUMENTS] * count)


def defer_stamped(sent_at: float) -> None:
    arrive.defer(sent_at)


def worker() -> list[str]:
    app = "tests.benchmarks.contestants.ours:fn"
    return [sys.executable, "-m", "fnqueue", "worker", "--app", app, "--log-level", "warning"]
