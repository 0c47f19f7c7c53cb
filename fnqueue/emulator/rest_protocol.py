"""REST-JSON: the operation in method and path, members in path, query and body, errors named by a header.

Sections 1 and W1 to W13 of EventBridge Scheduler's specification sheet. Paths are read as they were sent: the name in
`/tags/{arn}` has a slash, which comes percent-encoded [W8]. Knows no rule.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qs, unquote

import msgspec

from fnqueue.emulator.http import Headers, Request
from fnqueue.schedule.service import members as m

_TYPE: Final = (b"content-type", b"application/json")
_FIELDS_MAX: Final = 300
_encode: Final = msgspec.json.Encoder().encode

#: shape -> status. What is not here is a 400.
_STATUS: Final = {
    "ResourceNotFoundException": 404,
    "ConflictException": 409,
    "ServiceQuotaExceededException": 402,
    "ThrottlingException": 429,
    "AccessDeniedException": 403,
    "UnknownOperationException": 404,
    "InternalServerException": 500,
    "ServiceUnavailableException": 503,
}


class Problem(Exception):
    """The request is not read."""

    def __init__(self, shape: str, text: str) -> None:
        super().__init__(text)
        self.shape, self.text = shape, text


class Route(NamedTuple):
    """`named`: the member that the path ends with. `query`: parameter -> member; others are not looked at."""

    operation: str
    members: type[m.Members]
    named: str | None = None
    query: Mapping[str, str] = MappingProxyType({})
    has_body: bool = False


_PAGE: Final = {name: name for name in ("NamePrefix", "MaxResults", "NextToken")}
_SCHEDULES: Final = {"ScheduleGroup": "GroupName", "State": "State", **_PAGE}  # [W5]
_TOKEN: Final = {"clientToken": "ClientToken"}
_GROUP: Final = {"groupName": "GroupName"}
#: (method, first part of the path, whether there is more of it)
ROUTES: Final[dict[tuple[str, str, bool], Route]] = {
    ("POST", "schedules", True): Route("CreateSchedule", m.PutSchedule, "Name", has_body=True),
    ("PUT", "schedules", True): Route("UpdateSchedule", m.PutSchedule, "Name", has_body=True),
    ("GET", "schedules", True): Route("GetSchedule", m.OfSchedule, "Name", _GROUP),
    ("DELETE", "schedules", True): Route("DeleteSchedule", m.OfSchedule, "Name", {**_GROUP, **_TOKEN}),
    ("GET", "schedules", False): Route("ListSchedules", m.ListSchedules, None, _SCHEDULES),
    ("POST", "schedule-groups", True): Route("CreateScheduleGroup", m.CreateScheduleGroup, "Name", has_body=True),
    ("GET", "schedule-groups", True): Route("GetScheduleGroup", m.OfScheduleGroup, "Name"),
    ("DELETE", "schedule-groups", True): Route("DeleteScheduleGroup", m.OfScheduleGroup, "Name", _TOKEN),
    ("GET", "schedule-groups", False): Route("ListScheduleGroups", m.ListScheduleGroups, None, _PAGE),
    ("GET", "tags", True): Route("ListTagsForResource", m.OfResource, "ResourceArn"),
    ("POST", "tags", True): Route("TagResource", m.TagResource, "ResourceArn", has_body=True),
    ("DELETE", "tags", True): Route("UntagResource", m.UntagResource, "ResourceArn", {"TagKeys": "TagKeys"}),
}
_PLACES: Final = frozenset(f"/{first}" for _, first, _ in ROUTES)
_LISTS: Final = frozenset({"TagKeys"})


def is_path(path: str) -> bool:
    """Whether a request that says of no service whose it is can be meant."""
    return path in _PLACES or path.startswith(tuple(f"{place}/" for place in _PLACES))


def read(request: Request) -> tuple[str, m.Members]:
    """The operation and its members. Raises Problem."""
    raw = request.raw_path.decode("latin-1") or request.path
    first, more, rest = raw.lstrip("/").partition("/")
    route = ROUTES.get((request.method, first, bool(more)))
    if route is None:
        text = f"{request.method} {raw[:200]} is no operation of EventBridge Scheduler."
        raise Problem("UnknownOperationException", text)
    try:
        members = _members(route, request)
        if route.named is not None:
            _set(members, route.named, unquote(rest, errors="strict"))
    except (msgspec.MsgspecError, UnicodeError, RecursionError, ValueError) as error:
        raise Problem("SerializationException", f"The request is not what {route.operation} takes: {error}") from None
    return route.operation, members


def _members(route: Route, request: Request) -> m.Members:
    if route.has_body:
        return msgspec.json.decode(request.body or b"{}", type=route.members)
    given = parse_qs(
        request.query, keep_blank_values=True, errors="strict", max_num_fields=_FIELDS_MAX, encoding="utf-8"
    )
    asked: dict[str, Any] = {}
    for name, values in given.items():
        if name in route.query:
            asked[route.query[name]] = values if name in _LISTS else values[-1]
    return msgspec.convert(asked, type=route.members, strict=False)


def _set(members: m.Members, name: str, value: str) -> None:
    """The path's member; one of that name in the body is none of AWS's."""
    for field in msgspec.structs.fields(members):
        if field.encode_name == name:
            setattr(members, field.name, value)


def answered(answer: dict[str, Any], request_id: str) -> tuple[bytes, Headers]:
    return _encode(answer), [_TYPE, _id(request_id)]


def refused(shape: str, text: str, request_id: str) -> tuple[int, bytes, Headers]:
    """Both names, as AWS has them [W13]."""
    body = _encode({"Message": text.encode(errors="backslashreplace").decode()})
    headers = [_TYPE, _id(request_id), (b"x-amzn-errortype", shape.encode())]
    return _STATUS.get(shape, 400), body, headers


def _id(request_id: str) -> tuple[bytes, bytes]:
    return b"x-amzn-requestid", request_id.encode()
