"""Ids of calls: 26 characters that sort by time.

48 bits of milliseconds and 80 random bits, in an alphabet without i, l, o, u that sorts as its bytes do.
An id that must come out the same each time (a tick, a workflow step, the copy of a parked message) takes
its time from the cause and the rest from a keyed hash, so nobody outside can guess or take it.
Knows keys; knows nothing of messages.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Final

from fnqueue.security.keyring import KeyRecord
from fnqueue.security.primitives import lp, mac

LENGTH: Final = 26
ALPHABET: Final = "0123456789abcdefghjkmnpqrstvwxyz"
_PAIRS: Final = [first + second for first in ALPHABET for second in ALPHABET]
_SHIFTS: Final = range(120, -1, -10)


def new_id(now: float, *, entropy: Callable[[int], bytes] = os.urandom) -> str:
    """An id of the moment `now`, unix seconds."""
    return _write(int(now * 1000), entropy(10))


def derived_id(cause_milliseconds: int, key: KeyRecord, cause: str, step: str) -> str:
    """The one id of `step` of `cause`. The same key must be used each time: the one the cause was sealed with."""
    return _write(cause_milliseconds, mac(key.hedge, lp(b"fnq1 id", cause.encode(), step.encode()))[:10])


def milliseconds(id: str) -> int:
    """The time in an id, unix milliseconds. Raises ValueError for what is no id."""
    if not is_id(id):
        raise ValueError("no id of a call: 26 characters 0-9a-z without i, l, o, u")
    number = 0
    for character in id[:10]:
        number = number * 32 + ALPHABET.index(character)
    return number


def is_id(text: str) -> bool:
    return len(text) == LENGTH and text[0] in "01234567" and all(character in ALPHABET for character in text)


def _write(milliseconds: int, tail: bytes) -> str:
    number = (milliseconds << 80) | int.from_bytes(tail, "big")
    return "".join([_PAIRS[number >> shift & 1023] for shift in _SHIFTS])
