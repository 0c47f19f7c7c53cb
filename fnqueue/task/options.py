"""The options of a task and of one call, checked where they are written.

`TaskOptions` is fixed at decoration; `CallOptions` are what `using()` changes for one call. A fault is
raised at once, so that it is met at import and not in production.
Knows no engine: whether an option needs a store is asked at the start of web and worker.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, TypedDict

from fnqueue import quotas
from fnqueue.broker.names import check_queue
from fnqueue.errors import OptionInvalid
from fnqueue.security.policy import Policy

Priority = Literal["high", "normal", "low"] | int
YEAR_SECONDS = 31_536_000
#: A number between two, drawn evenly.
Draw = Callable[[float, float], float]


class Backoff:
    """When a failed attempt is tried again: `first_seconds * factor ** n`, at most `max_seconds`.

    `attempts` counts those after the first: 0 to 100. With `jitter` the wait is drawn evenly from 0 to that
    (full jitter), so that calls which failed together do not come back together. `on` and `not_on` choose
    the exceptions; `not_on` wins. An exception with `retry_after` (seconds) or a response with a Retry-After
    header is waited for as it asks, at most `max_seconds`.
    """

    __slots__ = ("attempts", "factor", "first_seconds", "jitter", "max_seconds", "not_on", "on")

    def __init__(
        self,
        attempts: int = 3,
        *,
        first_seconds: float = 1,
        factor: float = 2,
        max_seconds: float = 900,
        jitter: bool = True,
        on: tuple[type[BaseException], ...] = (Exception,),
        not_on: tuple[type[BaseException], ...] = (),
    ) -> None:
        _between("attempts", attempts, 0, 100)
        _between("first_seconds", first_seconds, 0, YEAR_SECONDS)
        _between("factor", factor, 1, 100)
        _between("max_seconds", max_seconds, 0, YEAR_SECONDS)
        self.attempts, self.first_seconds, self.factor = int(attempts), first_seconds, factor
        self.max_seconds, self.jitter = max_seconds, jitter
        self.on, self.not_on = _exceptions("on", on), _exceptions("not_on", not_on)

    def covers(self, error: BaseException) -> bool:
        return isinstance(error, self.on) and not isinstance(error, self.not_on)

    def seconds(self, tried: int, error: BaseException | None = None, draw: Draw = random.uniform) -> float:
        """How long to wait after `tried` failed attempts (1 and up)."""
        asked = _retry_after(error)
        if asked is not None:
            return min(asked, self.max_seconds)
        try:
            longest = min(self.max_seconds, self.first_seconds * self.factor ** (tried - 1))
        except OverflowError:
            longest = self.max_seconds
        return draw(0, longest) if self.jitter else longest

    def to_wire(self) -> list[float]:
        """What a call with its own `retry=` carries. Exception classes do not travel: the task's apply."""
        return [self.attempts, self.first_seconds, self.factor, self.max_seconds, int(self.jitter)]

    def changed_by_wire(self, wire: list[float]) -> Backoff:
        attempts, first, factor, most, jitter = wire
        return Backoff(
            int(attempts),
            first_seconds=first,
            factor=factor,
            max_seconds=most,
            jitter=bool(jitter),
            on=self.on,
            not_on=self.not_on,
        )

    def __repr__(self) -> str:
        return f"Backoff({self.attempts}, first_seconds={self.first_seconds:g}, factor={self.factor:g})"


Retry = int | Backoff | None


class TaskKeywords(TypedDict, total=False):
    """What `@fn.task(...)` may be given, but `bind`, which changes the decorator's type. For mypy and editors."""

    name: str | None
    queue: str
    policy: Policy | None
    retry: Retry
    expires_seconds: float
    priority: Priority
    time_limit_seconds: float | None
    soft_time_limit_seconds: float | None
    once: bool
    unique_for_seconds: float | None
    dead_letter: bool
    at_most_once: bool
    keep_result_seconds: float
    keep_failure_seconds: float
    raises: tuple[type[Exception], ...]
    runs_as: str | None
    defers: tuple[str, ...]
    read: Policy | None
    operate: Policy | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskOptions:
    """What `@fn.task(...)` was given. See `FnQueue.task` for each."""

    name: str | None = None
    queue: str = "default"
    policy: Policy | None = None
    retry: Retry = None
    expires_seconds: float = 345_600
    priority: Priority = "normal"
    time_limit_seconds: float | None = None
    soft_time_limit_seconds: float | None = None
    once: bool = False
    unique_for_seconds: float | None = None
    dead_letter: bool = True
    at_most_once: bool = False
    keep_result_seconds: float = 86_400
    keep_failure_seconds: float = 604_800
    raises: tuple[type[Exception], ...] = ()
    runs_as: str | None = None
    defers: tuple[str, ...] = ()
    read: Policy | None = None
    operate: Policy | None = None
    bind: bool = False

    def __post_init__(self) -> None:
        check_queue(self.queue)
        priority_name(self.priority)
        retry_of(self.retry)
        _between("expires_seconds", self.expires_seconds, 1, YEAR_SECONDS)
        _between("keep_result_seconds", self.keep_result_seconds, 0, 10 * YEAR_SECONDS)
        _between("keep_failure_seconds", self.keep_failure_seconds, 0, 10 * YEAR_SECONDS)
        _unique(self.unique_for_seconds)
        for name in ("time_limit_seconds", "soft_time_limit_seconds"):
            if getattr(self, name) is not None:
                _between(name, getattr(self, name), 0.001, quotas.RUN_SECONDS_MAX)
        _exceptions("raises", self.raises)
        _task_names("defers", self.defers)
        if self.at_most_once and self.retry:
            raise OptionInvalid("at_most_once=True is never tried again: leave retry= out")
        if self.once and self.at_most_once:
            raise OptionInvalid("once=True and at_most_once=True contradict each other: choose one")


@dataclass(frozen=True, slots=True, kw_only=True)
class CallOptions:
    """What `task.using(...)` was given. None: as the task says."""

    queue: str | None = None
    delay_seconds: float | None = None
    not_before: datetime | None = None
    expires_seconds: float | None = None
    priority: Priority | None = None
    tenant: str | None = None
    group: str | None = None
    group_clear: bool = False
    dedupe: str | None = None
    unique_for_seconds: float | None = None
    retry: Retry = None

    def __post_init__(self) -> None:
        if self.queue is not None:
            check_queue(self.queue)
        if self.priority is not None:
            priority_name(self.priority)
        if self.delay_seconds is not None:
            _between("delay_seconds", self.delay_seconds, 0, YEAR_SECONDS)
        if self.expires_seconds is not None:
            _between("expires_seconds", self.expires_seconds, 1, YEAR_SECONDS)
        if self.not_before is not None and self.delay_seconds is not None:
            raise OptionInvalid("delay_seconds= and not_before= say the same thing: give one of them")
        if self.not_before is not None and not isinstance(self.not_before, datetime):
            raise OptionInvalid(f"not_before={self.not_before!r}: must be a datetime with its time zone")
        if self.not_before is not None and self.not_before.tzinfo is None:
            raise OptionInvalid(f"not_before={self.not_before!r} has no time zone: make it aware, as datetime.now(UTC)")
        for name in ("tenant", "group", "dedupe"):
            _short_text(name, getattr(self, name))
        _unique(self.unique_for_seconds)
        retry_of(self.retry)


def priority_name(priority: Priority) -> str:
    """high, normal or low. Numbers are 0 (least) to 9 (most urgent): 0 to 3 low, 4 to 6 normal, 7 to 9 high."""
    if priority in ("high", "normal", "low"):
        return str(priority)
    if isinstance(priority, int) and not isinstance(priority, bool) and 0 <= priority <= 9:
        return "low" if priority <= 3 else "normal" if priority <= 6 else "high"
    raise OptionInvalid(f"priority={priority!r}: must be 'high', 'normal', 'low', or 0 (least urgent) to 9")


def retry_of(retry: Retry) -> Backoff:
    """`retry=3` is three attempts after the first, exponential from 1 s with full jitter, at most 15 min."""
    if retry is None:
        return Backoff(0)
    if isinstance(retry, Backoff):
        return retry
    if isinstance(retry, int) and not isinstance(retry, bool):
        return Backoff(retry)
    raise OptionInvalid(f"retry={retry!r}: must be a whole number of attempts after the first, or a Backoff")


#: Words of other queues -> ours: "did you mean" for what no spelling leads to.
MEANT = {
    "countdown": "delay_seconds",
    "delay": "delay_seconds",
    "eta": "not_before",
    "run_after": "not_before",
    "expires": "expires_seconds",
    "max_retries": "retry",
    "retries": "retry",
    "time_limit": "time_limit_seconds",
    "timeout": "time_limit_seconds",
    "soft_time_limit": "soft_time_limit_seconds",
    "queue_name": "queue",
    "unique": "unique_for_seconds",
    "unique_for": "unique_for_seconds",
}


def unknown_option(
    name: str, known: Callable[..., Any], *, also: Sequence[str] = (), but: Sequence[str] = ()
) -> OptionInvalid:
    """`known`: takes them, but not `but`; `also` are taken beside them."""
    import difflib
    import inspect

    parameters = inspect.signature(known).parameters.values()
    names = [each.name for each in parameters if each.kind is not each.VAR_KEYWORD and each.name != "self"]
    names = [each for each in (*names, *also) if each not in but]
    meant = MEANT.get(name, name)
    if meant in CallOptions.__slots__ and meant not in names:
        return OptionInvalid(f"{name}= is no option of a task; a call has it: task.using({meant}=...).defer(...)")
    if meant in TaskOptions.__slots__ and meant not in names:
        return OptionInvalid(f"{name}= is no option of a call; the task has it: @fn.task({meant}=...)")
    near = [meant] if meant in names else difflib.get_close_matches(name, names, n=1)
    near = near or [each for each in names if each.startswith(name)]
    hint = f"did you mean {near[0]}=?" if near else f"there are {', '.join(names)}"
    return OptionInvalid(f"{name}= is no option; {hint}")


def _retry_after(error: BaseException | None) -> float | None:
    asked = getattr(error, "retry_after", None)
    if asked is None:
        headers: Any = getattr(getattr(error, "response", None), "headers", None)
        asked = headers.get("Retry-After") if hasattr(headers, "get") else None
    try:
        seconds = float(asked)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    return seconds if 0 <= seconds < YEAR_SECONDS else None


def _between(name: str, value: Any, low: float, high: float) -> None:
    if isinstance(value, timedelta):
        raise OptionInvalid(f"{name}={value!r}: must be a number of seconds: {value.total_seconds():g}")
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise OptionInvalid(f"{name}={value!r}: must be a number, {low:,} to {high:,}, got {type(value).__name__}")
    if not low <= value <= high:
        raise OptionInvalid(f"{name}={value!r}: must be {low:,} to {high:,}")


def _unique(seconds: float | None) -> None:
    if seconds is not None:
        _between("unique_for_seconds", seconds, 1, YEAR_SECONDS)


def _exceptions(name: str, value: Any) -> tuple[type[BaseException], ...]:
    if isinstance(value, type) and issubclass(value, BaseException):
        return (value,)
    if isinstance(value, tuple) and all(isinstance(kind, type) and issubclass(kind, BaseException) for kind in value):
        return value
    raise OptionInvalid(f"{name}={value!r}: must be a tuple of exception classes")


def _task_names(name: str, value: Any) -> None:
    if not isinstance(value, tuple | list) or not all(isinstance(each, str) and each for each in value):
        raise OptionInvalid(
            f'{name}={value!r}: must be the names of tasks, as ("shop.tasks.send_mail", "shop.reports.*")'
        )


def _short_text(name: str, value: Any) -> None:
    if value is not None and (not isinstance(value, str) or not 1 <= len(value) <= 1000):
        raise OptionInvalid(f"{name}={value!r}: must be text of 1 to 1,000 characters")
    if value is not None and not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise OptionInvalid(f"{name}={value!r}: has half a surrogate pair in it, which UTF-8 cannot say") from None


NO_OPTIONS = CallOptions()
