"""The old query protocol: members as form fields with dotted names, answers as XML (X1 to X10 of the sheet)."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from fnqueue.emulator.http import Headers, Request
from fnqueue.emulator.members import ANSWER_LISTS, LISTS, MAPS, Members
from fnqueue.emulator.operations import OPERATIONS
from fnqueue.emulator.refusals import Refusal

_NAMESPACE = "http://queue.amazonaws.com/doc/2012-11-05/"
_FIELDS_MAX = 4000
_PARTS_MAX = 8
_OF_THE_ENDPOINT = {"CreateQueue", "ListQueues"}
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

Tree = dict[str, Any]


def read(request: Request) -> tuple[str, Members] | Refusal | None:
    """The operation and its members; None: there is no Action."""
    try:
        fields = _fields(request)
    except ValueError as error:
        return Refusal("MalformedQueryString", f"The request is malformed: {error}")
    action = fields.pop("Action", None)
    if action is None:
        return None
    on_queue = request.path.strip("/") != ""
    if action not in OPERATIONS or (on_queue and action in _OF_THE_ENDPOINT):  # X2
        return Refusal("InvalidAction", f"The action {action[:200]} is not valid for this endpoint.")
    if on_queue:
        fields.setdefault("QueueUrl", request.path)  # X1
    members, _ = OPERATIONS[action]
    try:
        return action, msgspec.convert(_members(action, _tree(fields)), members, strict=False)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        return Refusal("InvalidParameterValueException", f"A parameter cannot be read: {error}")


def _fields(request: Request) -> dict[str, str]:
    """Of query and body. Raises ValueError, also for bytes that are no UTF-8."""
    options: dict[str, Any] = {"keep_blank_values": True, "max_num_fields": _FIELDS_MAX, "errors": "strict"}
    fields = dict(parse_qsl(request.query, **options))
    if request.method == "POST" and request.body:
        fields.update(parse_qsl(request.body.decode(), **options))
    return fields


def _tree(fields: dict[str, str]) -> Tree:
    """`A.1.B=c` as {"A": {"1": {"B": "c"}}}. Raises ValueError for a name that is both a leaf and a branch."""
    tree: Tree = {}
    for name, value in fields.items():
        parts = name.split(".")
        if len(parts) > _PARTS_MAX:
            raise ValueError(f"too many parts in {name[:100]}")
        branch = tree
        for part in parts[:-1]:
            branch = branch.setdefault(part, {})
            if not isinstance(branch, dict):
                raise ValueError(f"{name[:100]} is given twice")
        if parts[-1] in branch:
            raise ValueError(f"{name[:100]} is given twice")
        branch[parts[-1]] = value
    return tree


def _members(action: str, tree: Tree) -> Tree:
    """By the members' names of the JSON protocol."""
    found: Tree = {name: value for name, value in tree.items() if isinstance(value, str)}
    for member, wire in LISTS.items():
        if wire in tree:
            found[member] = list(_numbered(tree[wire]))
    for member, (wire, key, value) in MAPS.items():
        if wire in tree:
            found[member] = {one[key]: one[value] for one in _numbered(tree[wire]) if _has(one, key, value)}
    entry = f"{action}RequestEntry"
    if entry in tree:
        found["Entries"] = [_members(action, one) for one in _numbered(tree[entry]) if isinstance(one, dict)]
    return found


def _numbered(branch: Any) -> Iterator[Any]:
    """The values of 1, 2, 3, in their order. Raises ValueError."""
    if not isinstance(branch, dict) or not all(key.isascii() and key.isdecimal() for key in branch):
        raise ValueError("a list's members are numbered from 1")
    for key in sorted(branch, key=lambda key: (len(key.lstrip("0")), key.lstrip("0"))):
        yield branch[key]


def _has(one: Any, key: str, value: str) -> bool:
    if not isinstance(one, dict) or value not in one or not isinstance(one.get(key), str):
        raise ValueError(f"a member needs {key} and {value}, and {key} is a text")
    return True


# ------------------------------------------------------------------ answers


def answered(action: str, answer: dict[str, Any] | None, request_id: str) -> tuple[bytes, Headers]:
    result = ""
    if answer is not None:  # X9
        inside = "".join(_elements(action, answer))
        result = f"<{action}Result>{inside}</{action}Result>" if inside else f"<{action}Result/>"
    meta = f"<ResponseMetadata><RequestId>{request_id}</RequestId></ResponseMetadata>"
    return _document(f'<{action}Response xmlns="{_NAMESPACE}">{result}{meta}</{action}Response>', request_id)


def refused(refusal: Refusal, request_id: str) -> tuple[bytes, Headers]:  # X10
    error = (
        f"<Error><Type>{refusal.fault}</Type><Code>{_text(refusal.code)}</Code>"
        f"<Message>{_text(refusal.old_text)}</Message><Detail/></Error>"
    )
    document = f'<ErrorResponse xmlns="{_NAMESPACE}">{error}<RequestId>{request_id}</RequestId></ErrorResponse>'
    return _document(document, request_id)


def _elements(action: str, answer: dict[str, Any]) -> Iterator[str]:
    for name, value in answer.items():
        if name in MAPS and isinstance(value, dict):
            element, key, of = MAPS[name]
            for one, its in value.items():
                inside = "".join(_elements(action, its)) if isinstance(its, dict) else _text(its)
                yield f"<{element}><{key}>{_text(one)}</{key}><{of}>{inside}</{of}></{element}>"
        elif isinstance(value, list):
            element = f"{action}ResultEntry" if name == "Successful" else ANSWER_LISTS[name]
            for one in value:
                inside = "".join(_elements(action, one)) if isinstance(one, dict) else _text(one)
                yield f"<{element}>{inside}</{element}>"
        else:
            yield f"<{name}>{_text(value)}</{name}>"


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, bool):
        return "true" if value else "false"
    text = _NOT_XML.sub("\ufffd", str(value))
    # A reader of XML takes a bare carriage return for a line feed.
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("\r", "&#xD;")


def _document(inside: str, request_id: str) -> tuple[bytes, Headers]:
    headers = [(b"content-type", b"text/xml"), (b"x-amzn-requestid", request_id.encode())]
    return f'<?xml version="1.0"?>{inside}'.encode(), headers
