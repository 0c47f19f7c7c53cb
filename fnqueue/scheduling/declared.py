"""What a user says of a schedule becomes a `Schedule`. Light: modules with tasks do this at import."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, Final, Literal, TypeVar

from fnqueue import codec
from fnqueue.errors import OptionInvalid
from fnqueue.schedule.schedule import Misfire, Overlap, Schedule
from fnqueue.task.options import CallOptions, unknown_option
from fnqueue.task.task import Task

T = TypeVar("T")

_DELAYS: Final = ("delay_seconds", "not_before")
#: What `declare` takes and nobody says by name, and what a call takes and a schedule does not.
_NOT_SAID: Final = (*_DELAYS, "expression", "task", "origin")


def declares(register: Callable[[Schedule], None], expression: str, said: Mapping[str, Any]) -> Callable[[T], T]:
    """The decorator `@fn.schedule(...)`. `said["name"]` None: the task's."""

    def declared(task: T) -> T:
        chosen: Any = task
        name = said["name"] or getattr(chosen, "name", "")
        register(declare(**{**said, "name": name, "expression": expression, "task": chosen, "origin": "code"}))
        return task

    return declared


def declare(
    name: str,
    expression: str,
    task: Task[Any, Any, Any],
    *,
    timezone: str = "UTC",
    start: datetime | None = None,
    end: datetime | None = None,
    args: Iterable[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    flexible_minutes: int = 0,
    misfire: Misfire = "run_once",
    misfire_within_seconds: float = 86_400,
    overlap: Overlap = "allow",
    runs_as: str | None = None,
    delete_after_completion: bool = False,
    origin: Literal["code", "put"] = "put",
    **options: Any,
) -> Schedule:
    """A Schedule of `task`. `options`: those of `task.using`, but delays. Raises OptionInvalid, ExpressionInvalid."""
    if not isinstance(task, Task):
        raise OptionInvalid(f"schedule {name!r}: a schedule calls a task, got {type(task).__name__}: @fn.task first")
    for option in options:
        if option in _DELAYS:
            raise OptionInvalid(f"{option}= is no option of a schedule: its expression says when, and start= from when")
        if option not in CallOptions.__slots__:
            raise unknown_option(option, declare, also=tuple(CallOptions.__slots__), but=_NOT_SAID)
    _check_arguments(args, kwargs)
    wire = [codec.to_json(value, task=task.name, path=f"args[{n}]") for n, value in enumerate(args)]
    named = {key: codec.to_json(value, task=task.name, path=key) for key, value in (kwargs or {}).items()}
    return Schedule(
        name=name,
        expression=expression,
        task=task.name,
        timezone=timezone,
        start=start,
        end=end,
        args=tuple(wire),
        kwargs=named,
        options=(task.using(**options) if options else task).wire_options(),
        flexible_minutes=flexible_minutes,
        misfire=misfire,
        misfire_within_seconds=misfire_within_seconds,
        overlap=overlap,
        runs_as=runs_as,
        delete_after_completion=delete_after_completion,
        origin=origin,
    ).checked()


def _check_arguments(args: Any, kwargs: Any) -> None:
    """Text is iterable, too: `args=("seven")` would be five arguments. Shows no values."""
    if isinstance(args, str | bytes | Mapping) or not isinstance(args, Iterable):
        kind = type(args).__name__
        raise OptionInvalid(f"args= is a list or a tuple of arguments, and here is {kind}: for one, args=(value,)")
    if kwargs is not None and not isinstance(kwargs, Mapping):
        raise OptionInvalid(
            f'kwargs= is a dict of arguments by name, and here is {type(kwargs).__name__}: {{"days": 7}}'
        )
