"""Groups of schedules and their tags. The group `default` is always there [S2].

A group is deleted in trips: until the last of its schedules is gone its state is DELETING and nothing in it can be
changed [S15]. It is a state of the file, so a server that was killed goes on with it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import msgspec

from fnqueue.database import Connection
from fnqueue.schedule.service import rows
from fnqueue.schedule.service.members import Tag
from fnqueue.schedule.service.names import CONFLICT, DEFAULT_GROUP, Place, refuse, refuse_missing_group

_SELECT: Final = "SELECT name, state, created_at, changed_at, tags FROM scheduler_group WHERE place = ?"
_GOING: Final = "SELECT place, name FROM scheduler_group WHERE state = 'DELETING' LIMIT 1"
_TRIP: Final = 500
_DELETING: Final = "DELETING"

_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(dict[str, str]).decode


class Group(NamedTuple):
    place: Place
    name: str
    state: str
    created_at: float
    changed_at: float
    tags: dict[str, str]

    @property
    def arn(self) -> str:
        return self.place.group_arn(self.name)


def existing(connection: Connection, place: Place, name: str, now: float) -> Group:
    """Raises BrokerRefused."""
    found = _find(connection, place, name)
    if found is None and name == DEFAULT_GROUP:
        make(connection, place, name, {}, now)
        found = _find(connection, place, name)
    if found is None:
        refuse_missing_group(name)
    return found


def changeable(connection: Connection, place: Place, name: str, now: float) -> Group:
    """One whose schedules may be changed. Raises BrokerRefused."""
    found = existing(connection, place, name, now)
    if found.state == _DELETING:
        refuse(f"Schedule group {name} is being deleted.", CONFLICT)
    return found


def create(connection: Connection, place: Place, name: str, tags: Sequence[Tag], now: float) -> None:
    if name == DEFAULT_GROUP or _find(connection, place, name) is not None:
        refuse(f"Schedule group {name} already exists.", CONFLICT)
    make(connection, place, name, _texts(tags), now)


def make(connection: Connection, place: Place, name: str, tags: Mapping[str, str], now: float) -> None:
    values = (place.full, name, "ACTIVE", now, now, _encode(tags).decode())
    connection.execute("INSERT INTO scheduler_group VALUES (?, ?, ?, ?, ?, ?)", values)


def count(connection: Connection, place: Place) -> int:
    (found,) = connection.execute("SELECT count(*) FROM scheduler_group WHERE place = ?", (place.full,)).fetchone()
    return int(found)


def page(connection: Connection, place: Place, prefix: str, after: str, count: int) -> list[Group]:
    values = (place.full, after, prefix, f"{prefix}\U0010ffff", count)
    where = "AND name > ? AND name >= ? AND name < ? ORDER BY name LIMIT ?"
    return [_group(place, row) for row in connection.execute(f"{_SELECT} {where}", values)]


def begin_delete(connection: Connection, place: Place, name: str, now: float) -> None:
    if name == DEFAULT_GROUP:
        refuse("The default schedule group cannot be deleted.")
    changeable(connection, place, name, now)
    connection.execute(
        "UPDATE scheduler_group SET state = ?, changed_at = ? WHERE place = ? AND name = ?",
        (_DELETING, now, place.full, name),
    )


def delete_some(connection: Connection) -> bool:
    """One trip of a deletion that is under way; whether there is more to do."""
    found = connection.execute(_GOING).fetchone()
    if found is None:
        return False
    place, name = found
    numbers = rows.of_group(connection, place, name, _TRIP)
    for number in numbers:
        rows.remove(connection, number)
    if len(numbers) < _TRIP:
        connection.execute("DELETE FROM scheduler_group WHERE place = ? AND name = ?", (place, name))
    return True


def change_tags(
    connection: Connection, place: Place, name: str, add: Sequence[Tag], remove: Sequence[str], now: float
) -> None:
    tags = changeable(connection, place, name, now).tags
    after = {key: value for key, value in {**tags, **_texts(add)}.items() if key not in remove}
    connection.execute(
        "UPDATE scheduler_group SET tags = ? WHERE place = ? AND name = ?", (_encode(after).decode(), place.full, name)
    )


def _texts(tags: Sequence[Tag]) -> dict[str, str]:
    return {tag.key or "": tag.value or "" for tag in tags}


def _find(connection: Connection, place: Place, name: str) -> Group | None:
    row = connection.execute(f"{_SELECT} AND name = ?", (place.full, name)).fetchone()
    return None if row is None else _group(place, row)


def _group(place: Place, row: tuple[str, str, float, float, str]) -> Group:
    name, state, created_at, changed_at, tags = row
    return Group(place, name, state, created_at, changed_at, _decode(tags))
