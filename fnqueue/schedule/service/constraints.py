"""What AWS's model asks of each member: lengths, patterns, ranges, words, and what must be there.

A struct says them in its annotations, `Annotated[str | None, Text(1, 64)]`, and `check` looks through a whole request
and names every fault at once, in the words that all of AWS's services have. Types are the decoder's.
Knows no member.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from typing import Annotated, Any, Final, NamedTuple, get_args, get_origin

import msgspec

from fnqueue.schedule.service.names import refuse

_SHOWN_MAX: Final = 1000
_FAULTS_MAX: Final = 10


class Text:
    """`low` to `high` characters, all of it of `pattern`."""

    def __init__(self, low: int, high: int | None = None, pattern: str | None = None) -> None:
        self._low, self._high, self._pattern = low, high, pattern
        self._matches = re.compile(pattern, re.ASCII).fullmatch if pattern else None

    def faults(self, value: str) -> Iterator[str]:
        if self._high is not None and len(value) > self._high:
            yield f"Member must have length less than or equal to {self._high}"
        if len(value) < self._low:
            yield f"Member must have length greater than or equal to {self._low}"
        if self._matches is not None and not self._matches(value[: (self._high or _SHOWN_MAX) + 1]):
            yield f"Member must satisfy regular expression pattern: {self._pattern}"


class Number:
    def __init__(self, low: int, high: int) -> None:
        self._low, self._high = low, high

    def faults(self, value: float) -> Iterator[str]:
        if value > self._high:
            yield f"Member must have value less than or equal to {self._high}"
        if value < self._low:
            yield f"Member must have value greater than or equal to {self._low}"


class OneOf:
    def __init__(self, *words: str) -> None:
        self._words = words

    def faults(self, value: str) -> Iterator[str]:
        if value not in self._words:
            yield f"Member must satisfy enum value set: [{', '.join(self._words)}]"


class Many:
    """Of a list or a map: how many, and what each is (of a map: each key and each value)."""

    def __init__(self, low: int, high: int, each: Text | None = None, value: Text | None = None) -> None:
        self._low, self._high, self.each, self.value = low, high, each, value

    def faults(self, value: Any) -> Iterator[str]:
        if len(value) > self._high:
            yield f"Member must have length less than or equal to {self._high}"
        if len(value) < self._low:
            yield f"Member must have length greater than or equal to {self._low}"


class Required:
    """The member must be there."""


class _Member(NamedTuple):
    name: str
    shown: str
    rules: tuple[Any, ...]
    required: bool


def check(request: msgspec.Struct) -> None:
    """Raises BrokerRefused, ValidationException."""
    found: list[str] = []
    for fault in _faults(request, ""):
        found.append(fault)
        if len(found) == _FAULTS_MAX:
            break
    if found:
        begin = "1 validation error" if len(found) == 1 else f"{len(found)} validation errors"
        refuse(f"{begin} detected: {'; '.join(found)}")


def _faults(struct: msgspec.Struct, path: str) -> Iterator[str]:
    for member in _members(type(struct)):
        value = getattr(struct, member.name)
        where = path + member.shown
        if value is None:
            if member.required:
                yield f"Value null at '{where}' failed to satisfy constraint: Member must not be null"
            continue
        for rule in member.rules:
            yield from _said(where, value, rule)
        yield from _inside(value, where)


def _said(where: str, value: Any, rule: Any) -> Iterator[str]:
    for fault in rule.faults(value):
        yield f"Value '{_shown(value)}' at '{where}' failed to satisfy constraint: {fault}"
    if isinstance(rule, Many) and isinstance(value, list) and rule.each is not None:
        for number, each in enumerate(value, 1):
            yield from _said(f"{where}.{number}.member", each, rule.each)
    if isinstance(rule, Many) and isinstance(value, dict):
        for key, each in value.items():
            if rule.each is not None:
                yield from _said(f"{where}.key", key, rule.each)
            if rule.value is not None:
                yield from _said(f"{where}.value", each, rule.value)


def _inside(value: Any, where: str) -> Iterator[str]:
    if isinstance(value, msgspec.Struct):
        yield from _faults(value, f"{where}.")
    elif isinstance(value, list):
        for number, each in enumerate(value, 1):
            yield from _inside(each, f"{where}.{number}.member")


def _shown(value: Any) -> str:
    if isinstance(value, str):
        return value if len(value) <= _SHOWN_MAX else f"{value[:_SHOWN_MAX]}..."
    return str(value) if isinstance(value, int | float) else f"of {len(value)}"


@functools.cache
def _members(struct: type[msgspec.Struct]) -> tuple[_Member, ...]:
    found = []
    for field in msgspec.structs.fields(struct):
        rules = get_args(field.type)[1:] if get_origin(field.type) is Annotated else ()
        name = field.encode_name
        shown = name[:1].lower() + name[1:]
        kept = tuple(rule for rule in rules if rule is not Required)
        found.append(_Member(field.name, shown, kept, Required in rules))
    return tuple(found)
