"""Which calls count as one: by the key that a caller names, or by what they say.

    dedupe="invoice:42"                                one until the first call expires
    dedupe="invoice:42", unique_for_seconds=60         one for 60 s from the first defer, ended or not
    unique_for_seconds=60                              the same, of calls of one principal with the same arguments

Tenants have nothing in common: the key is one of the call's tenant, or else of its principal's, and a call of another
tenant never gets this one's handle. Knows no store: who has a key is `claims`'.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from hashlib import sha256
from typing import Any

import msgspec

from fnqueue.middleware import OutgoingCall
from fnqueue.task.task import Task

AnyTask = Task[Any, Any, Any]
Wire = tuple[tuple[Any, ...], dict[str, Any]]  # arguments as the codec makes them travel

_sorted = msgspec.json.Encoder(order="deterministic").encode


class Unique(msgspec.Struct, frozen=True):
    """`until`: unix seconds. `option`: what asks for it, for the text of an error."""

    key: str
    tenant: str | None
    until: float
    option: str


def unique(
    task: Task[Any, Any, Any],
    call: OutgoingCall,
    wire: tuple[Sequence[Any], dict[str, Any]],
    now: float,
    expires: float,
) -> Unique | None:
    """None: each call is one of its own."""
    options = task.call_options
    seconds = options.unique_for_seconds or task.options.unique_for_seconds
    if options.dedupe is None and seconds is None:
        return None
    tenant = options.tenant if options.tenant is not None else call.principal.tenant
    until = expires if seconds is None else now + seconds
    if options.dedupe is not None:
        return Unique(options.dedupe, tenant, until, "dedupe=")
    # A handle reads the result: another principal's call is another one, though it says the same.
    who = (call.principal.kind, call.principal.id)
    said = sha256(_sorted((_arguments(task, *wire), who))).hexdigest()
    return Unique(f"\0said {said}", tenant, until, "unique_for_seconds=")


def _arguments(
    task: Task[Any, Any, Any], args: Sequence[Any], kwargs: dict[str, Any]
) -> tuple[dict[str, Any], list[Any]]:
    """By name, however they were given, and without what is as the function has it anyway; and what has no name."""
    names = task.binder.parameters[: len(args)]
    parameters = inspect.signature(task.function).parameters
    named = dict(zip(names, args, strict=False)) | kwargs
    given = {name: value for name, value in named.items() if not _is_default(parameters.get(name), value)}
    return given, list(args[len(names) :])


def _is_default(parameter: inspect.Parameter | None, value: Any) -> bool:
    return parameter is not None and type(parameter.default) is type(value) and bool(parameter.default == value)
