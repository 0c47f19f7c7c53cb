"""The rows of schedules, and the retries of what they sent. SQL only: knows nothing of what a definition means."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

import msgspec

from fnqueue.database import Connection
from fnqueue.schedule.service.members import Schedule
from fnqueue.schedule.service.names import Place, of_full

_COLUMNS: Final = (
    "id, place, group_name, name, state, created_at, changed_at, anchor, last_time, next_time, due_at, definition"
)
_SELECT: Final = f"SELECT {_COLUMNS} FROM scheduler_schedule"  # noqa: S608
_FIND: Final = f"{_SELECT} WHERE place = ? AND group_name = ? AND name = ?"
_PUT: Final = """
    INSERT INTO scheduler_schedule
        (place, group_name, name, state, created_at, changed_at, anchor, next_time, due_at, definition)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_CHANGE: Final = """
    UPDATE scheduler_schedule
    SET state = ?, changed_at = ?, anchor = ?, next_time = ?, due_at = ?, definition = ? WHERE id = ?
"""
#: What is to be done next: a schedule that fires (0) or an invocation that is tried again (1).
_EARLIEST: Final = """
    SELECT * FROM (
        SELECT due_at, 0 AS kind, id FROM scheduler_schedule WHERE due_at IS NOT NULL ORDER BY due_at, id LIMIT 1
    ) UNION ALL SELECT * FROM (
        SELECT due_at, 1 AS kind, id FROM scheduler_retry ORDER BY due_at, id LIMIT 1
    ) ORDER BY due_at, kind DESC LIMIT 1
"""
_WAITING: Final = """
    SELECT 1 FROM scheduler_retry WHERE schedule = ?
    UNION ALL SELECT 1 FROM scheduler_schedule WHERE id = ? AND due_at IS NOT NULL LIMIT 1
"""
_PAST_ALL: Final = "\U0010ffff"

_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(Schedule).decode


class Row(NamedTuple):
    """A schedule as it lies in the file."""

    id: int
    place: Place
    group: str
    name: str
    state: str
    created_at: float
    changed_at: float
    anchor: int
    last_time: float | None
    next_time: float | None
    due_at: float | None
    schedule: Schedule

    @property
    def arn(self) -> str:
        return self.place.schedule_arn(self.group, self.name)


class Next(NamedTuple):
    """When a schedule fires next: the anchor of a rate, the nominal time and the moment."""

    anchor: int
    time: float | None
    due_at: float | None


class Earliest(NamedTuple):
    due_at: float
    is_retry: bool
    id: int


# ------------------------------------------------------------------ schedules


def find(connection: Connection, place: Place, group: str, name: str) -> Row | None:
    return _row(connection.execute(_FIND, (place.full, group, name)).fetchone())


def find_id(connection: Connection, number: int) -> Row | None:
    return _row(connection.execute(f"{_SELECT} WHERE id = ?", (number,)).fetchone())


def put(
    connection: Connection, place: Place, group: str, name: str, schedule: Schedule, now: float, coming: Next
) -> None:
    values = (place.full, group, name, _state(schedule), now, now, *coming, _text(schedule))
    connection.execute(_PUT, values)


def change(connection: Connection, row: Row, schedule: Schedule, now: float, coming: Next) -> None:
    connection.execute(_CHANGE, (_state(schedule), now, *coming, _text(schedule), row.id))


def fired(connection: Connection, row: Row, time: float | None, due_at: float | None) -> None:
    connection.execute(
        "UPDATE scheduler_schedule SET last_time = next_time, next_time = ?, due_at = ? WHERE id = ?",
        (time, due_at, row.id),
    )


def skip(connection: Connection, row: Row, time: float | None, due_at: float | None) -> None:
    connection.execute("UPDATE scheduler_schedule SET next_time = ?, due_at = ? WHERE id = ?", (time, due_at, row.id))


def remove(connection: Connection, number: int) -> None:
    connection.execute("DELETE FROM scheduler_schedule WHERE id = ?", (number,))
    connection.execute("DELETE FROM scheduler_retry WHERE schedule = ?", (number,))


def page(
    connection: Connection,
    place: Place,
    *,
    group: str | None,
    prefix: str,
    state: str | None,
    after: tuple[str, str],
    count: int,
) -> list[Row]:
    """By group and name, those after `after`."""
    if group is None:
        where, values = "place = ? AND (group_name, name) > (?, ?)", [place.full, *after]
    else:  # the index is read within the group only
        where, values = "place = ? AND group_name = ? AND name > ?", [place.full, group, _after_in(group, after)]
    if prefix:
        where, values = f"{where} AND name >= ? AND name < ?", [*values, prefix, f"{prefix}{_PAST_ALL}"]
    if state is not None:
        where, values = f"{where} AND state = ?", [*values, state]
    found = connection.execute(f"{_SELECT} WHERE {where} ORDER BY group_name, name LIMIT ?", (*values, count))
    return list(_rows(found))


def _after_in(group: str, after: tuple[str, str]) -> str:
    if after[0] == group:
        return after[1]
    return "" if after[0] < group else _PAST_ALL


def of_group(connection: Connection, place: str, group: str, count: int) -> list[int]:
    found = connection.execute(
        "SELECT id FROM scheduler_schedule WHERE place = ? AND group_name = ? LIMIT ?", (place, group, count)
    )
    return [number for (number,) in found]


def overdue(connection: Connection, before: float, after: tuple[float, int], count: int) -> list[Row]:
    """By moment, those after `after` (a moment and an id)."""
    where = "due_at IS NOT NULL AND due_at < ? AND (due_at, id) > (?, ?)"
    return list(
        _rows(connection.execute(f"{_SELECT} WHERE {where} ORDER BY due_at, id LIMIT ?", (before, *after, count)))
    )


def everywhere(connection: Connection) -> list[Row]:
    return list(_rows(connection.execute(f"{_SELECT} ORDER BY place, group_name, name")))


def earliest(connection: Connection) -> Earliest | None:
    row = connection.execute(_EARLIEST).fetchone()
    return None if row is None else Earliest(row[0], bool(row[1]), row[2])


def _rows(found: object) -> Iterator[Row]:
    for each in found:  # type: ignore[attr-defined]
        row = _row(each)
        assert row is not None
        yield row


def _row(found: tuple[object, ...] | None) -> Row | None:
    if found is None:
        return None
    number, place, *rest, definition = found
    return Row(number, of_full(str(place)), *rest, _decode(str(definition)))  # type: ignore[call-arg,arg-type]


def _state(schedule: Schedule) -> str:
    return schedule.state or "ENABLED"


def _text(schedule: Schedule) -> str:
    return _encode(schedule).decode()


# ------------------------------------------------------------------ retries


def put_retry(connection: Connection, schedule: int, due_at: float, invocation: bytes) -> None:
    connection.execute(
        "INSERT INTO scheduler_retry (schedule, due_at, invocation) VALUES (?, ?, ?)",
        (schedule, due_at, invocation.decode()),
    )


def take_retry(connection: Connection, number: int) -> tuple[int, str]:
    """The schedule's number, and the invocation. It is gone."""
    found = connection.execute("SELECT schedule, invocation FROM scheduler_retry WHERE id = ?", (number,)).fetchone()
    connection.execute("DELETE FROM scheduler_retry WHERE id = ?", (number,))
    return found[0], found[1]


def is_waiting(connection: Connection, schedule: int) -> bool:
    """Whether it has something to do yet: to try again, or to fire, if it was changed while that was tried."""
    return connection.execute(_WAITING, (schedule, schedule)).fetchone() is not None
