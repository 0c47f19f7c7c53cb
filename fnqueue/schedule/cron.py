"""`cron(...)`: the wall times of a zone at which all six fields agree.

Walked by years, months and days, never by minutes: a fifth Friday of February may be 40 years away, and an
expression may have no fire at all. The walk ends with the last year that the field knows, 2199.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, time
from functools import cached_property

from fnqueue.schedule.days import Days, parse_days
from fnqueue.schedule.fields import HOURS, MINUTES, MONTHS, YEARS, FieldFault, Part

NAMES = ("minutes", "hours", "day-of-month", "month", "day-of-week", "year")


@dataclass(frozen=True)
class CronFields:
    minutes: tuple[Part, ...]
    hours: tuple[Part, ...]
    days: Days
    months: tuple[Part, ...]
    years: tuple[Part, ...]

    @classmethod
    def parse(cls, text: str) -> CronFields:
        """What stands between the brackets. Raises FieldFault."""
        fields = text.split(" ")
        if len(fields) != len(NAMES) or "" in fields:
            found = len([each for each in fields if each])
            blanks = ", with one blank between" if found == len(NAMES) else f", and here are {found}"
            raise FieldFault("fields", f"there are six ({' '.join(NAMES)}){blanks}")
        minutes, hours, of_month, months, of_week, years = fields
        return cls(
            minutes=MINUTES.parts(minutes),
            hours=HOURS.parts(hours),
            months=MONTHS.parts(months),
            days=parse_days(of_month, of_week),
            years=YEARS.parts(years),
        )

    # ---------------------------------------------------------------- as numbers

    @cached_property
    def times(self) -> tuple[time, ...]:
        minutes = MINUTES.numbers(self.minutes)
        return tuple(time(hour, minute) for hour in HOURS.numbers(self.hours) for minute in minutes)

    @cached_property
    def month_numbers(self) -> tuple[int, ...]:
        return MONTHS.numbers(self.months)

    @cached_property
    def year_numbers(self) -> tuple[int, ...]:
        return YEARS.numbers(self.years)

    # ---------------------------------------------------------------- the walk

    def walls(self, after: datetime) -> Iterator[datetime]:
        """Wall times later than `after` (naive), ascending."""
        for day in self._days(after.date()):
            for each in self.times:
                wall = datetime.combine(day, each)
                if wall > after:
                    yield wall

    def agrees(self, wall: datetime) -> bool:
        """Whether all fields agree with this wall time (naive)."""
        return (
            wall.time() in self._time_set
            and wall.year in self.year_numbers
            and wall.month in self.month_numbers
            and wall.day in self.days.of(wall.year, wall.month)
        )

    @cached_property
    def _time_set(self) -> frozenset[time]:
        return frozenset(self.times)

    def _days(self, first: date) -> Iterator[date]:
        for year in self.year_numbers:
            if year < first.year:
                continue
            for month in self.month_numbers:
                if (year, month) < (first.year, first.month):
                    continue
                for day in self.days.of(year, month):
                    found = date(year, month, day)
                    if found >= first:
                        yield found
