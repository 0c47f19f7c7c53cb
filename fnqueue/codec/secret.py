"""`Secret`: an argument that shows itself to nobody who did not ask for it by name.

It prints as `***`, in f-strings, logs, reprs and the locals of tracebacks. Its value travels inside the seal and
nowhere else. What it holds is read by `get_secret_value()`, so that each place that does is found by that word.
Knows nothing of tasks; how it looks on the wire is in `encoding`.
"""

from __future__ import annotations

import copy
import hmac
import re
from collections.abc import Iterable, Iterator
from typing import Any, Generic, NoReturn, TypeVar

import msgspec

T = TypeVar("T")
MASK = "***"
#: A shorter value would mask half of every text, and is guessed anyway.
_MASKED_CHARS_MIN = 4
#: To make a pattern of a longer one costs more than it is worth.
_ANY_CASE_CHARS_MAX = 1000
_DEPTH_MAX = 32


class Secret(Generic[T]):
    """`Secret(value)` hides a value; `get_secret_value()` gives it back. Two are equal when their values are.

    As an annotation, `card: Secret[str]`: callers pass a `Secret`, and the task gets one. Never pickled.
    """

    __slots__ = ("__weakref__", "_value")

    def __init__(self, value: T) -> None:
        self._value: T = value._value if isinstance(value, Secret) else value

    def get_secret_value(self) -> T:
        return self._value

    def __repr__(self) -> str:
        return "Secret('***')"

    def __str__(self) -> str:
        return MASK

    def __format__(self, spec: str) -> str:
        return format(MASK, spec)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        mine, others = self._value, other._value
        if isinstance(mine, str) and isinstance(others, str):
            return hmac.compare_digest(mine.encode("utf-8", "surrogatepass"), others.encode("utf-8", "surrogatepass"))
        return type(mine) is type(others) and mine == others

    def __hash__(self) -> int:
        return hash((Secret, self._value))

    def __copy__(self) -> Secret[T]:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Secret[T]:
        return Secret(copy.deepcopy(self._value, memo))

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        raise TypeError("a Secret is not pickled: pass it to a task, which seals it")


def reveal(value: Any) -> Any:
    """For JSON that will be sealed. Raises TypeError for what is none, as the encoder would."""
    if type(value) is Secret:
        return value._value
    raise TypeError(f"Encoding objects of type {type(value).__name__} is unsupported")


def secrets_in(*values: Any) -> list[Secret[Any]]:
    """All that are in arguments, in containers and in fields of objects, too."""
    return list(_walk(values, 0))


def masked(text: str, secrets: Iterable[Secret[Any]]) -> str:
    """The text without the values of the secrets, as they are and as texts usually spell them, in small letters or
    large ones: what answers a name or a token often changes that.

    Best effort: a part of one, or its hash, is not found. Values of fewer than 4 characters are left.
    """
    spellings = {spelling for secret in secrets for spelling in _spellings(secret._value)}
    for spelling in sorted(spellings, key=len, reverse=True):  # a value may hold another one
        text = _without(text, spelling)
    return text


def _without(text: str, spelling: str) -> str:
    if len(spelling) > _ANY_CASE_CHARS_MAX:
        return text.replace(spelling, MASK)
    return re.sub(re.escape(spelling), MASK, text, flags=re.IGNORECASE)


# ---------------------------------------------------------------- helpers


def _walk(value: Any, depth: int) -> Iterator[Secret[Any]]:
    if type(value) is Secret:
        yield value
    elif depth < _DEPTH_MAX and not isinstance(value, str | bytes | int | float | None):
        for inner in _inside(value):
            yield from _walk(inner, depth + 1)


def _inside(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return [*value, *value.values()]
    if isinstance(value, list | tuple | set | frozenset):
        return list(value)
    if isinstance(value, msgspec.Struct):
        return [getattr(value, name, None) for name in value.__struct_fields__]
    slots = getattr(type(value), "__slots__", ())
    fields = [getattr(value, name, None) for name in ((slots,) if isinstance(slots, str) else slots)]
    return [*getattr(value, "__dict__", {}).values(), *fields]


def _spellings(value: Any) -> Iterator[str]:
    """Of what it is, or of all that is in it."""
    if isinstance(value, bytes | bytearray):
        text = bytes(value).decode("utf-8", "replace")
        yield from (each for each in (repr(bytes(value))[2:-1], bytes(value).hex()) if len(each) >= _MASKED_CHARS_MIN)
    elif isinstance(value, dict | list | tuple | set | frozenset):
        for inner in _inside(value):
            yield from _spellings(inner)
        return
    elif isinstance(value, bool | None):
        return
    else:
        text = str(value)
    if len(text) < _MASKED_CHARS_MIN:
        return
    import json  # not at the top: only what failed comes here
    from urllib.parse import quote, quote_plus

    safe = text.encode("utf-8", "replace").decode()
    spelled = (repr(text)[1:-1], json.dumps(text)[1:-1], quote(safe), quote(safe, safe=""), quote_plus(safe))
    yield from (text, *spelled)
