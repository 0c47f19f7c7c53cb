"""ScheduleService: what EventBridge Scheduler does, operation by operation, with its rules and its refusals.

Each verb is one transaction, or joins its caller's. Refusals are BrokerRefused, whose code is the name of the API's
error (`ConflictException`). Nothing fires by itself: somebody calls `tick`, and again at the moment that it names.
Knows no protocol.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, TypeVar

import msgspec

from fnqueue.broker.embedded.service import QueueService
from fnqueue.clock import Clock
from fnqueue.database import Connection, Database
from fnqueue.schedule.service import constraints, groups, requests, rows, schema, times, tokens
from fnqueue.schedule.service import members as m
from fnqueue.schedule.service.firing import Firing, Resumed, Ticked
from fnqueue.schedule.service.groups import Group
from fnqueue.schedule.service.names import (
    CONFLICT,
    DEFAULT_GROUP,
    QUOTA,
    Place,
    of_group_arn,
    refuse,
    refuse_missing_group,
    refuse_missing_schedule,
)
from fnqueue.schedule.service.rows import Next, Row

T = TypeVar("T")

_PAGE: Final = 100
_GROUPS_MAX: Final = 500


class Page(NamedTuple):
    """`token`: for the next one; None: this is the last."""

    found: Sequence[Row | Group]
    token: str | None


class ScheduleService:
    """On `database`, which its maker closes, and in which `queues` lie. `strict`: also quotas."""

    def __init__(self, database: Database, queues: QueueService, *, clock: Clock, strict: bool = False) -> None:
        self._database, self._clock, self._strict = database, clock, strict
        database.migrate(schema.COMPONENT, schema.STEPS)
        self._firing = Firing(database, queues, clock)

    def resume(self, after: tuple[float, int] = (0.0, 0)) -> Resumed:
        """Before the first tick, until it names no next trip: skips what nobody was there for. Raises DatabaseError."""
        return self._firing.resume(after)

    def tick(self) -> Ticked:
        """Fire what is due, some of it; call again at `due_at`. Raises DatabaseError."""
        return self._firing.tick()

    # ------------------------------------------------------------------ schedules

    def create(self, place: Place, asked: m.PutSchedule) -> str:
        """Its ARN."""

        def work(connection: Connection, now: float, group: str, name: str) -> str:
            if rows.find(connection, place, group, name) is not None:
                refuse(f"Schedule {name} already exists.", CONFLICT)
            schedule = requests.checked(place, asked, now, before=None)
            rows.put(connection, place, group, name, schedule, now, _next(place, asked, schedule, now, None))
            return place.schedule_arn(group, name)

        return self._put("create", place, asked, work)

    def update(self, place: Place, asked: m.PutSchedule) -> str:
        """As a whole: what is left out has its default again [W2]."""

        def work(connection: Connection, now: float, group: str, name: str) -> str:
            row = rows.find(connection, place, group, name) or refuse_missing_schedule(name)
            schedule = requests.checked(place, asked, now, before=row.schedule)
            rows.change(connection, row, schedule, now, _next(place, asked, schedule, now, row))
            return row.arn

        return self._put("update", place, asked, work)

    def _put(
        self,
        operation: str,
        place: Place,
        asked: m.PutSchedule,
        work: Callable[[Connection, float, str, str], str],
    ) -> str:
        def do(connection: Connection) -> str:
            now, group, name = self._clock.now(), asked.group_name or DEFAULT_GROUP, asked.name or ""

            def once() -> str:
                groups.changeable(connection, place, group, now)
                return work(connection, now, group, name)

            return tokens.once(connection, place, operation, asked, now, once)

        constraints.check(asked)
        return self._database.write(do)

    def get(self, place: Place, asked: m.OfSchedule) -> Row:
        def work(connection: Connection) -> Row:
            group, name = asked.group_name or DEFAULT_GROUP, asked.name or ""
            groups.existing(connection, place, group, self._clock.now())
            return rows.find(connection, place, group, name) or refuse_missing_schedule(name)

        constraints.check(asked)
        return self._database.write(work)

    def delete(self, place: Place, asked: m.OfSchedule) -> None:
        """What is on its way to be tried again goes with it."""

        def work(connection: Connection) -> str:
            now, group, name = self._clock.now(), asked.group_name or DEFAULT_GROUP, asked.name or ""

            def once() -> str:
                groups.changeable(connection, place, group, now)
                row = rows.find(connection, place, group, name) or refuse_missing_schedule(name)
                rows.remove(connection, row.id)
                return ""

            return tokens.once(connection, place, "delete", asked, now, once)

        constraints.check(asked)
        self._database.write(work)

    def page(self, place: Place, asked: m.ListSchedules) -> Page:
        """By group and name."""

        def work(connection: Connection) -> list[Row]:
            if asked.group_name is not None:
                groups.existing(connection, place, asked.group_name, self._clock.now())
            return rows.page(
                connection,
                place,
                group=asked.group_name,
                prefix=asked.name_prefix or "",
                state=asked.state,
                after=after,
                count=count + 1,
            )

        constraints.check(asked)
        after, count = _read_token(asked.next_token), asked.max_results or _PAGE
        found = self._database.write(work)
        last = found[count - 1] if len(found) > count else None
        return Page(found[:count], None if last is None else _token(last.group, last.name))

    # ------------------------------------------------------------------ groups

    def create_group(self, place: Place, asked: m.CreateScheduleGroup) -> str:
        """Its ARN."""

        def work(connection: Connection) -> str:
            now, name = self._clock.now(), asked.name or ""

            def once() -> str:
                if self._strict and groups.count(connection, place) >= _GROUPS_MAX:
                    refuse(f"There are {_GROUPS_MAX} schedule groups already.", QUOTA)
                groups.create(connection, place, name, asked.tags or [], now)
                return place.group_arn(name)

            return tokens.once(connection, place, "create group", asked, now, once)

        constraints.check(asked)
        return self._database.write(work)

    def get_group(self, place: Place, asked: m.OfScheduleGroup) -> Group:
        constraints.check(asked)
        return self._database.write(
            lambda connection: groups.existing(connection, place, asked.name or "", self._clock.now())
        )

    def begin_delete_group(self, place: Place, asked: m.OfScheduleGroup) -> None:
        def work(connection: Connection) -> str:
            now, name = self._clock.now(), asked.name or ""

            def once() -> str:
                groups.begin_delete(connection, place, name, now)
                return ""

            return tokens.once(connection, place, "delete group", asked, now, once)

        constraints.check(asked)
        self._database.write(work)

    def delete_some(self) -> bool:
        """One trip of the deletions of groups that are under way; whether there is one."""
        return self._database.write(groups.delete_some)

    def group_page(self, place: Place, asked: m.ListScheduleGroups) -> Page:
        def work(connection: Connection) -> list[Group]:
            groups.existing(connection, place, DEFAULT_GROUP, self._clock.now())
            return groups.page(connection, place, asked.name_prefix or "", after, count + 1)

        constraints.check(asked)
        (after, _), count = _read_token(asked.next_token), asked.max_results or _PAGE
        found = self._database.write(work)
        return Page(found[:count], _token(found[count - 1].name, "") if len(found) > count else None)

    # ------------------------------------------------------------------ tags

    def tags(self, asked: m.OfResource) -> dict[str, str]:
        def work(connection: Connection) -> dict[str, str]:
            return groups.existing(connection, *_resource(asked), self._clock.now()).tags

        constraints.check(asked)
        return self._database.write(work)

    def tag(self, asked: m.TagResource) -> None:
        constraints.check(asked)
        self._change_tags(asked, asked.tags or [], [])

    def untag(self, asked: m.UntagResource) -> None:
        constraints.check(asked)
        self._change_tags(asked, [], asked.tag_keys or [])

    def _change_tags(self, asked: m.OfResource, add: Sequence[m.Tag], remove: Sequence[str]) -> None:
        self._database.write(
            lambda connection: groups.change_tags(connection, *_resource(asked), add, remove, self._clock.now())
        )

    # ------------------------------------------------------------------ for those who look after it

    def everywhere(self) -> list[Row]:
        return self._database.read(rows.everywhere)


def _next(place: Place, asked: m.PutSchedule, schedule: m.Schedule, now: float, row: Row | None) -> Next:
    pending = row.next_time if row is not None and row.due_at is not None and row.due_at <= now else None
    plain = times.expression_of(schedule)
    anchor = times.anchor_of(plain, now, made=row is None or pending is not None)
    if times.is_counted(schedule) and schedule.end_date is not None and anchor > schedule.end_date:
        return Next(anchor, None, None)
    expression = times.expression_of(schedule, anchor)
    last = None if row is None else row.last_time
    time = times.first(schedule, expression, now, pending=pending, last=last)
    arn = place.schedule_arn(asked.group_name or DEFAULT_GROUP, asked.name or "")
    return Next(anchor, time, None if time is None else times.due_at(arn, schedule, time))


def _resource(asked: m.OfResource) -> tuple[Place, str]:
    found = of_group_arn(asked.resource_arn or "")
    return found or refuse_missing_group(asked.resource_arn or "")


def _token(*after: str) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode(after)).decode()


def _read_token(token: str | None) -> tuple[str, str]:
    if token is None:
        return "", ""
    try:
        return msgspec.json.decode(base64.b64decode(token, b"-_", validate=True), type=tuple[str, str])
    except (msgspec.MsgspecError, UnicodeError, ValueError):
        refuse("Invalid NextToken provided.")
