"""What was deferred: recorded while it happens, by a middleware and by the events that say what became of it.

A call that is held waits for a commit: it counts as deferred, and says so. One whose transaction was rolled back does
not count; the text of a failed assertion names it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Literal

from fnqueue.app import FnQueue
from fnqueue.dispatch.calls import Prepared
from fnqueue.errors import ArgumentError, NotATask
from fnqueue.events import CallDeferred, CallDropped, CallHeld
from fnqueue.middleware import Middleware, OutgoingCall, SendNext
from fnqueue.task.task import Task

HELD = "held: waits for a commit"
WHY_HELD = (
    "\nA call that is deferred in a transaction is held, and sent after the commit: a test whose own transaction is "
    "never committed must say when. In Django: with self.captureOnCommitCallbacks(execute=True): ..."
)
WHY_DROPPED = "\nA call that was deferred in a transaction is dropped when that is rolled back."


@dataclass(slots=True)
class Sent:
    """A call that was deferred. `arguments` by name, defaults included. `state` "held": it waits for a commit."""

    id: str
    task: str
    arguments: dict[str, Any]
    queue: str
    state: Literal["sent", "held", "dropped"] = "sent"
    #: Why it was dropped, where it was not by a rollback.
    error: str | None = None

    @property
    def held(self) -> bool:
        return self.state == "held"


class _Recorder(Middleware):
    def __init__(self, fn: FnQueue) -> None:
        self._fn, self._made, self.calls = fn, dict[str, Sent](), list[Sent]()

    def send(self, call: OutgoingCall, call_next: SendNext) -> Any:
        prepared = call_next(call)
        # An earlier call holds its dedupe key: nothing is sent.
        if isinstance(prepared, Prepared) and prepared.winner is None:
            task = self._fn.registry.get(call.task)
            bound = _as_now(task.binder.bound(call.args, call.kwargs))
            self._made[prepared.id] = Sent(prepared.id, call.task, bound, call.queue)
        return prepared

    def held(self, event: CallHeld) -> None:
        self._note(event.id, "held")

    def sent(self, event: CallDeferred) -> None:
        self._note(event.id, "sent")

    def dropped(self, event: CallDropped) -> None:
        self._note(event.id, "dropped", event.error)

    def _note(self, id: str, state: Literal["sent", "held", "dropped"], error: str | None = None) -> None:
        made = self._made.get(id)
        if made is None:
            return  # it was deferred before anybody asked
        if not any(call is made for call in self.calls):
            self.calls.append(made)
        made.state, made.error = state, error


class AssertDeferred:
    """`assert_deferred(task, args=(7,), queue="billing", count=1)`; `assert_deferred.not_(task)`. Returns the calls.

    Records what is deferred from when it is made. Calls that wait for a commit count; `held=True` or `False` asks for
    those alone, or for the others.
    """

    def __init__(self, fn: FnQueue) -> None:
        runtime = fn.runtime()
        self._recorder = _Recorder(fn)
        runtime.middleware = [*runtime.middleware, self._recorder]
        runtime.ask_again()  # the way of a call was made without the recorder
        runtime.events.on(CallHeld, self._recorder.held)
        runtime.events.on(CallDeferred, self._recorder.sent)
        runtime.events.on(CallDropped, self._recorder.dropped)

    @property
    def calls(self) -> list[Sent]:
        """All that were sent or are held, in order."""
        return [call for call in self._recorder.calls if call.state != "dropped"]

    @property
    def dropped(self) -> list[Sent]:
        """Those that were held and never sent."""
        return [call for call in self._recorder.calls if call.state == "dropped"]

    def __call__(
        self,
        task: Task[Any, Any, Any],
        *,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        queue: str | None = None,
        count: int | None = None,
        held: bool | None = None,
    ) -> list[Sent]:
        """Some call of `task` was deferred; with `args` or `kwargs` one with just these (defaults filled in)."""
        if not isinstance(task, Task):
            raise NotATask(f"assert_deferred({task!r}): the first argument must be a task, got {type(task).__name__}")
        if args is not None and not isinstance(args, tuple | list):
            raise ArgumentError(f"args={args!r}: must be a tuple of arguments, as (7,)", task=task.name)
        wanted = None if args is None and kwargs is None else task.binder.bound(tuple(args or ()), dict(kwargs or {}))
        found = [
            call
            for call in self.calls
            if call.task == task.name
            and (wanted is None or call.arguments == wanted)
            and (queue is None or call.queue == queue)
            and (held is None or call.held is held)
        ]
        if (count is None and not found) or (count is not None and len(found) != count):
            raise AssertionError(self._text(_shown(task, wanted, queue, held), count, len(found)))
        return found

    def not_(
        self,
        task: Task[Any, Any, Any],
        *,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        queue: str | None = None,
    ) -> None:
        """No call of `task` was deferred; with `args` or `kwargs` none with just these. Held ones count."""
        self(task, args=args, kwargs=kwargs, queue=queue, count=0)

    def _text(self, wanted: str, count: int | None, found: int) -> str:
        number = "at least 1" if count is None else str(count)
        text = f"expected {number} call{'' if count in (None, 1) else 's'} of {wanted}, found {found}. Deferred were:"
        text += "".join(map(_line, self.calls)) or " none"
        if any(call.held for call in self.calls):
            text += WHY_HELD
        if self.dropped:
            text += "\nDropped, and never sent:" + "".join(map(_line, self.dropped)) + WHY_DROPPED
        return text


def _as_now(arguments: dict[str, Any]) -> dict[str, Any]:
    """What the message holds: a list that the caller changes afterwards is another one."""
    try:
        return deepcopy(arguments)
    except Exception:  # an object of the application that will not be copied: what travels of it is the codec's matter
        return arguments


def _shown(task: Task[Any, Any, Any], wanted: dict[str, Any] | None, queue: str | None, held: bool | None) -> str:
    where = f" to {queue}" if queue else ""
    state = "" if held is None else f" [{HELD}]" if held else " [sent]"
    return f"{task.name}({'...' if wanted is None else wanted}){where}{state}"


def _line(call: Sent) -> str:
    notes = {"sent": "", "held": f" [{HELD}]", "dropped": f" [{call.error or 'rolled back'}]"}
    return f"\n  {call.task}({call.arguments}) to {call.queue}{notes[call.state]}"
