"""Defers all that canary_shop has, and what must be refused, with a log that shows the locals of every frame."""

from __future__ import annotations

import logging
import os
import traceback
from typing import Any

from fnqueue import FnQueueError, Principal, Secret
from fnqueue.broker.base import Entry
from tests.security import canary_shop as shop

ARG, SECRET = os.environ["CANARY_ARG"], os.environ["CANARY_SECRET"]


class Locals(logging.Formatter):
    def formatException(self, info: Any) -> str:
        return "".join(traceback.TracebackException(*info, capture_locals=True).format())


def setup() -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(Locals())
    logging.basicConfig(level=logging.DEBUG, handlers=[handler])


def refused(call: Any, *args: Any, **options: Any) -> None:
    try:
        call(*args, **options)
    except FnQueueError:
        logging.exception("refused: %r", call)
    else:
        raise AssertionError(f"{call} was not refused")


def tell(secret: Secret[str]) -> None:
    """What an error says of itself, without locals."""
    for call in (lambda: shop.for_admins.defer(ARG, secret), lambda: shop.returns.defer(ARG, SECRET)):  # type: ignore[arg-type]
        try:
            call()
        except FnQueueError as told:
            print("told:", told, repr(told), vars(told))


def main() -> None:
    setup()
    user, tenant, version = (os.environ[f"CANARY_{name}"] for name in ("USER", "TENANT", "VERSION"))
    who = Principal(id=user, tenant=tenant, credential_version=version, roles=frozenset({"staff"}))
    secret = Secret(SECRET)
    with shop.fn.as_principal(who):
        for task in shop.fn.registry:
            if task is not shop.for_admins and task is not shop.undecided:
                marks = {"tenant": os.environ["CANARY_TENANT"], "dedupe": os.environ["CANARY_DEDUPE"] + task.name}
                handle = task.using(**marks).defer(ARG, secret=secret)
                print(task.name, handle, handle.id)
        shop.returns.defer(ARG * 50_000, secret)
        shop.returns.using(delay_seconds=3600, group=os.environ["CANARY_TENANT"]).defer(ARG, secret)
        shop.fn.defer_many(shop.returns, [(ARG, secret)] * 3)
        cancelled = shop.returns.using(delay_seconds=2).defer(ARG, secret)
        cancelled.cancel()
    # What is refused: here only Secrets, because the caller's own frames hold all else as it is.
    with shop.fn.as_principal(Principal(id="7", credential_version=version)):
        refused(shop.for_admins.defer, "x", secret)
        refused(shop.undecided.defer, "x", secret)
        refused(shop.returns.defer, secret)
        refused(shop.returns.defer, "x", secret, secret)
        refused(shop.returns.defer, secret, secret)
        refused(shop.returns.defer, "x", secret=object())
        refused(shop.returns.using(priority="low", delay_seconds=5).defer, object(), secret)
        refused(shop.returns.defer, "x", Secret("x" * 70_000_000))
        refused(shop.returns.apply, "x", Secret({secret: secret}))
    with shop.fn.as_principal(who):
        tell(secret)
    broker = shop.fn.runtime().engine.broker
    bodies = [message.body for message in broker.receive("default", max_messages=3, visibility_seconds=0)]
    other = "E" if bodies[0][-1] == "A" else "A"
    forged = [bodies[0][:-1] + other, bodies[0].replace("fq1.1", "fq1.3"), "rubbish", bodies[0].swapcase(), '{"a": 1}']
    broker.send("default", [Entry(id=str(n), body=body) for n, body in enumerate(forged)])


if __name__ == "__main__":
    main()
