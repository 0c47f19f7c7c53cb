"""AWS JSON 1.0: the operation in a header, members as JSON, errors with two names.

Rows P1 to P10 and E1 to E7 of the specification sheet. Knows no operation.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from fnqueue.emulator.http import Headers, Request
from fnqueue.emulator.members import Members
from fnqueue.emulator.operations import OPERATIONS
from fnqueue.emulator.refusals import Refusal

_CONTENT_TYPE = (b"content-type", b"application/x-amz-json-1.0")
_READERS: Final = {
    f"AmazonSQS.{name}".encode(): (name, msgspec.json.Decoder(members).decode)
    for name, (members, _) in OPERATIONS.items()
}
_encode = msgspec.json.Encoder().encode


def speaks(request: Request) -> bool:
    return b"x-amz-target" in request.headers


def read(request: Request) -> tuple[str, Members] | Refusal:
    """The operation and its members, of one that `speaks`."""
    found = _READERS.get(request.headers[b"x-amz-target"])
    if found is None:
        target = request.header(b"x-amz-target")
        return Refusal("UnknownOperationException", f"The operation {target[:200]} is not known.")  # P11
    operation, read = found
    try:
        return operation, read(request.body or b"{}")
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        return Refusal("SerializationException", f"The request is not what {operation} takes: {error}")


def answered(operation: str, answer: dict[str, Any] | None, request_id: str) -> tuple[bytes, Headers]:
    return b"" if answer is None else _encode(answer), (_CONTENT_TYPE, _id(request_id))


def refused(refusal: Refusal, request_id: str) -> tuple[bytes, Headers]:
    """Both names are mandatory: programs look at either (E3, E4)."""
    text = refusal.text.encode(errors="backslashreplace").decode()
    body = _encode({"__type": refusal.type, "message": text})
    query_error = (b"x-amzn-query-error", f"{refusal.code};{refusal.fault}".encode())
    return body, [_CONTENT_TYPE, _id(request_id), query_error]


def _id(request_id: str) -> tuple[bytes, bytes]:
    return b"x-amzn-requestid", request_id.encode()
