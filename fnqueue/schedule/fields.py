"""The six fields of `cron(minutes hours day-of-month month day-of-week year)`, as text and as numbers.

A field is a list of parts: a value, a range, either with a step, or `*`. The day fields have more (`days.py`).
What a fault is said in terms of is the field's name and the offending part, never a position.
Knows the grammar; knows no calendar.
Source: EventBridge Scheduler User Guide, "Schedule types"; the rows K1 to K10 of the project's specification sheet.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_WEEKDAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
_NUMBER = re.compile(r"[0-9]{1,4}\Z")
_LETTERS = re.compile(r"[A-Za-z]+\Z")


class FieldFault(Exception):
    """Why a field is none. Caught by `expression`, which knows the whole text."""

    def __init__(self, field: str, why: str) -> None:
        super().__init__(why)
        self.field, self.why = field, why


@dataclass(frozen=True, slots=True)
class Part:
    """`first` to `last` in steps; going round the end where last < first. `every`: written with `*`."""

    first: int
    last: int
    step: int = 1
    every: bool = False


@dataclass(frozen=True, slots=True)
class FieldKind:
    name: str
    low: int
    high: int
    names: Mapping[str, int] = field(default_factory=dict)

    def fault(self, why: str) -> FieldFault:
        return FieldFault(self.name, why)

    # ---------------------------------------------------------------- text to parts

    def parts(self, text: str) -> tuple[Part, ...]:
        """Raises FieldFault."""
        return tuple(self._part(each) for each in text.split(","))

    def _part(self, text: str) -> Part:
        span, slash, step = text.partition("/")
        if not slash:
            return self._span(text)
        if not _NUMBER.match(step) or int(step) == 0:
            raise self.fault(f"{text!r}: after '/' comes a step, a whole number from 1")
        part = self._span(span)
        # `5/15` goes on to the field's end; `5-5/15` is a range of one.
        last = self.high if "-" not in span and not part.every else part.last
        return Part(part.first, last, int(step), part.every)

    def _span(self, text: str) -> Part:
        if text == "*":
            return Part(self.low, self.high, every=True)
        first, dash, last = text.partition("-")
        if not dash:
            return Part(self.value(text), self.value(text))
        return Part(self.value(first), self.value(last))

    def value(self, text: str) -> int:
        if _LETTERS.match(text):
            return self._named(text)
        if not _NUMBER.match(text):
            raise self.fault(f"{text!r} is no {self._wanted()}" if text else "a value is missing")
        if not self.low <= int(text) <= self.high:
            raise self.fault(f"{text} is not in {self.low} to {self.high}")
        return int(text)

    def _named(self, text: str) -> int:
        if text in self.names:
            return self.names[text]
        if text.upper() in self.names:
            raise self.fault(f"{text!r}: names are in capitals, write {text.upper()}")
        raise self.fault(f"{text!r} is no {self._wanted()}")

    def _wanted(self) -> str:
        names = list(self.names)
        also = f" or {names[0]} to {names[-1]}" if names else ""
        return f"number from {self.low} to {self.high}{also}"

    # ---------------------------------------------------------------- parts to numbers

    def numbers(self, parts: Sequence[Part]) -> tuple[int, ...]:
        """Sorted, each once."""
        found: set[int] = set()
        for part in parts:
            if part.first <= part.last:
                found.update(range(part.first, part.last + 1, part.step))
            else:  # FRI-MON, 22-2: round the end
                width = self.high - self.low + 1
                span = range(part.first, part.last + width + 1, part.step)
                found.update((number - self.low) % width + self.low for number in span)
        return tuple(sorted(found))


MINUTES = FieldKind("minutes", 0, 59)
HOURS = FieldKind("hours", 0, 23)
DAYS_OF_MONTH = FieldKind("day-of-month", 1, 31)
MONTHS = FieldKind("month", 1, 12, {name: number for number, name in enumerate(_MONTHS, 1)})
DAYS_OF_WEEK = FieldKind("day-of-week", 1, 7, {name: number for number, name in enumerate(_WEEKDAYS, 1)})
YEARS = FieldKind("year", 1970, 2199)
