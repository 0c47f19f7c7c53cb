"""How much the arguments of a call may hold: 32 levels, 10,000 values, integers of 256 bits, finite floats.

Checked when a call is sealed, so that no worker meets what it would refuse, and again when it is opened,
before anything is made of them. The codec's tags, objects with one name that begins with "$", are part of
the value they stand for, and are no level and no value of their own.
The walk is for the rare big ones: JSON that is too short or too flat to break a limit is not walked.
Knows nothing of envelopes or tasks.
"""

from __future__ import annotations

import math
import re
from typing import Any, Final

from fnqueue.quotas import ARGUMENT_DEPTH_MAX, ARGUMENT_INTEGER_BITS_MAX, ARGUMENT_NODES_MAX

_LONG_NUMBER: Final = len(str(2**ARGUMENT_INTEGER_BITS_MAX))
#: A value has a comma, perhaps a bracket, perhaps a tag around it; and the principal may have many roles.
_MARKS_MAX: Final = 5 * ARGUMENT_NODES_MAX
#: Possessive, or it would remember each backslash: of a text with many lines twenty times its size.
_strings: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL).finditer
#: Digits become 1 and all else 0, and what is looked for is a text: a pattern takes twenty times as long.
_DIGITS: Final = bytes(b"1"[0] if b"0"[0] <= byte <= b"9"[0] else b"0"[0] for byte in range(256))
_LONG_RUN: Final = b"1" * _LONG_NUMBER
#: All bytes but those that limits are about: containers, commas and digits.
_OTHERS: Final = bytes(set(range(256)).difference(b"[{,0123456789"))
_LARGE: Final = 1 << 16


class TooMuch(ValueError):
    """A limit is passed. The text says which, and no value."""


def check_before(encoded: bytes) -> None:
    """What can be told of JSON before anything is made of it: else a message of 1 MiB becomes twenty in memory.

    Far more marks than the limits leave room for are too many values, and where there are fewer `check` tells.
    Raises TooMuch.
    """
    if len(encoded) <= _MARKS_MAX or (marks := _marks(encoded)) <= _MARKS_MAX:
        return
    if marks - sum(_marks(encoded, *text.span()) for text in _strings(encoded)) > _MARKS_MAX:
        raise TooMuch(f"more than {ARGUMENT_NODES_MAX:,} values")


def _marks(encoded: bytes, start: int = 0, end: int | None = None) -> int:
    return encoded.count(b",", start, end) + encoded.count(b"[", start, end) + encoded.count(b"{", start, end)


def check(encoded: bytes, *values: Any, sending: bool = False) -> None:
    """Raises TooMuch if the `values` (the containers of the arguments) together pass a limit.

    `encoded`: the JSON that holds them all. `sending`: the JSON was made of the values, and not the other
    way round, so that a `null` in it may have been a number that is not finite.
    """
    if not _is_plainly_small(encoded) or (sending and b"null" in encoded):
        _walk(list(values))


def _is_plainly_small(encoded: bytes) -> bool:
    if len(encoded) > _LARGE:
        return _is_plain_though_large(encoded)
    marks = encoded.translate(None, _OTHERS)
    if len(marks) <= ARGUMENT_DEPTH_MAX:
        return True
    containers, commas = marks.count(b"[") + marks.count(b"{"), marks.count(b",")
    if containers > ARGUMENT_DEPTH_MAX or containers + commas >= ARGUMENT_NODES_MAX:
        return False
    return len(marks) - containers - commas < _LONG_NUMBER or not _has_long_number(encoded)


def _has_long_number(encoded: bytes) -> bool:
    """Whether as many digits stand together as the largest integer has. A long text is not copied whole."""
    pieces = (encoded[at : at + _LARGE] for at in range(0, len(encoded), _LARGE - _LONG_NUMBER))
    return any(_LONG_RUN in piece.translate(_DIGITS) for piece in pieces)


def _is_plain_though_large(encoded: bytes) -> bool:
    """The same, only counted: what `translate` makes may be as large again."""
    containers = encoded.count(b"[") + encoded.count(b"{")
    if containers > ARGUMENT_DEPTH_MAX or containers + encoded.count(b",") >= ARGUMENT_NODES_MAX:
        return False
    return not _has_long_number(encoded)


def _walk(containers: list[Any]) -> None:
    """Level by level: the arguments, what is in them, what is in that. The arguments themselves are counted apart."""
    level, _ = _below(containers)
    nodes = -len(level)
    if len(level) > ARGUMENT_NODES_MAX:
        raise TooMuch(f"more than {ARGUMENT_NODES_MAX:,} of them")
    for depth in range(1, ARGUMENT_DEPTH_MAX + 2):
        nodes += len(level)
        if nodes > ARGUMENT_NODES_MAX:
            raise TooMuch(f"more than {ARGUMENT_NODES_MAX:,} values")
        level, held = _below(level)
        if held and depth > ARGUMENT_DEPTH_MAX:
            raise TooMuch(f"containers nested more than {ARGUMENT_DEPTH_MAX} deep")


def _below(level: list[Any]) -> tuple[list[Any], int]:
    """The values in the containers of a level, and how many containers it has."""
    below: list[Any] = []
    containers = 0
    for value in level:
        inner = _untagged(value)
        if isinstance(inner, dict):
            below.extend(inner.values())
        elif isinstance(inner, list | tuple):
            below.extend(inner)
        else:
            _check_number(inner)
            continue
        containers += 1
    return below, containers


def _untagged(value: Any) -> Any:
    if type(value) is dict and len(value) == 1:
        ((name, inner),) = value.items()
        if isinstance(name, str) and name[:1] == "$":
            return inner
    return value


def _check_number(value: Any) -> None:
    if isinstance(value, float) and not math.isfinite(value):
        raise TooMuch("a number that is not finite")
    if isinstance(value, int) and value.bit_length() > ARGUMENT_INTEGER_BITS_MAX:
        raise TooMuch(f"an integer of more than {ARGUMENT_INTEGER_BITS_MAX} bits")
