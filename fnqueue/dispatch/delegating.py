"""Which mandate travels with a call: a new one, the one of the task that makes the call, or none. See security/mandate.

Knows keys and the context of a running task; knows no framework.
"""

from __future__ import annotations

import math
from typing import Any

import msgspec

from fnqueue import quotas
from fnqueue.context import TaskContext
from fnqueue.errors import KeyInvalid
from fnqueue.security import mandate as mandates
from fnqueue.security.keyring import KeyRecord
from fnqueue.security.mandate import Mandate
from fnqueue.security.principal import Principal, WirePrincipal
from fnqueue.task.task import Task


def mandate_for(
    key: KeyRecord,
    environment: str,
    task: Task[Any, Any, Any],
    principal: Principal,
    made_by: TaskContext | None,
    call_id: str,
    due: float,
    expires: float,
) -> tuple[str | None, float]:
    """The mandate, and when the call that is `due` then expires, unix seconds: under one no later than that ends.

    Raises KeyInvalid where the one at hand does not cover the call.
    """
    if principal.kind != "user":
        return None, expires
    root = made_by.root if made_by is not None else call_id
    if not key.limits.mint:
        given = made_by.mandate if made_by is not None else None
        return (given, _covered(given, key, task, principal, root, due, expires)) if given else (None, expires)
    return issued(key, environment, task, principal, root, expires), expires


def issued(
    key: KeyRecord, environment: str, task: Task[Any, Any, Any], principal: Principal, root: str, expires: float
) -> str | None:
    """One for what the task defers; None where it says nothing of that, or `key` may issue none."""
    if principal.kind != "user" or not task.options.defers or not mandates.can_issue(key):
        return None
    # As long as the call itself may run: what it makes by then has to end then, too.
    until = math.ceil(expires) + quotas.RUN_SECONDS_MAX
    named = Mandate(p=_wire(principal), t=tuple(task.options.defers), r=root, x=until)
    return mandates.issue(key, environment, named)


def _covered(
    given: str,
    key: KeyRecord,
    task: Task[Any, Any, Any],
    principal: Principal,
    root: str,
    due: float,
    expires: float,
) -> float:
    mandate = mandates.read(given)
    expires = min(expires, float(mandate.x))
    reason = mandate.forbids(task=task.name, principal=_wire(principal), root=root, expires_at=math.ceil(expires))
    reason = reason or (f"{task.name} is due after it ends" if due >= expires else None)
    if reason is not None:
        raise KeyInvalid(
            f"{task.name}: the key of this process, {key.key_id}, speaks for users only under the mandate of the call "
            f"that it runs, and {reason}. The web process' task names them: @fn.task(defers=({task.name!r}, ...))"
        )
    return expires


def _wire(principal: Principal) -> WirePrincipal:
    return msgspec.convert(principal.to_wire(), WirePrincipal)
