"""A second opinion on cron: every minute of a window is looked at, and each field asked by itself.

Written from the specification and not from `fnqueue.schedule`: it parses nothing ahead, knows no order, and shares
no line with what it judges.
"""

from __future__ import annotations

import calendar
import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo

MINUTE = timedelta(minutes=1)
NAMES = {
    name: number
    for names, first in (("JAN FEB MAR APR MAY JUN JUL AUG SEP OCT NOV DEC", 1), ("SUN MON TUE WED THU FRI SAT", 1))
    for number, name in enumerate(names.split(), first)
}


@dataclass(frozen=True)
class Minute:
    instant: datetime
    wall: datetime
    first: bool  # not the repetition of a wall time


def window(zone: ZoneInfo, begin: datetime, end: datetime) -> list[Minute]:
    """All minutes of [begin, end), with what the clocks in `zone` show."""
    found, instant = [], begin
    while instant < end:
        shown = instant.astimezone(zone)
        found.append(Minute(instant, shown.replace(tzinfo=None, fold=0), shown.fold == 0))
        instant += MINUTE
    return found


def scan(expression: str, minutes: list[Minute]) -> list[datetime]:
    """The instants among `minutes` at which the expression fires."""
    fields = expression.removeprefix("cron(").removesuffix(")").split(" ")
    minute, hour, of_month, month, of_week, year = fields
    return [
        each.instant
        for each in minutes
        if each.first
        and agrees(minute, each.wall.minute, 0, 59)
        and agrees(hour, each.wall.hour, 0, 23)
        and day_agrees(of_month, month, of_week, year, each.wall.date())
    ]


@cache
def agrees(field: str, value: int, low: int, high: int) -> bool:
    return any(_part_agrees(part, value, low, high) for part in field.split(","))


def _part_agrees(part: str, value: int, low: int, high: int) -> bool:
    span, _, step = part.partition("/")
    begin, _, end = span.partition("-")
    first = low if begin == "*" else _number(begin)
    last = _number(end) if end else (high if begin == "*" or step else first)
    number, width = first, high - low + 1
    steps = (last - first) % width if end else last - first
    for _ in range(steps // int(step or 1) + 1):
        if (number - low) % width + low == value:
            return True
        number += int(step or 1)
    return False


def _number(text: str) -> int:
    return NAMES[text] if text in NAMES else int(text)


@cache
def day_agrees(of_month: str, month: str, of_week: str, year: str, day: date) -> bool:
    if not (agrees(month, day.month, 1, 12) and agrees(year, day.year, 1970, 2199)):
        return False
    return _week_agrees(of_week, day) if of_month == "?" else _month_agrees(of_month, day)


def _month_agrees(field: str, day: date) -> bool:
    last = calendar.monthrange(day.year, day.month)[1]
    if field == "L":
        return day.day == last
    if not field.endswith("W"):
        return agrees(field, day.day, 1, 31)
    wanted = last if field == "LW" else int(field[:-1])
    if wanted > last or day.weekday() > 4:
        return False
    working = [n for n in range(1, last + 1) if date(day.year, day.month, n).weekday() < 5]
    # The nearest; of a Saturday that is the day before, of a Sunday the day after, where the month has it.
    return day.day == min(working, key=lambda n: (abs(n - wanted), n))


def _week_agrees(field: str, day: date) -> bool:
    number = day.isoweekday() % 7 + 1
    if field == "L":
        return number == 7
    if "#" in field:
        wanted, _, nth = field.partition("#")
        return number == _number(wanted) and (day.day + 6) // 7 == int(nth)
    if field.endswith("L"):
        return number == _number(field[:-1]) and (day + timedelta(days=7)).month != day.month
    return agrees(field, number, 1, 7)


# ---------------------------------------------------------------- expressions to try


def drawn(seed: int, count: int) -> Iterator[str]:
    """Valid expressions of all sorts; hours near those at which clocks are changed are likelier."""
    chance = random.Random(seed)
    for _ in range(count):
        days = [_day_of_month(chance), "?"] if chance.random() < 0.5 else ["?", _day_of_week(chance)]
        month = "*" if chance.random() < 0.8 else _list(chance, 1, 12)
        year = "*" if chance.random() < 0.9 else chance.choice(["2020-2030", "2021/3", "2024,2031,2032"])
        hour = chance.choice(["*", "0-4", "1", "2", "0", "0/3", "22-2", _list(chance, 0, 23)])
        yield f"cron({_list(chance, 0, 59)} {hour} {days[0]} {month} {days[1]} {year})"


def _list(chance: random.Random, low: int, high: int) -> str:
    return ",".join(_span(chance, low, high) for _ in range(chance.choice([1, 1, 1, 2, 3])))


def _span(chance: random.Random, low: int, high: int) -> str:
    first, last = chance.randint(low, high), chance.randint(low, high)
    step = chance.randint(1, (high - low) // 2 + 1)
    return chance.choice([str(first), f"{first}-{last}", f"{first}/{step}", f"{first}-{last}/{step}", f"*/{step}", "*"])


def _day_of_month(chance: random.Random) -> str:
    return chance.choice(["*", "*", "L", "LW", f"{chance.randint(1, 31)}W", _list(chance, 1, 31)])


def _day_of_week(chance: random.Random) -> str:
    day = chance.choice(["SUN", "MON", "SAT", "1", "7", str(chance.randint(1, 7))])
    return chance.choice(
        ["*", day, f"{day}L", f"{day}#{chance.randint(1, 5)}", "L", "FRI-MON", "MON-FRI", _list(chance, 1, 7)]
    )


def transitions(zone: ZoneInfo, first_year: int, last_year: int) -> Iterator[datetime]:
    """The days (UTC midnights) on which the zone's offset changes."""
    day = datetime(first_year, 1, 1, tzinfo=UTC)
    offset = day.astimezone(zone).utcoffset()
    while day.year <= last_year:
        day += timedelta(days=1)
        now = day.astimezone(zone).utcoffset()
        if now != offset:
            offset = now
            yield day - timedelta(days=1)
