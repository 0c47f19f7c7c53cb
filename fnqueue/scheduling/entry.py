"""What is kept of a schedule besides what it says: which time comes next, and what became of the last one.

All of it is sealed as one. Times are kept as they are calculated, to the microsecond, so that they compare.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal

import msgspec

from fnqueue.schedule.due import due_at
from fnqueue.schedule.expression import Expression
from fnqueue.schedule.schedule import Schedule

_MOMENT: Final = timedelta(microseconds=1)


class Entry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`made_at`: when its times were said, or said otherwise; `rate()` counts from it. `next` None: it is over.

    `revision` grows with each change of what is said, also over a deletion: milliseconds of the change, or one more.
    `key`: the id of the key that ids of its calls are derived with. `resumed_at`: times before it were missed.
    """

    schedule: Schedule
    made_at: datetime
    next: datetime | None
    paused: bool = False
    last: datetime | None = None
    last_id: str = ""
    revision: int = 0
    key: str = ""
    resumed_at: datetime | None = None

    @classmethod
    def made(cls, schedule: Schedule, now: datetime, *, key: str = "") -> Entry:
        """Its first time is the first from now on."""
        made_at = now.replace(microsecond=0)
        entry = cls(schedule=schedule, made_at=made_at, next=None, revision=_revision(now), key=key)
        return entry.changed(next=first_time(entry.expression(), made_at - _MOMENT))

    def changed(self, **fields: object) -> Entry:
        return msgspec.structs.replace(self, **fields)

    def said(self, schedule: Schedule, now: datetime) -> Entry:
        """What it says is replaced. A pause stays a pause; when its times are the same as before, none is lost and
        none comes twice."""
        if schedule == self.schedule:
            return self
        revision = max(self.revision + 1, _revision(now))
        if _times(schedule) == _times(self.schedule):
            return self.changed(schedule=schedule, revision=revision)
        made = Entry.made(schedule, now, key=self.key)
        return made.changed(paused=self.paused, last=self.last, last_id=self.last_id, revision=revision)

    def expression(self) -> Expression:
        return self.schedule.parsed(self.made_at)

    @property
    def due(self) -> float | None:
        """When it must be looked at, unix seconds; None: it rests."""
        if self.paused or self.next is None:
            return None
        return due_at(self.schedule, self.next).timestamp()

    def to_json(self) -> bytes:
        return msgspec.json.encode(self)


def _revision(now: datetime) -> int:
    return int(now.timestamp() * 1000)


def _times(schedule: Schedule) -> tuple[object, ...]:
    return (schedule.expression, schedule.timezone, schedule.start, schedule.end)


_decode = msgspec.json.Decoder(Entry).decode


def read_entry(data: bytes) -> Entry | None:
    """None: a later version of fnqueue wrote it otherwise."""
    try:
        return _decode(data)
    except (ValueError, RecursionError):
        return None


def first_time(expression: Expression, after: datetime) -> datetime | None:
    return next(expression.after(after), None)


@dataclass(frozen=True, kw_only=True)
class Scheduled:
    """One schedule as it is now. `state`: ENABLED, PAUSED, or DONE, with no time to come. Times are aware, UTC."""

    name: str
    task: str
    expression: str
    timezone: str
    description: str
    state: Literal["ENABLED", "PAUSED", "DONE"]
    next_at: datetime | None
    last_at: datetime | None
    last_id: str | None
    schedule: Schedule

    def upcoming(self, count: int, after: datetime) -> list[datetime]:
        """The next `count` times, paused or not; for a flexible window the nominal ones."""
        times = self._expression().after(after)
        return [time for _, time in zip(range(count), times, strict=False)]

    def _expression(self) -> Expression:
        return self.schedule.parsed(self.next_at or self.last_at)


def to_scheduled(entry: Entry) -> Scheduled:
    schedule = entry.schedule
    return Scheduled(
        name=schedule.name,
        task=schedule.task,
        expression=schedule.expression,
        timezone=schedule.timezone,
        description=entry.expression().describe(),
        state="PAUSED" if entry.paused else "DONE" if entry.next is None else "ENABLED",
        next_at=entry.next,
        last_at=entry.last,
        last_id=entry.last_id or None,
        schedule=schedule,
    )
