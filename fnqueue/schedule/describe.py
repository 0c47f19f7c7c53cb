"""Expressions in plain English, for lists and previews. Not for machines: the wording may change.

"at 09:00 and 17:30, Monday to Friday (Europe/Berlin)"
"every 10 minutes from 08:00 to 17:59, on the last day of the month, in January"
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from itertools import pairwise

from fnqueue.schedule.cron import CronFields
from fnqueue.schedule.days import (
    Days,
    DaysOfMonth,
    DaysOfWeek,
    LastDay,
    LastOfWeekday,
    NearestWeekday,
    NthOfWeekday,
)
from fnqueue.schedule.fields import DAYS_OF_MONTH, DAYS_OF_WEEK, HOURS, MINUTES, MONTHS, YEARS, FieldKind, Part

_MONTHS = (
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
)
_WEEKDAYS = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")
_NTH = ("first", "second", "third", "fourth", "fifth")
_TIMES_MAX = 6  # so many times of the day are listed one by one


def at(wall: datetime, timezone: str) -> str:
    return f"once, on {wall.day} {_MONTHS[wall.month - 1]} {wall.year} at {wall:%H:%M:%S} ({timezone})"


def rate(count: int, unit: str) -> str:
    return f"every {unit}" if count == 1 else f"every {count} {unit}s"


def cron(fields: CronFields, timezone: str) -> str:
    said = [_times(fields), _days(fields.days), _months(fields.months), _years(fields.years)]
    return ", ".join(each for each in said if each) + f" ({timezone})"


# ---------------------------------------------------------------- times


def _times(fields: CronFields) -> str:
    if len(fields.times) <= _TIMES_MAX:
        return "at " + _and([f"{each:%H:%M}" for each in fields.times])
    minutes, hours = MINUTES.numbers(fields.minutes), HOURS.numbers(fields.hours)
    return f"{_minutes(fields.minutes, minutes)}{_hours(fields.hours, hours, minutes)}"


def _minutes(parts: Sequence[Part], numbers: Sequence[int]) -> str:
    if len(numbers) == 60:
        return "every minute"
    if len(numbers) == 1:
        return f"{numbers[0]} minutes past the hour" if numbers[0] else "on the hour"
    step = _even_step(numbers, 60)
    if step and numbers[0] < step:
        return f"every {step} minutes" + (f" from minute {numbers[0]} on" if numbers[0] else "")
    return f"at the minutes {_and(_spans(MINUTES, parts, str))}"


def _hours(parts: Sequence[Part], hours: Sequence[int], minutes: Sequence[int]) -> str:
    if len(hours) == 24:
        return ""
    step = _even_step(hours, 24)
    if step and step > 1:
        return f", every {step} hours from {hours[0]:02}:00"
    if hours == tuple(range(hours[0], hours[-1] + 1)):
        return f" from {hours[0]:02}:{minutes[0]:02} to {hours[-1]:02}:{minutes[-1]:02}"
    return f", in the hours {_and(_spans(HOURS, parts, lambda hour: f'{hour:02}'))}"


def _even_step(numbers: Sequence[int], width: int) -> int | None:
    """The step, if the numbers are in even steps all round."""
    steps = {later - earlier for earlier, later in pairwise(numbers)}
    if len(steps) != 1:
        return None
    (step,) = steps
    return step if numbers[-1] + step >= width else None


# ---------------------------------------------------------------- days, months, years


def _days(days: Days) -> str:
    match days:
        case LastDay():
            return "on the last day of the month"
        case NearestWeekday(day=None):
            return "on the last weekday of the month"
        case NearestWeekday(day=day):
            return f"on the weekday nearest to the {_ordinal(day or 0)} of the month"
        case LastOfWeekday(weekday=weekday):
            return f"on the last {_weekday(weekday)} of the month"
        case NthOfWeekday(weekday=weekday, nth=nth):
            return f"on the {_NTH[nth - 1]} {_weekday(weekday)} of the month"
        case DaysOfWeek(parts=parts, numbers=numbers):
            return "every day" if len(numbers) == 7 else _and(_spans(DAYS_OF_WEEK, parts, _weekday))
        case DaysOfMonth(parts=parts, numbers=numbers):
            if len(numbers) == 31:
                return "every day"
            return f"on the {_and(_spans(DAYS_OF_MONTH, parts, _ordinal))} of the month"
    return ""


def _months(parts: Sequence[Part]) -> str:
    return "" if _all(parts) else f"in {_and(_spans(MONTHS, parts, lambda month: _MONTHS[month - 1]))}"


def _years(parts: Sequence[Part]) -> str:
    return "" if _all(parts) else f"in {_and(_spans(YEARS, parts, str))}"


def _all(parts: Sequence[Part]) -> bool:
    return any(part.every and part.step == 1 for part in parts)


# ---------------------------------------------------------------- words


def _spans(kind: FieldKind, parts: Sequence[Part], word: Callable[[int], str]) -> list[str]:
    return [each for part in parts for each in _span(kind, part, word)]


def _span(kind: FieldKind, part: Part, word: Callable[[int], str]) -> list[str]:
    if part.first == part.last:
        return [word(part.first)]
    if part.step == 1:
        return [f"{word(part.first)} to {word(part.last)}"]
    return [word(number) for number in kind.numbers([part])]


def _weekday(number: int) -> str:
    return _WEEKDAYS[number - 1]


def _ordinal(number: int) -> str:
    ending = {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{'th' if 10 <= number % 100 <= 20 else ending}"


def _and(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
