"""The application of test_canaries.py: every way in which a call can end. The markers come in by the environment, so
that no file has them before the program runs."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

from fnqueue import DeadLetter, FnQueue, Principal, RetryLater, Secret, TaskContext
from fnqueue.policies import custom, public, role

HERE = os.environ["CANARY_FOLDER"]
fn = FnQueue(visibility_seconds=2, heartbeat_seconds=0.2, max_crashes=1)


def once(name: str) -> bool:
    path = os.path.join(HERE, name)
    if os.path.exists(path):
        return False
    open(path, "w").close()
    return True


@fn.task(policy=public)
def returns(arg: str, secret: Secret[str]) -> str:
    return os.environ["CANARY_RESULT"]


@fn.task(policy=public)
def returns_much(arg: str, secret: Secret[str]) -> str:
    return os.environ["CANARY_RESULT"] * 20_000


@fn.task(policy=public)
def raises(arg: str, secret: Secret[str]) -> None:
    raise ValueError(f"{secret.get_secret_value()} is wrong, says {secret}")


@fn.task(policy=public)
async def raises_async(arg: str, secret: Secret[str]) -> None:
    raise KeyError(secret.get_secret_value())


@fn.task(policy=public, retry=2)
def retried(arg: str, secret: Secret[str]) -> None:
    if once("retried"):
        raise ConnectionError(f"https://pay.example/?token={secret.get_secret_value()}")
    raise RetryLater(5000)


@fn.task(policy=public)
def dead(arg: str, secret: Secret[str]) -> None:
    raise DeadLetter(f"nobody pays with {secret.get_secret_value()}")


@fn.task(policy=public, soft_time_limit_seconds=0.2)
def slow(arg: str, secret: Secret[str]) -> None:
    while True:
        time.sleep(0.01)


@fn.task(policy=public, time_limit_seconds=0.2)
async def slow_async(arg: str, secret: Secret[str]) -> None:
    import asyncio

    await asyncio.sleep(60)


@fn.task(policy=public, bind=True)
def progresses(context: TaskContext, arg: str, secret: Secret[str]) -> None:
    context.progress(1, 2, f"at {secret.get_secret_value()}")


@fn.task(policy=public)
def cannot_return(arg: str, secret: Secret[str]) -> Any:
    return {secret.get_secret_value(): secret}


@fn.task(policy=public, once=True)
def ends_its_worker(arg: str, secret: Secret[str]) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@fn.task(policy=role("admin"))
def for_admins(arg: str, secret: Secret[str]) -> None: ...


@fn.task(policy=custom(lambda ctx: ctx.phase == "defer"))
def denied_later(arg: str, secret: Secret[str]) -> None: ...


@fn.task(policy=role("staff"))
def for_staff(arg: str, secret: Secret[str]) -> None: ...


@fn.load_principal
def without_roles(id: str) -> Principal:
    return Principal(id=id)


def _undecided(ctx: Any) -> bool:
    raise LookupError(f"{ctx.args['arg']} {ctx.args['secret'].get_secret_value()} {ctx.principal.id}")


@fn.task(policy=custom(_undecided))
def undecided(arg: str, secret: Secret[str]) -> None: ...
