"""Fields of a stored record, by their types.

Whoever can write to the store can write what no record of ours holds: it is taken for what is not there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

_COUNT_MAX: Final = 2**40
_YEAR_10000: Final = 253_402_300_800


def text(fields: Mapping[str, Any], name: str) -> str | None:
    value = fields.get(name)
    return value if isinstance(value, str) else None


def count(fields: Mapping[str, Any], name: str, most: int = _COUNT_MAX) -> int:
    """0 for what is none."""
    value = fields.get(name)
    return value if isinstance(value, int) and 0 <= value <= most else 0


def time(fields: Mapping[str, Any], name: str) -> float | None:
    """Unix seconds, before the year 10000."""
    value = fields.get(name)
    return value if isinstance(value, int | float) and 0 <= value < _YEAR_10000 else None
