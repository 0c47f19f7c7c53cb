"""Middleware wraps a send or a run, and may change or refuse it. To be told only, subscribe to events.

One object with two methods; each calls `call_next` once, or not at all. State belongs in local variables
around that call. The first in the list is the outermost.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from fnqueue.context import TaskContext
from fnqueue.outcome import Outcome
from fnqueue.security.principal import Principal


@dataclass(slots=True, kw_only=True, repr=False)
class OutgoingCall:
    """A call after its policy allowed it and before it is sealed. `baggage` travels sealed to `context.baggage`."""

    task: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    queue: str
    principal: Principal
    baggage: dict[str, str] = field(default_factory=dict)
    traceparent: str | None = None

    def __repr__(self) -> str:
        count = len(self.args) + len(self.kwargs)
        return f"<OutgoingCall of {self.task}, {count} arguments, to {self.queue} for {self.principal.kind}>"


SendNext = Callable[[OutgoingCall], Any]
ExecuteNext = Callable[[TaskContext], Outcome]


class Middleware:
    """Override one or both. `send` returns what `call_next` returned; an exception in it means nothing is sent.

    `execute` wraps one run of a sync or coroutine task, after the policy; it returns an Outcome.
    For a coroutine task `call_next` starts nothing by itself: the run is wrapped in the thread that waits for it.
    """

    def send(self, call: OutgoingCall, call_next: SendNext) -> Any:
        return call_next(call)

    def execute(self, context: TaskContext, call_next: ExecuteNext) -> Outcome:
        return call_next(context)


def around_send(stack: Sequence[Middleware], innermost: SendNext) -> SendNext:
    for middleware in reversed([m for m in stack if type(m).send is not Middleware.send]):
        innermost = partial(_send, middleware, innermost)
    return innermost


def around_execute(stack: Sequence[Middleware], innermost: ExecuteNext) -> ExecuteNext:
    for middleware in reversed([m for m in stack if type(m).execute is not Middleware.execute]):
        innermost = partial(_execute, middleware, innermost)
    return innermost


def _send(middleware: Middleware, call_next: SendNext, call: OutgoingCall) -> Any:
    return middleware.send(call, call_next)


def _execute(middleware: Middleware, call_next: ExecuteNext, context: TaskContext) -> Outcome:
    return middleware.execute(context, call_next)
