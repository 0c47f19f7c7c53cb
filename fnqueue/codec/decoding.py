"""Values in: from JSON's built-in types to what the sender had, under the same limits.

Knows the table of tags and nothing else: no class is looked up by a name from the wire, and a tag that is
not in the table is refused. What an annotation asks for beyond that is in `annotations`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fnqueue.codec.encoding import step
from fnqueue.codec.secret import Secret
from fnqueue.codec.tags import (
    AS_IS,
    INTEGER_LIMIT,
    LEAF_FAULTS,
    LEAVES_IN,
    LONG,
    Unfit,
    Walk,
    all_plain,
    check_float,
    check_integer,
)

_AS_IS = AS_IS | {str}
_INTEGER_LOW = -INTEGER_LIMIT


def decode(value: Any, walk: Walk, depth: int = 0) -> Any:
    """The value with its tags resolved, in new containers. Raises Unfit."""
    kind = type(value)
    if kind is dict:
        if len(value) == 1:
            (key,) = value
            if key[:1] == "$":
                return _tagged(key, value[key], walk, depth)
        return _dict(value, walk, depth)
    if kind is list:
        return _items(value, walk, depth)
    if kind is int:
        check_integer(value)
    elif kind is float:
        check_float(value)
    return value


def _items(values: list[Any], walk: Walk, depth: int) -> list[Any]:
    walk.enter(len(values), depth)
    if len(values) >= LONG and all_plain(values):
        return values.copy()
    out: list[Any] = []
    for value in values:
        kind = type(value)
        if kind in _AS_IS or (kind is int and _INTEGER_LOW < value < INTEGER_LIMIT):
            out.append(value)
            continue
        try:
            out.append(decode(value, walk, depth + 1))
        except Unfit as unfit:
            unfit.path.append(f"[{len(out)}]")
            raise
    return out


def _dict(values: dict[str, Any], walk: Walk, depth: int) -> dict[str, Any]:
    walk.enter(len(values), depth)
    out: dict[str, Any] = {}
    for key, value in values.items():
        kind = type(value)
        if kind in _AS_IS or (kind is int and _INTEGER_LOW < value < INTEGER_LIMIT):
            out[key] = value
            continue
        try:
            out[key] = decode(value, walk, depth + 1)
        except Unfit as unfit:
            unfit.path.append(step(key))
            raise
    return out


def _tagged(tag: str, value: Any, walk: Walk, depth: int) -> Any:
    leaf = LEAVES_IN.get(tag)
    if leaf is not None:
        try:
            return leaf(value)
        except LEAF_FAULTS:
            raise Unfit(f"is tagged {tag} and is none") from None
    if tag == "$dict" and type(value) is dict:
        return _dict(value, walk, depth)
    if tag == "$secret":
        return Secret(decode(value.get_secret_value() if type(value) is Secret else value, walk, depth))
    holder = _HOLDERS.get(tag)
    if holder is None or type(value) is not list:
        raise Unfit("is tagged with what this version does not know")
    try:
        return holder(_items(value, walk, depth))
    except TypeError:  # a list in a set
        raise Unfit(f"is tagged {tag} and holds what no set can hold") from None


_HOLDERS: dict[str, Callable[[list[Any]], Any]] = {"$tuple": tuple, "$set": set, "$frozenset": frozenset}
