"""How values that JSON does not know look in it.

A tag is an object with exactly one key, which begins with "$":

    {"$datetime": "2026-11-01T09:00:00+01:00[Europe/Berlin]"}     the zone only where it is a ZoneInfo
    {"$date": "2026-11-01"}   {"$time": "09:00:00"}   {"$timedelta": 1500000}         microseconds
    {"$decimal": "19.90"}     {"$uuid": "..."}        {"$bytes": "base64"}
    {"$tuple": [...]}         {"$set": [...]}         {"$frozenset": [...]}       {"$secret": ...}
    {"$dict": {"$date": 1}}   an object of the user's that looks like a tag

So a user's object can never be taken for a tag, and a tag that is not in this table is refused. This file
holds the leaves; what holds other values is in `encoding` and `decoding`.
Knows nothing of tasks, paths or annotations.
"""

from __future__ import annotations

import math
from binascii import a2b_base64, b2a_base64
from collections.abc import Callable
from datetime import date, datetime, time, timedelta, tzinfo
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec

from fnqueue import quotas

INTEGER_LIMIT = 1 << quotas.ARGUMENT_INTEGER_BITS_MAX  # of the absolute value, itself excluded
AS_IS = frozenset({bool, type(None)})
LONG = 8  # from here on a list is worth a look at all its types at once
_MICROSECOND = timedelta(microseconds=1)
_ZONE_CHARS_MAX = 64


class Unfit(Exception):
    """A value that may not travel, or may not arrive. `path` is filled from the inside out while it rises.

    `about_type`: it could be read, and is not what the annotation asks for.
    """

    def __init__(self, reason: str, *, about_type: bool = False) -> None:
        super().__init__(reason)
        self.reason, self.about_type = reason, about_type
        self.path: list[str] = []


def path_text(start: str, unfit: Unfit) -> str:
    """`args[0].lines[3]`. A very deep one (a list in itself) shows how it begins."""
    path = start + "".join(reversed(unfit.path))
    return path if len(path) <= 120 else f"{path[:60]}..."


# ---------------------------------------------------------------- out


# The base class's own method, so that a subclass (a frozen clock's, say) writes what we read.
def _datetime_out(value: datetime) -> str:
    return f"{datetime.isoformat(value)}{_zone_out(value.tzinfo)}"


def _time_out(value: time) -> str:
    return f"{time.isoformat(value)}{_zone_out(value.tzinfo)}"


def _zone_out(zone: tzinfo | None) -> str:
    """`[Europe/Berlin]`, so that adding a day to it at the worker still crosses summer time rightly."""
    if zone is None or type(zone).__name__ != "ZoneInfo":
        return ""
    key = getattr(zone, "key", None)
    return f"[{key}]" if isinstance(key, str) and len(key) <= _ZONE_CHARS_MAX else ""


def _decimal_out(value: Decimal) -> str:
    if not value.is_finite():
        raise Unfit("is a Decimal that is no finite number: pass None, or leave it out")
    return str(value)


#: Exact type -> (tag, text). In the order in which base classes are looked for: datetime is a date.
LEAVES_OUT: dict[type, tuple[str, Callable[[Any], Any]]] = {
    datetime: ("$datetime", _datetime_out),
    date: ("$date", date.isoformat),
    time: ("$time", _time_out),
    timedelta: ("$timedelta", lambda value: value // _MICROSECOND),
    Decimal: ("$decimal", _decimal_out),
    UUID: ("$uuid", str),
    bytes: ("$bytes", lambda value: b2a_base64(value, newline=False).decode()),
}


# ---------------------------------------------------------------- in


def _text(value: Any) -> str:
    if type(value) is not str:
        raise ValueError("not text")
    return value


def _datetime_in(value: Any) -> datetime:
    text = _text(value)
    if text[-1:] != "]":
        return datetime.fromisoformat(text)
    stamp, _, key = text[:-1].partition("[")
    return _in_zone(datetime.fromisoformat(stamp), _zone(key))


def _time_in(value: Any) -> time:
    text = _text(value)
    if text[-1:] != "]":
        return time.fromisoformat(text)
    stamp, _, key = text[:-1].partition("[")
    return time.fromisoformat(stamp).replace(tzinfo=_zone(key))


def _zone(key: str) -> tzinfo:
    from zoneinfo import ZoneInfo  # 10 ms of import, for those who use zones

    if len(key) > _ZONE_CHARS_MAX:
        raise ValueError("not a zone")
    return ZoneInfo(key)  # refuses what leaves the folder of zones


def _in_zone(value: datetime, zone: tzinfo) -> datetime:
    """The same clock face where this machine's rules agree with the offset that came, else the same instant."""
    for fold in (0, 1):
        there = value.replace(tzinfo=zone, fold=fold)
        if there.utcoffset() == value.utcoffset():
            return there
    return value.astimezone(zone)


def _timedelta_in(value: Any) -> timedelta:
    if type(value) is not int:
        raise ValueError("not microseconds")
    return timedelta(microseconds=value)


def _decimal_in(value: Any) -> Decimal:
    number = Decimal(_text(value))
    if not number.is_finite():
        raise ValueError("not finite")
    return number


LEAVES_IN: dict[str, Callable[[Any], Any]] = {
    "$datetime": _datetime_in,
    "$date": lambda value: date.fromisoformat(_text(value)),
    "$time": _time_in,
    "$timedelta": _timedelta_in,
    "$decimal": _decimal_in,
    "$uuid": lambda value: msgspec.convert(_text(value), UUID),
    "$bytes": lambda value: a2b_base64(_text(value), strict_mode=True),
}

#: What a leaf's reader may raise for text that is not its own. KeyError: a zone that is unknown here.
LEAF_FAULTS = (ValueError, TypeError, ArithmeticError, KeyError, OSError, msgspec.ValidationError)


def check_integer(value: int) -> None:
    if not -INTEGER_LIMIT < value < INTEGER_LIMIT:
        raise Unfit(f"is an integer of {value.bit_length()} bits, and the limit is {quotas.ARGUMENT_INTEGER_BITS_MAX}")


def check_float(value: float) -> None:
    if not math.isfinite(value):
        raise Unfit("is NaN or Infinity, which JSON has no word for: pass None, or leave it out")


def all_plain(values: Any) -> bool:
    """Whether these are all small integers, or all ASCII: told in C, for long lists of keys or names."""
    kinds = set(map(type, values))
    if kinds == {int}:
        return bool(min(values) > -INTEGER_LIMIT and max(values) < INTEGER_LIMIT)
    return kinds == {str} and all(map(str.isascii, values))


class Walk:
    """What one call has used of its limits, and what its annotations allow. One per call, never shared."""

    nodes = 0
    nodes_max = quotas.ARGUMENT_NODES_MAX
    #: Classes that the annotation names: their instances travel as their fields.
    named: frozenset[type] = frozenset()
    #: Whether a Secret may travel: in calls, which are sealed and end.
    secrets = False
    #: Whether one did.
    used_named = False
    #: Whether what was written must be decoded to be what it was.
    tagged = False

    def enter(self, count: int, depth: int) -> None:
        """A container of `count` values stands inside `depth` others."""
        if depth >= quotas.ARGUMENT_DEPTH_MAX:
            raise Unfit(f"is nested deeper than {quotas.ARGUMENT_DEPTH_MAX}, or contains itself")
        self.nodes += count
        if self.nodes > self.nodes_max:
            raise Unfit(
                f"brings the call to more than {self.nodes_max:,} values: "
                "store the data and pass its key, or defer several calls"
            )
