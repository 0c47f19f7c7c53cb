"""Values out: from what a caller has to what JSON can say, without changing any type silently.

One walk by exact types, so that plain arguments pay for a few comparisons. What is not plain is, in this
order: a tagged value; a proxy (lazy text, SimpleLazyObject, LocalProxy), which is unwrapped; a class that
the annotation names, which travels as its fields; a subclass of a plain value, which travels as that
(SafeString as str); else refused, with what to do instead. The limits are those of the receiver.
Knows no task and no annotation, only the classes that the annotation names.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Any

import msgspec

from fnqueue.codec.proxies import unwrap
from fnqueue.codec.refusals import is_foreign_scalar, refusal
from fnqueue.codec.secret import Secret, reveal
from fnqueue.codec.shapes import fields_of
from fnqueue.codec.tags import (
    AS_IS,
    INTEGER_LIMIT,
    LEAVES_OUT,
    LONG,
    Unfit,
    Walk,
    all_plain,
    check_float,
    check_integer,
)

_INTEGER_LOW = -INTEGER_LIMIT
_sort_key = msgspec.json.Encoder(enc_hook=reveal).encode


def encode(value: Any, walk: Walk, depth: int = 0) -> Any:
    """The value as str, int, float, bool, None, list and dict, in new containers. Raises Unfit."""
    kind = type(value)
    if kind is str:
        return value if value.isascii() else _text(value)
    if kind is bool or value is None:
        return value
    if kind is int:
        check_integer(value)
        return value
    if kind is float:
        check_float(value)
        return value
    if kind is dict:
        return _dict(value, walk, depth)
    if kind is list:
        return _items(value, walk, depth)
    walk.tagged = True
    leaf = LEAVES_OUT.get(kind)
    if leaf is not None:
        return {leaf[0]: leaf[1](value)}
    holder = _HOLDERS.get(kind)
    if holder is not None:
        return holder(value, walk, depth)
    return _unusual(value, walk, depth)


def step(key: str) -> str:
    """A key as it stands in a path: `.lines`, or `["due date"]` where it is no name."""
    if key.isidentifier() and len(key) <= 40:
        return f".{key}"
    # Whole or not at all: of half a secret that somebody took for a key no mask would know.
    return f'["{key}"]' if len(key) <= 60 and key.isprintable() else "[...]"


# ---------------------------------------------------------------- containers
# The common leaves are tested in the loops themselves: a call of `encode` costs more than the test.


def _items(values: Any, walk: Walk, depth: int) -> list[Any]:
    walk.enter(len(values), depth)
    if len(values) >= LONG and all_plain(values):
        return list(values)
    out: list[Any] = []
    for value in values:
        kind = type(value)
        if kind in AS_IS or (kind is str and value.isascii()) or (kind is int and _INTEGER_LOW < value < INTEGER_LIMIT):
            out.append(value)
            continue
        try:
            out.append(encode(value, walk, depth + 1))
        except Unfit as unfit:
            unfit.path.append(f"[{len(out)}]")
            raise
    return out


def _dict(values: dict[Any, Any], walk: Walk, depth: int) -> dict[str, Any]:
    walk.enter(len(values), depth)
    out: dict[str, Any] = {}
    for given, value in values.items():
        key = given if type(given) is str and given.isascii() else _key(given)
        kind = type(value)
        if kind in AS_IS or (kind is str and value.isascii()) or (kind is int and _INTEGER_LOW < value < INTEGER_LIMIT):
            out[key] = value
            continue
        try:
            out[key] = encode(value, walk, depth + 1)
        except Unfit as unfit:
            unfit.path.append(step(key))
            raise
    if len(out) == 1 and next(iter(out))[:1] == "$":
        walk.tagged = True
        return {"$dict": out}
    return out


def _key(key: Any) -> str:
    if isinstance(key, str) and not isinstance(key, Enum):
        return _text(str.__str__(key), "has a key")
    raise Unfit(f"has a key of type {type(key).__name__}, and keys are text in JSON: make it str(key)")


def _text(value: str, what: str = "is text") -> str:
    try:
        value.encode()
    except UnicodeEncodeError:
        raise Unfit(f"{what} with half a surrogate pair in it, which UTF-8 cannot say: clean it first") from None
    return value


def _set(values: Any, walk: Walk, depth: int) -> list[Any]:
    # In one order whatever the process' hash seed: two sealings of one call must have the same arguments.
    return sorted(_items(values, walk, depth), key=_sort_key)


def _secret(value: Secret[Any], walk: Walk, depth: int) -> Any:
    if not walk.secrets:
        raise Unfit("is a Secret, which travels only in the arguments of a call: load it in the task")
    # Still hidden: what is on its way to be sealed stands in the locals of every traceback.
    return {"$secret": Secret(encode(value.get_secret_value(), walk, depth))}


_HOLDERS: dict[type, Callable[[Any, Walk, int], Any]] = {
    Secret: _secret,
    tuple: lambda value, walk, depth: {"$tuple": _items(value, walk, depth)},
    set: lambda value, walk, depth: {"$set": _set(value, walk, depth)},
    frozenset: lambda value, walk, depth: {"$frozenset": _set(value, walk, depth)},
}


# ---------------------------------------------------------------- what is not of a plain type


def _unusual(value: Any, walk: Walk, depth: int) -> Any:
    kind = type(value)
    if kind in walk.named:
        walk.used_named = True
        return encode(value.value if isinstance(value, Enum) else fields_of(value), walk, depth)
    inside = unwrap(value)
    if inside is not value:
        return encode(inside, walk, depth)
    if isinstance(value, Enum) or is_foreign_scalar(kind):
        raise Unfit(refusal(value))
    if isinstance(value, str):
        return _text(str.__str__(value))
    if isinstance(value, int):
        return encode(int.__int__(value), walk, depth)
    if isinstance(value, float):
        return encode(float.__float__(value), walk, depth)
    for base, (tag, write) in LEAVES_OUT.items():
        if isinstance(value, base):
            return {tag: write(value)}
    return _subclass_of_container(value, walk, depth)


def _subclass_of_container(value: Any, walk: Walk, depth: int) -> Any:
    """An OrderedDict arrives as a dict only where the annotation says dict: else its type would change silently."""
    if isinstance(value, dict) and dict in walk.named and not hasattr(value, "getlist"):
        return _dict(value, walk, depth)
    if isinstance(value, list) and list in walk.named:
        return _items(value, walk, depth)
    raise Unfit(refusal(value))
