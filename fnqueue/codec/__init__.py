"""Arguments and results as JSON: checked and encoded at the caller, limited and decoded at the worker.

`Binder` does it for a task's calls; `to_json` and `from_json` for one value without annotations. How values
look on the wire is in `tags`.
Knows errors, quotas and msgspec; frameworks, ORMs and pydantic are told by their marks and never imported.
"""

from __future__ import annotations

from typing import Any

from fnqueue.codec.binding import Binder
from fnqueue.codec.decoding import decode
from fnqueue.codec.encoding import encode
from fnqueue.codec.results import result_from_json, result_to_json
from fnqueue.codec.tags import Unfit, Walk, path_text
from fnqueue.errors import ArgumentNotSerializable, ArgumentsDoNotFit

__all__ = ["Binder", "from_json", "result_from_json", "result_to_json", "to_json"]


def to_json(value: Any, *, task: str, path: str) -> Any:
    """One value as built-in types, tagged where need be, in new containers. Raises ArgumentNotSerializable."""
    try:
        return encode(value, Walk())
    except Unfit as unfit:
        where = path_text(path, unfit)
        raise ArgumentNotSerializable(f"{task}: {where} {unfit.reason}.", task=task, path=where) from None


def from_json(value: Any, *, task: str, path: str) -> Any:
    """What `to_json` was given. Raises ArgumentsDoNotFit for an unknown tag, or beyond the limits."""
    try:
        return decode(value, Walk())
    except Unfit as unfit:
        raise ArgumentsDoNotFit(f"{task}: {path_text(path, unfit)} {unfit.reason}.", task=task) from None
