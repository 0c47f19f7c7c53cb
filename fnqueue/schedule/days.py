"""Which days of a month a cron expression means: the two day fields, of which one is `?`.

`L` is the last day, `15W` the weekday nearest to the 15th within the month, `LW` the last weekday (Monday to
Friday); in the day-of-week, where 1 is Sunday, `6L` is the month's last Friday, `6#3` its third, and `L` alone
the week's last day, Saturday. A month that has no such day has no fire.
Knows the calendar; knows no hours and no zones.
"""

from __future__ import annotations

import calendar
import re
from dataclasses import dataclass
from typing import Protocol

from fnqueue.schedule.fields import DAYS_OF_MONTH, DAYS_OF_WEEK, Part

_SATURDAY = 7
_ALONE = "stands alone, not in a list, a range or with a step"


class Days(Protocol):
    """The days of a month, ascending."""

    def of(self, year: int, month: int) -> tuple[int, ...]: ...


@dataclass(frozen=True, slots=True)
class DaysOfMonth:
    parts: tuple[Part, ...]
    numbers: tuple[int, ...]

    def of(self, year: int, month: int) -> tuple[int, ...]:
        last = _length(year, month)
        return tuple(day for day in self.numbers if day <= last)


@dataclass(frozen=True, slots=True)
class LastDay:
    def of(self, year: int, month: int) -> tuple[int, ...]:
        return (_length(year, month),)


@dataclass(frozen=True, slots=True)
class NearestWeekday:
    """`day` 31 in a month of 30: none. None: the last day (`LW`)."""

    day: int | None

    def of(self, year: int, month: int) -> tuple[int, ...]:
        last = _length(year, month)
        day = last if self.day is None else self.day
        if day > last:
            return ()
        weekday = calendar.weekday(year, month, day)
        if weekday == calendar.SATURDAY:
            return (day - 1 if day > 1 else day + 2,)
        if weekday == calendar.SUNDAY:
            return (day + 1 if day < last else day - 2,)
        return (day,)


@dataclass(frozen=True, slots=True)
class DaysOfWeek:
    """Numbers as in cron: 1 is Sunday."""

    parts: tuple[Part, ...]
    numbers: tuple[int, ...]

    def of(self, year: int, month: int) -> tuple[int, ...]:
        first = _weekday(year, month, 1)
        wanted = set(self.numbers)
        return tuple(day for day in range(1, _length(year, month) + 1) if (first + day - 2) % 7 + 1 in wanted)


@dataclass(frozen=True, slots=True)
class LastOfWeekday:
    weekday: int

    def of(self, year: int, month: int) -> tuple[int, ...]:
        last = _length(year, month)
        return (last - (_weekday(year, month, last) - self.weekday) % 7,)


@dataclass(frozen=True, slots=True)
class NthOfWeekday:
    weekday: int
    nth: int

    def of(self, year: int, month: int) -> tuple[int, ...]:
        day = 1 + (self.weekday - _weekday(year, month, 1)) % 7 + 7 * (self.nth - 1)
        return (day,) if day <= _length(year, month) else ()


def parse_days(of_month: str, of_week: str) -> Days:
    """Raises FieldFault."""
    if (of_month == "?") == (of_week == "?"):
        both = "both are '?'" if of_month == "?" else f"{of_month!r} and {of_week!r}"
        raise DAYS_OF_WEEK.fault(f"exactly one of day-of-month and day-of-week is '?', and here {both}")
    return _of_month(of_month) if of_week == "?" else _of_week(of_week)


def _of_month(text: str) -> Days:
    if text == "L":
        return LastDay()
    if text == "LW":
        return NearestWeekday(None)
    if "#" in text:
        raise DAYS_OF_MONTH.fault(f"{text!r}: '#' belongs into the day-of-week")
    if re.fullmatch(r"[0-9]{1,2}W", text):
        return NearestWeekday(DAYS_OF_MONTH.value(text.removesuffix("W")))
    if "L" in text or "W" in text:
        raise DAYS_OF_MONTH.fault(f"{text!r}: L, LW or a day with W (15W) {_ALONE}")
    parts = DAYS_OF_MONTH.parts(text)
    return DaysOfMonth(parts, DAYS_OF_MONTH.numbers(parts))


def _of_week(text: str) -> Days:
    if text == "L":
        return DaysOfWeek((Part(_SATURDAY, _SATURDAY),), (_SATURDAY,))
    if "#" in text:
        return _nth(text)
    last = re.fullmatch(r"([1-7]|[A-Z]{3})L", text)
    if last:
        return LastOfWeekday(DAYS_OF_WEEK.value(last[1]))
    parts = DAYS_OF_WEEK.parts(text)
    return DaysOfWeek(parts, DAYS_OF_WEEK.numbers(parts))


def _nth(text: str) -> Days:
    day, _, nth = text.partition("#")
    if "," in text or "-" in text or "/" in text:
        raise DAYS_OF_WEEK.fault(f"{text!r}: a day with # {_ALONE}")
    if nth not in ("1", "2", "3", "4", "5"):
        raise DAYS_OF_WEEK.fault(f"{text!r}: after '#' comes 1 to 5, as 6#3 for the third Friday")
    return NthOfWeekday(DAYS_OF_WEEK.value(day), int(nth))


def _length(year: int, month: int) -> int:
    return calendar.monthrange(year, month)[1]


def _weekday(year: int, month: int, day: int) -> int:
    """1 is Sunday."""
    return (calendar.weekday(year, month, day) + 1) % 7 + 1
