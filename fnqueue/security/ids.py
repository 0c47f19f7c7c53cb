"""Ids of calls: 26 characters that sort by time.

48 bits of milliseconds and 80 random bits, in an alphabet without i, l, o, u that sorts as its bytes do.
An id that must come out the same each time (a tick, a workflow step, the copy of a parked message) takes
its time from the cause and the rest from a keyed hash, so nobody outside can guess or take it.
Knows keys; knows nothing of messages.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from fnqueue.security.primitives import lp

if TYPE_CHECKING:
    from fnqueue.security.keyring import KeyRecord

LENGTH: Final = 26
ALPHABET: Final = "0123456789abcdefghjkmnpqrstvwxyz"
_PAIRS: Final = [first + second for first in ALPHABET for second in ALPHABET]
_FIVE_BITS: Final = bytes(ord(ALPHABET[byte & 31]) for byte in range(256))
_TO_BASE32: Final = str.maketrans(ALPHABET, "0123456789abcdefghijklmnopqrstuv")  # the digits that int() reads
_is_id: Final = re.compile(f"[0-7][{ALPHABET}]{{{LENGTH - 1}}}").fullmatch


def new_id(now: float, *, entropy: Callable[[int], bytes] = os.urandom) -> str:
    """An id of the moment `now`, unix seconds."""
    return _time(int(now * 1000)) + entropy(16).translate(_FIVE_BITS).decode("ascii")


def derived_id(cause_milliseconds: int, key: KeyRecord, cause: str, step: str) -> str:
    """The one id of `step` of `cause`. The same key must be used each time: the one the cause was sealed with."""
    hashed = key.hedge(lp(b"fnq1 id", cause.encode(), step.encode()))
    tail = int.from_bytes(hashed[:10], "big")
    return _time(cause_milliseconds) + "".join([_PAIRS[tail >> shift & 1023] for shift in range(70, -1, -10)])


def milliseconds(id: str) -> int:
    """The time in an id, unix milliseconds. Raises ValueError for what is no id."""
    if not is_id(id):
        raise ValueError("no id of a call: 26 characters 0-9a-z without i, l, o, u")
    return int(id[:10].translate(_TO_BASE32), 32)


def is_id(text: str) -> bool:
    return _is_id(text) is not None


def _time(ms: int) -> str:
    if not 0 <= ms < 2**48:
        raise ValueError(f"{ms} ms is no time of an id")
    pairs = _PAIRS
    return pairs[ms >> 40] + pairs[ms >> 30 & 1023] + pairs[ms >> 20 & 1023] + pairs[ms >> 10 & 1023] + pairs[ms & 1023]
