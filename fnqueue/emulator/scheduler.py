"""EventBridge Scheduler's operations: members in, the service's verbs, an answer out. All rules are the service's.

Knows no path and no header.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Awaitable, Callable
from typing import Any, Final, NamedTuple

import msgspec

from fnqueue.clock import to_datetime
from fnqueue.emulator import rest_protocol
from fnqueue.emulator.desk import Desk
from fnqueue.emulator.http import Gone, Request, Send, answer
from fnqueue.emulator.ticker import Ticker
from fnqueue.errors import BrokerRefused, DatabaseBusy
from fnqueue.schedule.service import Place, ScheduleService
from fnqueue.schedule.service import members as m
from fnqueue.schedule.service.groups import Group
from fnqueue.schedule.service.rows import Row

_log = logging.getLogger("fnqueue.emulator")
_RETRY: Final = m.RetryPolicy(age=86_400, attempts=185)

Answer = dict[str, Any]


class Call(NamedTuple):
    desk: Desk
    service: ScheduleService
    place: Place


class Scheduler:
    """The service under the name that AWS signs with. `place_of`: who asks."""

    def __init__(
        self, desk: Desk, service: ScheduleService, ticker: Ticker, place_of: Callable[[Request], Place]
    ) -> None:
        self._desk, self._service, self._ticker, self._place_of = desk, service, ticker, place_of

    async def __call__(self, request: Request, gone: Gone, send: Send) -> None:
        request_id = str(uuid.uuid4())
        try:
            operation, members = rest_protocol.read(request)
            done = await OPERATIONS[operation](Call(self._desk, self._service, self._place_of(request)), members)
        except Exception as error:
            await answer(send, *rest_protocol.refused(*_problem(request, error), request_id))
            return
        if request.method != "GET":
            self._ticker.look()
        await answer(send, 200, *rest_protocol.answered(done, request_id))

    async def everywhere(self) -> list[Answer]:
        return [_overview(row) for row in await self._desk.do(self._service.everywhere)]


def _problem(request: Request, error: Exception) -> tuple[str, str]:
    if isinstance(error, rest_protocol.Problem):
        return error.shape, error.text
    if isinstance(error, BrokerRefused):
        return error.code, error.text
    if isinstance(error, DatabaseBusy):
        return "ServiceUnavailableException", str(error)
    _log.error("%s %s failed", request.method, request.path[:200], exc_info=error)
    return "InternalServerException", "The emulator failed; its log says where. Please report it."


# ------------------------------------------------------------------ schedules


async def create_schedule(call: Call, asked: m.PutSchedule) -> Answer:
    return {"ScheduleArn": await call.desk.do(lambda: call.service.create(call.place, asked))}


async def update_schedule(call: Call, asked: m.PutSchedule) -> Answer:
    return {"ScheduleArn": await call.desk.do(lambda: call.service.update(call.place, asked))}


async def get_schedule(call: Call, asked: m.OfSchedule) -> Answer:
    return _schedule(await call.desk.do(lambda: call.service.get(call.place, asked)))


async def delete_schedule(call: Call, asked: m.OfSchedule) -> Answer:
    await call.desk.do(lambda: call.service.delete(call.place, asked))
    return {}


async def list_schedules(call: Call, asked: m.ListSchedules) -> Answer:
    page = await call.desk.do(lambda: call.service.page(call.place, asked))
    return _page("Schedules", [_summary(row) for row in page.found if isinstance(row, Row)], page.token)


def _schedule(row: Row) -> Answer:
    """With the defaults of what was left out [S12]."""
    schedule = row.schedule
    shown = {
        **_named(row),
        "ScheduleExpression": schedule.schedule_expression,
        "ScheduleExpressionTimezone": schedule.schedule_expression_timezone or "UTC",
        "StartDate": schedule.start_date,
        "EndDate": schedule.end_date,
        "Description": schedule.description,
        "KmsKeyArn": schedule.kms_key_arn,
        "ActionAfterCompletion": schedule.action_after_completion or "NONE",
        "FlexibleTimeWindow": schedule.flexible_time_window,
        "Target": _target(schedule.target or m.Target()),
    }
    return {name: value for name, value in shown.items() if value is not None}


def _target(target: m.Target) -> m.Target:
    given = target.retry_policy or m.RetryPolicy()
    policy = m.RetryPolicy(
        age=_RETRY.age if given.age is None else given.age,
        attempts=_RETRY.attempts if given.attempts is None else given.attempts,
    )
    return msgspec.structs.replace(target, retry_policy=policy)


def _summary(row: Row) -> Answer:
    """S13"""
    target = row.schedule.target
    return {**_named(row), "Target": {"Arn": target.arn if target else None}}


def _named(row: Row) -> Answer:
    return {
        "Arn": row.arn,
        "GroupName": row.group,
        "Name": row.name,
        "State": row.state,
        "CreationDate": row.created_at,
        "LastModificationDate": row.changed_at,
    }


def _overview(row: Row) -> Answer:
    return {
        "region": row.place.region,
        "account": row.place.account,
        "group": row.group,
        "name": row.name,
        "state": row.state,
        "expression": row.schedule.schedule_expression,
        "timezone": row.schedule.schedule_expression_timezone or "UTC",
        "target": row.schedule.target.arn if row.schedule.target else None,
        "last": None if row.last_time is None else to_datetime(row.last_time),
        "next": None if row.next_time is None else to_datetime(row.next_time),
    }


# ------------------------------------------------------------------ groups and tags


async def create_schedule_group(call: Call, asked: m.CreateScheduleGroup) -> Answer:
    return {"ScheduleGroupArn": await call.desk.do(lambda: call.service.create_group(call.place, asked))}


async def get_schedule_group(call: Call, asked: m.OfScheduleGroup) -> Answer:
    return _group(await call.desk.do(lambda: call.service.get_group(call.place, asked)))


async def delete_schedule_group(call: Call, asked: m.OfScheduleGroup) -> Answer:
    """Answers when all is gone: who makes it anew at once is not refused."""
    await call.desk.do(lambda: call.service.begin_delete_group(call.place, asked))
    while await call.desk.do(call.service.delete_some):
        pass
    return {}


async def list_schedule_groups(call: Call, asked: m.ListScheduleGroups) -> Answer:
    page = await call.desk.do(lambda: call.service.group_page(call.place, asked))
    return _page("ScheduleGroups", [_group(each) for each in page.found if isinstance(each, Group)], page.token)


def _group(group: Group) -> Answer:
    return {
        "Arn": group.arn,
        "Name": group.name,
        "State": group.state,
        "CreationDate": group.created_at,
        "LastModificationDate": group.changed_at,
    }


async def list_tags(call: Call, asked: m.OfResource) -> Answer:
    tags = await call.desk.do(lambda: call.service.tags(asked))
    return {"Tags": [{"Key": key, "Value": value} for key, value in tags.items()]}


async def tag_resource(call: Call, asked: m.TagResource) -> Answer:
    await call.desk.do(lambda: call.service.tag(asked))
    return {}


async def untag_resource(call: Call, asked: m.UntagResource) -> Answer:
    await call.desk.do(lambda: call.service.untag(asked))
    return {}


def _page(name: str, found: list[Answer], token: str | None) -> Answer:
    return {name: found} if token is None else {name: found, "NextToken": token}


OPERATIONS: Final[dict[str, Callable[[Call, Any], Awaitable[Answer]]]] = {
    "CreateSchedule": create_schedule,
    "CreateScheduleGroup": create_schedule_group,
    "DeleteSchedule": delete_schedule,
    "DeleteScheduleGroup": delete_schedule_group,
    "GetSchedule": get_schedule,
    "GetScheduleGroup": get_schedule_group,
    "ListScheduleGroups": list_schedule_groups,
    "ListSchedules": list_schedules,
    "ListTagsForResource": list_tags,
    "TagResource": tag_resource,
    "UntagResource": untag_resource,
    "UpdateSchedule": update_schedule,
}
