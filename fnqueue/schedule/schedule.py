"""A schedule: which task is called when, with what, and what becomes of times that nobody was there for.

In EventBridge Scheduler's words where it has one. Inert: to and from JSON, and knows no app and no clock.
Source: EventBridge Scheduler API Reference, CreateSchedule.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any, Final, Literal

import msgspec

from fnqueue.errors import OptionInvalid
from fnqueue.schedule.expression import Expression, parse

Misfire = Literal["skip", "run_once", "catch_up"]
Overlap = Literal["allow", "skip"]

#: In arguments these stand for what is known when it fires; EventBridge knows the same ones.
SCHEDULED_TIME: Final = "<aws.scheduler.scheduled-time>"
SCHEDULE_NAME: Final = "<fnqueue.schedule-name>"

FLEXIBLE_MINUTES_MAX: Final = 1440
MISFIRE_SECONDS_MAX: Final = 31_536_000
_NAME: Final = re.compile(r"[0-9A-Za-z_.-]{1,64}\Z")


class Schedule(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`args`, `kwargs` and `options` as they travel.

    `flexible_minutes`: it fires at some moment of so many minutes after its time, 0 to 1440; each time has its own
    moment, the same for all who look. `misfire`: of times more than a minute late, `skip` fires none, `run_once`
    the newest if nothing is on time, `catch_up` all; none of them one later than `misfire_within_seconds`.
    `overlap="skip"`: no fire while the call of the one before it has not ended. `runs_as`: the service that its calls
    are made for; without one they are made for the schedule itself. `origin`: "code" for what `@fn.schedule` says.
    """

    name: str
    expression: str
    task: str
    timezone: str = "UTC"
    start: datetime | None = None
    end: datetime | None = None
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = msgspec.field(default_factory=dict)
    options: dict[str, Any] = msgspec.field(default_factory=dict)
    flexible_minutes: int = 0
    misfire: Misfire = "run_once"
    misfire_within_seconds: float = 86_400
    overlap: Overlap = "allow"
    runs_as: str | None = None
    delete_after_completion: bool = False
    origin: Literal["code", "put"] = "put"

    def __repr__(self) -> str:
        return f"<Schedule {self.name} of {self.task}, {self.expression}>"  # no arguments

    def checked(self) -> Schedule:
        """Itself. Raises OptionInvalid, ExpressionInvalid."""
        if not isinstance(self.name, str) or not _NAME.match(self.name):
            raise OptionInvalid(f"schedule name {self.name!r}: must be 1 to 64 of letters, digits and - _ .")
        _check("misfire", self.misfire, ("skip", "run_once", "catch_up"))
        _check("overlap", self.overlap, ("allow", "skip"))
        _between("flexible_minutes", self.flexible_minutes, 0, FLEXIBLE_MINUTES_MAX)
        if not isinstance(self.flexible_minutes, int):  # or nobody could read it again, and it would never fire
            raise OptionInvalid(f"flexible_minutes={self.flexible_minutes!r}: must be a whole number, as 15")
        _between("misfire_within_seconds", self.misfire_within_seconds, 60, MISFIRE_SECONDS_MAX)
        if self.runs_as is not None and (not isinstance(self.runs_as, str) or not self.runs_as):
            raise OptionInvalid(f"runs_as={self.runs_as!r}: must be the name of a service")
        if not isinstance(self.delete_after_completion, bool):
            raise OptionInvalid(f"delete_after_completion={self.delete_after_completion!r}: must be True or False")
        parse(self.expression, self.timezone)  # first: what is no text has no start to look for
        self.parsed(None)
        return self

    def parsed(self, anchor: datetime | None) -> Expression:
        """`anchor`: when it was made, from which `rate()` counts if there is no start."""
        start = self.start or (anchor if self.expression.startswith("rate(") else None)
        if start is not None and self.end is not None and self.start is None and self.end < start:
            start = None  # it was made after its own end, and never fires
        return parse(self.expression, self.timezone, start=start, end=self.end)

    def arguments(self, at: datetime) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Both as they travel, with what is known of the fire at `at` in the place of its marks."""
        known = {SCHEDULED_TIME: at.strftime("%Y-%m-%dT%H:%M:%SZ"), SCHEDULE_NAME: self.name}
        filled = _filled([list(self.args), self.kwargs], known)
        return tuple(filled[0]), filled[1]


def _filled(value: Any, known: dict[str, str]) -> Any:
    if isinstance(value, str):
        for mark, text in known.items():
            value = value.replace(mark, text)
        return value
    if isinstance(value, list | tuple):
        return [_filled(each, known) for each in value]
    if isinstance(value, dict):
        return {key: _filled(each, known) for key, each in value.items()}
    return value


def _check(name: str, value: Any, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise OptionInvalid(f"{name}={value!r}: must be one of {', '.join(map(repr, choices))}")


def _between(name: str, value: Any, low: float, high: float) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise OptionInvalid(f"{name}={value!r}: must be {low:,} to {high:,}")
