"""The application that is attacked. What its tasks did stands in a ledger that the attacker cannot reach.

Every line of the ledger is a JSON object: what ran, with which arguments, for whom, when, in which process.
"""

from __future__ import annotations

import json
import os
import time
from typing import Any

from fnqueue import Backoff, FnQueue, Principal, current_task
from fnqueue.events import MessageRefused, WorkerStarted
from fnqueue.policies import authenticated, role

fn = FnQueue()
_LEDGER = os.environ.get("VAULT_LEDGER")
_file = os.open(_LEDGER, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600) if _LEDGER else -1


def write(**line: Any) -> None:
    if _file >= 0:
        os.write(_file, (json.dumps(line | {"pid": os.getpid(), "at": time.time()}) + "\n").encode())


def ran(**args: Any) -> None:
    principal = current_task.principal
    who = [principal.kind, principal.id, sorted(principal.roles)]
    write(what="ran", id=current_task.id, task=current_task.task, args=args, who=who)


@fn.load_principal
def load(id: str) -> Principal | None:
    return Principal(id, roles=frozenset({"staff"} | ({"admin"} if id.startswith("admin") else set())))


@fn.task(name="pay", policy=authenticated, expires_seconds=3600)
def pay(account: str, cents: int) -> dict[str, Any]:
    ran(account=account, cents=cents)
    return {"account": account, "cents": cents}


@fn.task(name="pay_once", policy=authenticated, once=True, expires_seconds=3600)
def pay_once(account: str, cents: int) -> dict[str, Any]:
    ran(account=account, cents=cents)
    return {"account": account, "cents": cents}


@fn.task(name="brief", policy=authenticated, expires_seconds=2)
def brief(account: str, cents: int) -> dict[str, Any]:
    ran(account=account, cents=cents)
    return {"account": account, "cents": cents}


@fn.task(name="fails", policy=authenticated, retry=Backoff(1, first_seconds=0.2, jitter=False))
def fails(account: str, cents: int) -> None:
    ran(account=account, cents=cents)
    raise ValueError(f"nobody has {cents}")


@fn.task(name="ordered", queue="ordered.fifo", policy=authenticated)
def ordered(account: str, cents: int) -> dict[str, Any]:
    ran(account=account, cents=cents)
    return {"account": account, "cents": cents}


@fn.task(name="open_vault", policy=role("admin"))
def open_vault(account: str = "", cents: int = 0) -> None:
    """Nobody ever defers it."""
    ran(account=account, cents=cents)


@fn.schedule("rate(1 minute)", name="audit", args=("nightly", 1))
@fn.task(name="audit")
def audit(account: str, cents: int) -> None:
    ran(account=account, cents=cents)


fn.on(WorkerStarted, lambda event: write(what="ready"))
fn.on(MessageRefused, lambda event: write(what="refused", code=event.code, id=event.id))
