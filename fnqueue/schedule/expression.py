"""`rate()`, `cron()` and `at()` as EventBridge Scheduler has them: text becomes instants.

    >>> next(parse("cron(0 9 ? * MON-FRI *)", "Europe/Berlin").after(now))

An expression is inert: it knows its zone, start and end, and never what time it is. Instants go in aware and come
out in UTC. A wall time that a clock change skips does not fire, one that it repeats fires once, at the first.
Knows nothing of schedules, calls or queues.
Source: EventBridge Scheduler User Guide, "Schedule types", and API Reference, CreateSchedule.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from fnqueue.errors import ExpressionInvalid, OptionInvalid
from fnqueue.schedule import describe
from fnqueue.schedule.cron import CronFields
from fnqueue.schedule.fields import FieldFault
from fnqueue.schedule.zones import find_zone, to_instant, to_wall

LENGTH_MAX = 256
_AT = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})T([0-9]{2}):([0-9]{2}):([0-9]{2})\Z")
_RATE = re.compile(r"([1-9][0-9]*) (minute|hour|day)s?\Z")
_FORMS = "rate(5 minutes), cron(0 9 ? * MON-FRI *) or at(2030-01-31T09:00:00)"


def parse(text: str, timezone: str = "UTC", start: datetime | None = None, end: datetime | None = None) -> Expression:
    """The expression of `text`, 1 to 256 characters. `timezone`: an IANA name, which `rate()` ignores.

    `start` and `end` (aware) bound `rate()` and `cron()`, both inclusive; `at()` ignores them. `rate()` counts from
    `start`, its first occurrence. Raises ExpressionInvalid, which names the field and says why.
    """
    if not isinstance(text, str) or not 1 <= len(text) <= LENGTH_MAX:
        raise ExpressionInvalid(str(text)[:LENGTH_MAX], "text", f"must be text of 1 to {LENGTH_MAX} characters")
    zone = find_zone(timezone) if isinstance(timezone, str) else None
    if zone is None:
        raise ExpressionInvalid(
            text, "timezone", f"{timezone!r} is no time zone that this machine knows (an IANA name, as Europe/Berlin)"
        )
    for name, value in (("start", start), ("end", end)):
        if value is not None:
            _check_aware(name, value)
    if start is not None and end is not None and end < start:
        raise ExpressionInvalid(text, "end", f"{end.isoformat()} is before the start, {start.isoformat()}")
    kind, _, rest = text.partition("(")
    make = _KINDS.get(kind)
    if make is None or not rest.endswith(")"):
        raise ExpressionInvalid(text, "text", f"must be {_FORMS}")
    bounds = _Bounds(text, timezone, zone, start, end)
    try:
        return make(rest[:-1], bounds)
    except FieldFault as fault:
        raise ExpressionInvalid(text, fault.field, fault.why) from None


@dataclass(frozen=True)
class _Bounds:
    text: str
    timezone: str
    zone: ZoneInfo
    start: datetime | None
    end: datetime | None


class Expression(ABC):
    """What `parse` returns. Immutable."""

    def __init__(self, bounds: _Bounds) -> None:
        self.text, self.timezone = bounds.text, bounds.timezone
        self.start, self.end = bounds.start, bounds.end
        self.zone = bounds.zone

    def after(self, instant: datetime) -> Iterator[datetime]:
        """The occurrences strictly later than `instant`, ascending, in UTC; as long as there are any."""
        return self._after(_check_aware("instant", instant))

    @abstractmethod
    def is_occurrence(self, instant: datetime) -> bool:
        """Whether it fires at just this instant."""

    @abstractmethod
    def describe(self) -> str:
        """In plain English: "at 09:00, Monday to Friday (Europe/Berlin)"."""

    @abstractmethod
    def _after(self, instant: datetime) -> Iterator[datetime]: ...

    def _within(self, instant: datetime) -> bool:
        return (self.start is None or self.start <= instant) and (self.end is None or instant <= self.end)

    def __repr__(self) -> str:
        return f"<{self.text} in {self.timezone}>"


class At(Expression):
    """Once."""

    def __init__(self, inside: str, bounds: _Bounds) -> None:
        super().__init__(bounds)
        found = _AT.match(inside)
        if found is None:
            raise FieldFault("time", f"{inside!r}: must be a wall time without zone, as 2030-01-31T09:00:00")
        try:
            self.wall = datetime.fromisoformat(inside)
        except ValueError as error:
            raise FieldFault("time", f"{inside!r}: {error}") from None
        try:
            instant = to_instant(self.wall, self.zone)
        except OverflowError:
            raise FieldFault(
                "time",
                f"{inside!r}: in {self.timezone} it is not within the years 1 to 9999 of UTC; write a nearer one",
            ) from None
        if instant is None:
            raise FieldFault("time", f"{inside!r} does not exist in {self.timezone}: clocks are put forward over it")
        self.instant = instant

    def _after(self, instant: datetime) -> Iterator[datetime]:
        if self.instant > instant:
            yield self.instant

    def is_occurrence(self, instant: datetime) -> bool:
        return _check_aware("instant", instant) == self.instant

    def describe(self) -> str:
        return describe.at(self.wall, self.timezone)


class Rate(Expression):
    """Every so often, counted in elapsed time: a day is 24 hours, whatever the clocks do."""

    def __init__(self, inside: str, bounds: _Bounds) -> None:
        super().__init__(bounds)
        found = _RATE.match(inside)
        if found is None:
            raise FieldFault(
                "rate", f"{inside!r}: must be a whole number from 1, one blank, and minutes, hours or days: 5 minutes"
            )
        self.count, self.unit = int(found[1]), found[2]
        try:
            self.every = timedelta(**{self.unit + "s": self.count})
        except OverflowError:
            raise FieldFault("rate", f"{inside!r} is longer than any calendar") from None

    def _after(self, instant: datetime) -> Iterator[datetime]:
        """Without a start, from `instant` on."""
        try:
            found = self._first(instant)
            while self.end is None or found <= self.end:
                yield found
                found += self.every
        except OverflowError:
            return  # the calendar's last year

    def _first(self, instant: datetime) -> datetime:
        anchor = self.start.astimezone(UTC) if self.start is not None else instant
        if instant < anchor:
            return anchor
        return anchor + ((instant - anchor) // self.every + 1) * self.every

    def is_occurrence(self, instant: datetime) -> bool:
        _check_aware("instant", instant)
        if self.start is None:
            raise OptionInvalid(f"{self.text} has no start, and so no occurrence of its own: give start=")
        return self._within(instant) and (instant - self.start) % self.every == timedelta(0)

    def describe(self) -> str:
        return describe.rate(self.count, self.unit)


class Cron(Expression):
    """Wall times in the zone."""

    def __init__(self, inside: str, bounds: _Bounds) -> None:
        super().__init__(bounds)
        self.fields = CronFields.parse(inside)

    def _after(self, instant: datetime) -> Iterator[datetime]:
        if self.start is not None and instant < self.start:
            instant = self.start.astimezone(UTC) - timedelta(microseconds=1)
        # Instants of existing wall times, each the first of its kind, ascend as the wall times do.
        for wall in self.fields.walls(to_wall(instant, self.zone)):
            found = to_instant(wall, self.zone)
            if found is None or found <= instant:
                continue
            if self.end is not None and found > self.end:
                return
            yield found

    def is_occurrence(self, instant: datetime) -> bool:
        wall = to_wall(_check_aware("instant", instant), self.zone)
        return self._within(instant) and self.fields.agrees(wall) and to_instant(wall, self.zone) == instant

    def describe(self) -> str:
        return describe.cron(self.fields, self.timezone)


_KINDS: dict[str, Callable[[str, _Bounds], Expression]] = {"at": At, "rate": Rate, "cron": Cron}


def _check_aware(name: str, value: datetime) -> datetime:
    if not isinstance(value, datetime) or value.utcoffset() is None:
        raise OptionInvalid(f"{name}={value!r}: must be a datetime with a time zone, as datetime.now(UTC)")
    return value.astimezone(UTC)
