"""What the rules here are handed to sign what they write, and to tell it from what others wrote.

Whoever can merely write to the store has no key, and must not be believed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple


class Signs(NamedTuple):
    """`mac(data)` under the key of now; `holds(data, mac)`: whether any key in use made it."""

    mac: Callable[[bytes], bytes]
    holds: Callable[[bytes, bytes], bool]
