"""The public surface as it is pinned: names, parameters, defaults, fields. What is added must be written down here.

Of the pinned surface chaining signatures with `|` belong to what is not built yet.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from typing import Any, get_args

import pytest

import flask_fnqueue
import fnqueue
from fnqueue import policies
from fnqueue.policies import public
from fnqueue.task.options import CallOptions, TaskKeywords, TaskOptions

NONE = inspect.Parameter.empty


def parameters(function: Callable[..., Any]) -> dict[str, tuple[str, Any]]:
    """name -> (kind, default), without self."""
    return {
        each.name: (KINDS[each.kind], each.default)
        for each in inspect.signature(function).parameters.values()
        if each.name != "self"
    }


KINDS = {
    inspect.Parameter.POSITIONAL_ONLY: "by position",
    inspect.Parameter.POSITIONAL_OR_KEYWORD: "either",
    inspect.Parameter.KEYWORD_ONLY: "by name",
    inspect.Parameter.VAR_POSITIONAL: "rest",
    inspect.Parameter.VAR_KEYWORD: "others",
}
TASK = {"task": ("by position", NONE)}
ANY = {"args": ("rest", NONE), "kwargs": ("others", NONE)}
FUNCTION = {"function": ("by position", NONE)}

METHODS: dict[Callable[..., Any], dict[str, tuple[str, Any]]] = {
    fnqueue.FnQueue: {"settings": ("either", None), "overrides": ("others", NONE)},
    fnqueue.FnQueue.task: {"function": ("by position", None), "options": ("others", NONE)},
    fnqueue.FnQueue.defer: TASK | ANY,
    fnqueue.FnQueue.adefer: TASK | ANY,
    fnqueue.FnQueue.defer_many: TASK | {"calls": ("by position", NONE)},
    fnqueue.FnQueue.batch: {},
    fnqueue.FnQueue.handle: {"id": ("either", NONE)},
    fnqueue.FnQueue.revoke: {
        "id": ("either", None),
        "root": ("by name", None),
        "principal": ("by name", None),
        "reason": ("by name", ""),
    },
    fnqueue.FnQueue.lambda_handler: {"reserve_seconds": ("by name", 2.0)},
    fnqueue.FnQueue.status_url: {"handle": ("either", NONE), "expires_seconds": ("by name", 900)},
    fnqueue.FnQueue.as_principal: {"who": ("either", NONE)},
    fnqueue.FnQueue.as_service: {"name": ("either", NONE), "scopes": ("by name", ())},
    fnqueue.FnQueue.principal: FUNCTION,
    fnqueue.FnQueue.load_principal: FUNCTION,
    fnqueue.Task.__call__: ANY,
    fnqueue.Task.defer: ANY,
    fnqueue.Task.adefer: ANY,
    fnqueue.Task.apply: ANY,
    fnqueue.Task.s: ANY,
    fnqueue.Task.si: ANY,
    fnqueue.Handle.result: {"timeout_seconds": ("either", 10)},
    fnqueue.Handle.aresult: {"timeout_seconds": ("either", 10)},
    fnqueue.Handle.record: {},
    fnqueue.Handle.cancel: {},
    fnqueue.Handle.status_token: {"expires_seconds": ("by name", 900)},
    fnqueue.TaskContext.progress: {"done": ("either", NONE), "total": ("either", None), "message": ("either", "")},
    fnqueue.TaskContext.extend: {},
    fnqueue.RetryLater: {"delay_seconds": ("either", NONE), "snooze": ("by name", False)},
    fnqueue.DeadLetter: {"reason": ("either", NONE)},
    fnqueue.Backoff: {
        "attempts": ("either", 3),
        "first_seconds": ("by name", 1),
        "factor": ("by name", 2),
        "max_seconds": ("by name", 900),
        "jitter": ("by name", True),
        "on": ("by name", (Exception,)),
        "not_on": ("by name", ()),
    },
    policies.role: {"names": ("rest", NONE)},
    policies.scope: {"names": ("rest", NONE)},
    policies.service: {"names": ("rest", NONE)},
    policies.fresh: {"minutes": ("by name", NONE)},
    policies.owns: {"argument": ("either", NONE), "load": ("by name", NONE), "owner": ("by name", "owner_id")},
    policies.forbid: {"policy": ("either", NONE)},
    policies.custom: FUNCTION,
    policies.Policy.decide: {"ctx": ("either", NONE)},
    policies.Policy.__and__: {"other": ("either", NONE)},
    policies.Policy.__or__: {"other": ("either", NONE)},
    policies.Policy.__invert__: {},
}


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.__qualname__)
def test_a_callable_takes_what_is_pinned(method):
    assert parameters(method) == METHODS[method]


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.__qualname__)
def test_a_callable_says_what_it_does(method):
    if method.__name__.startswith("__"):
        return
    assert inspect.getdoc(method), f"{method.__qualname__} has no docstring"


@pytest.mark.parametrize(
    "method", [fnqueue.FnQueue.adefer, fnqueue.Task.adefer, fnqueue.Handle.aresult], ids=lambda m: m.__qualname__
)
def test_what_begins_with_a_is_for_await(method):
    assert inspect.iscoroutinefunction(method)


def test_the_options_that_editors_show_are_those_that_a_task_takes() -> None:
    taken = {field.name: field.type for field in dataclasses.fields(TaskOptions) if field.name != "bind"}
    shown = {name: hint.__forward_arg__ for name, hint in TaskKeywords.__annotations__.items()}
    assert shown == taken


def test_a_tasks_options_and_their_defaults():
    assert {field.name: field.default for field in dataclasses.fields(TaskOptions)} == {
        "name": None,
        "queue": "default",
        "policy": None,
        "retry": None,
        "expires_seconds": 345_600,
        "priority": "normal",
        "time_limit_seconds": None,
        "soft_time_limit_seconds": None,
        "once": False,
        "unique_for_seconds": None,
        "dead_letter": True,
        "at_most_once": False,
        "keep_result_seconds": 86_400,
        "keep_failure_seconds": 604_800,
        "raises": (),
        "runs_as": None,
        "defers": (),
        "read": None,
        "operate": None,
        "bind": False,
    }


def test_a_calls_options_are_all_by_name_and_what_is_not_given_stays():
    taken = parameters(fnqueue.Task.using)
    assert taken.pop("unknown") == ("others", NONE)  # for an error that names the nearest option
    assert set(taken.values()) == {("by name", None)}
    pinned = {
        "queue",
        "delay_seconds",
        "not_before",
        "expires_seconds",
        "priority",
        "tenant",
        "group",
        "dedupe",
        "retry",
    }
    assert (
        set(taken)
        == pinned | {"group_clear", "unique_for_seconds"}
        == {field.name for field in dataclasses.fields(CallOptions)}
    )


def fields(kind: type) -> set[str]:
    assert kind.__dataclass_params__.frozen  # type: ignore[attr-defined]
    return {field.name for field in dataclasses.fields(kind)}


def test_records_are_frozen_and_have_the_pinned_fields():
    assert fields(fnqueue.Result) == {
        "id", "task", "state", "value", "error", "progress", "attempts", "deferred_at", "started_at", "finished_at",
    }  # fmt: skip
    assert fields(fnqueue.Progress) == {"done", "total", "message", "at"}
    assert fields(fnqueue.TaskError) == {"type", "message", "frames"}
    assert fields(fnqueue.Decision) == {"verdict", "reason"}
    assert {"phase", "task", "args", "principal", "deferred_at"} <= fields(fnqueue.PolicyContext)
    assert {"id", "kind", "tenant", "roles", "scopes", "auth_time", "credential_version", "via"} <= fields(
        fnqueue.Principal
    )
    assert parameters(fnqueue.Principal.attenuate).keys() == {"roles", "scopes"}


def test_states_are_these():
    assert set(get_args(fnqueue.State)) == {
        "PENDING", "STARTED", "RETRY", "SUCCESS", "FAILURE", "REVOKED", "EXPIRED", "DENIED", "UNKNOWN",
    }  # fmt: skip


def test_a_handle_a_task_and_a_signature_have_the_pinned_attributes(fn):
    @fn.task(name="shop.resize", policy=public)
    def resize(photo: int) -> int:
        return photo

    handle = resize.defer(7)
    assert (len(handle.id), handle.state, resize.name) == (26, "PENDING", "shop.resize")
    assert resize.s(7).task == resize.si(7).task == "shop.resize"
    assert resize(7) == resize.apply(7).value == 7


def test_the_context_of_a_run_has_the_pinned_attributes(fn, drain):
    seen: dict[str, Any] = {}

    @fn.task(name="shop.look", bind=True)
    def look(context: fnqueue.TaskContext) -> None:
        for name in ("id", "task", "attempt", "queue", "principal", "deadline", "fence", "revoked"):
            seen[name] = getattr(context, name)
        assert fnqueue.current_task.id == context.id

    handle = look.defer()
    drain()
    assert (seen["id"], seen["task"], seen["attempt"], seen["queue"]) == (handle.id, "shop.look", 1, "default")
    assert (seen["principal"].kind, seen["fence"], seen["revoked"]) == ("anonymous", (0, 1), False)
    assert seen["deadline"].tzinfo is not None


def test_policies_that_are_values_are_policies():
    for name in ("public", "authenticated", "active", "from_schedule"):
        assert isinstance(getattr(policies, name), policies.Policy)
    assert set(policies.__all__) >= {"role", "scope", "service", "fresh", "owns", "forbid", "custom"}


def test_flask_gives_the_same_verbs():
    assert issubclass(flask_fnqueue.FnQueue, fnqueue.FnQueue)
    for method in ("defer", "adefer", "defer_many", "batch", "handle", "status_url", "as_principal", "as_service"):
        assert parameters(getattr(flask_fnqueue.FnQueue, method)) == parameters(getattr(fnqueue.FnQueue, method))
