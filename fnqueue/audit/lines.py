"""The text of the audit: lines of JSON, each bound to the one before it, each with a MAC.

    {"n":7,"at":"2026-01-01T12:00:00.000Z","what":"denied",...,"prev":"<SHA-256>","key":"abcdefgh","mac":"..."}

The lines of one process are one chain, numbered from 1, over one file or several: `<chain>.0001.jsonl`. Each file
begins with a line that names the chain and the file's number, so that none can stand for another. The MAC covers
everything before it, the chain's name and the environment.
Pure: knows no file, no clock and no key.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

NAME: Final = re.compile(r"(?P<chain>\d{8}T\d{6}Z-[a-z0-9.-]{1,40}-\d{1,10}-[a-z0-9]{8})\.(?P<file>\d{4,6})\.jsonl")
#: What a line has besides what it tells.
OWN: Final = ("n", "at", "what", "prev", "key", "mac")
BEGIN: Final = "begin"
TEXT_CHARS_MAX: Final = 1000
LIST_MAX: Final = 100
_MAC: Final = re.compile(r',"mac":"([A-Za-z0-9_-]{43})"\}')


@dataclass(frozen=True, slots=True)
class Line:
    """One that could be read. `signed`: what its MAC is over. `digest`: what the next line names."""

    n: int
    at: str
    what: str
    prev: str
    key: str
    mac: str
    signed: bytes
    digest: str
    told: Mapping[str, Any]


def text_of(n: int, at: str, what: str, told: Mapping[str, Any], *, prev: str, key: str) -> bytes:
    """A line without its MAC and its end."""
    fields = {"n": n, "at": at, "what": what, **_fit(told), "prev": prev, "key": key}
    return json.dumps(fields, separators=(",", ":"), allow_nan=False).encode("ascii")[:-1]


def finished(text: bytes, mac: str) -> bytes:
    return text + b',"mac":"' + mac.encode("ascii") + b'"}'


def digest(line: bytes) -> str:
    return sha256(line).hexdigest()


def read(line: bytes) -> Line | None:
    """None: that is no line of an audit."""
    try:
        fields = json.loads(line.decode("ascii"))
        mac = _MAC.search(line.decode("ascii"), max(0, len(line) - 64))
    except (ValueError, RecursionError):
        return None
    if not isinstance(fields, dict) or mac is None or mac.end() != len(line):
        return None
    own = [fields.get(name) for name in OWN]
    if type(own[0]) is not int or not all(isinstance(each, str) for each in own[1:]):
        return None
    n, at, what, prev, key, _ = own
    told = {name: value for name, value in fields.items() if name not in OWN}
    return Line(n, at, what, prev, key, mac[1], line[: mac.start()], digest(line), told)  # type: ignore[arg-type]


def _fit(told: Mapping[str, Any]) -> dict[str, Any]:
    """Plain and short, and never under a name that is the line's own."""
    return {name: _plain(value) for name, value in told.items() if value is not None and name not in OWN}


def _plain(value: Any) -> Any:
    if isinstance(value, bool | int | float):
        return value
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value[:LIST_MAX]]
    return str(value)[:TEXT_CHARS_MAX]
