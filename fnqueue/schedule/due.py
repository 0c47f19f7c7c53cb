"""Which times of a schedule are to fire now, and which one comes next.

Counted from the next time that was not dealt with, never from now: a tick that is late loses nothing. What is more
than GRACE_SECONDS late was missed, and the schedule's misfire policy decides.
Pure: knows no clock and no store.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from fnqueue.schedule.expression import Expression
from fnqueue.schedule.schedule import Schedule

#: EventBridge fires within the minute, and so do we.
GRACE_SECONDS: Final = 60.0
#: EventBridge fires within the minute, and its message takes a moment.
ELSEWHERE_GRACE_SECONDS: Final = 120.0
MOST: Final = 100
_MOMENT: Final = timedelta(microseconds=1)


class Due(NamedTuple):
    """`times`: to fire, in order. `missed`: the first time that is given up, if any is. `next`: None, it is over."""

    times: tuple[datetime, ...]
    missed: datetime | None
    next: datetime | None


def due_at(schedule: Schedule, time: datetime) -> datetime:
    """When the fire of `time` is to happen: in its flexible window always at the same moment, whoever asks."""
    if not schedule.flexible_minutes:
        return time
    digest = hashlib.sha256(f"{schedule.name} {time.isoformat()}".encode()).digest()
    seconds = int.from_bytes(digest[:8], "big") % (schedule.flexible_minutes * 60)
    return time + timedelta(seconds=seconds)


def decide(schedule: Schedule, expression: Expression, *, since: datetime, now: datetime, most: int = MOST) -> Due:
    """`since`: the next time that was not dealt with yet, itself included. `most`: so many at once."""
    grace, within = timedelta(seconds=GRACE_SECONDS), timedelta(seconds=schedule.misfire_within_seconds)
    window = timedelta(minutes=schedule.flexible_minutes)
    oldest = now - window - (grace if schedule.misfire == "skip" else max(within, grace))
    first = max(since, oldest)
    missed = since if first > since and expression.is_occurrence(since) else None
    late: list[datetime] = []
    on_time: list[datetime] = []
    following: datetime | None = None
    for time in _from(expression, first):
        if due_at(schedule, time) > now:
            following = time
            break
        # Within its window nothing is late: it may have waited for one before it whose own moment came after.
        if time + window >= now - grace:
            on_time.append(time)
        elif schedule.misfire != "skip" and time + window >= now - within:
            late.append(time)
        else:
            missed = missed or time
        if schedule.misfire == "catch_up" and len(late) + len(on_time) == most:
            following = next(_from(expression, time + _MOMENT), None)
            break
    chosen, given_up = _chosen(schedule, late, on_time)
    return Due(tuple(chosen), missed or given_up, following)


def is_let_through(schedule: Schedule, expression: Expression, *, time: datetime, sent: datetime) -> bool:
    """Whether the fire of `time` that another scheduler `sent` then is one that the misfire policy lets through.

    As in `decide`, but for one time alone: of times that come late, `run_once` lets through the one that no other
    followed by then.
    """
    if sent <= time + timedelta(minutes=schedule.flexible_minutes, seconds=ELSEWHERE_GRACE_SECONDS):
        return True
    if schedule.misfire == "skip" or sent > latest(schedule, time):
        return False
    following = next(expression.after(time), None)
    return schedule.misfire == "catch_up" or following is None or following > sent


def latest(schedule: Schedule, time: datetime) -> datetime:
    """Until when a fire of `time` may come and be let through, whoever sends it."""
    within = 0.0 if schedule.misfire == "skip" else schedule.misfire_within_seconds
    return time + timedelta(minutes=schedule.flexible_minutes, seconds=max(within, ELSEWHERE_GRACE_SECONDS))


def _chosen(
    schedule: Schedule, late: list[datetime], on_time: list[datetime]
) -> tuple[list[datetime], datetime | None]:
    if schedule.misfire == "catch_up":
        return late + on_time, None
    if on_time or not late:
        return on_time, late[0] if late else None
    return late[-1:], late[0] if len(late) > 1 else None


def _from(expression: Expression, first: datetime) -> Iterator[datetime]:
    return expression.after(first - _MOMENT)
