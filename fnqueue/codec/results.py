"""What a task returns, as bytes for the store, and back.

A result comes back by its tags. Instances of classes that the function's return annotation names (a
dataclass, an Enum) are stored as their fields under the mark `{"$fields": ...}`. A reader who knows the
function gets instances again; one who does not (`fn.handle(id)` in another service) gets the plain fields.
Classes that no annotation names are refused, as in arguments. An annotation never refuses what needs none:
a function may return None where it promised text.
"""

from __future__ import annotations

from typing import Any

import msgspec

from fnqueue.codec.annotations import Spec
from fnqueue.codec.decoding import decode
from fnqueue.codec.encoding import encode
from fnqueue.codec.tags import Unfit, Walk, path_text
from fnqueue.errors import ArgumentNotSerializable, ResultUnreadable

_ANY = Spec()
_FIELDS = "$fields"
#: The work is done, so only what a process can hold bounds its result: each value takes a hundred bytes or so.
_NODES_MAX = 1_000_000
_to_bytes = msgspec.json.Encoder().encode
_from_bytes = msgspec.json.Decoder().decode


def result_to_json(value: Any, task: str) -> bytes:
    """A result whose types JSON and the tags know. Raises ArgumentNotSerializable with a path in `result`."""
    return write_result(value, task, _ANY)


def result_from_json(data: bytes) -> Any:
    """What `result_to_json` was given. Raises ResultUnreadable."""
    return read_result(data, "the task", _ANY)


def write_result(value: Any, task: str, spec: Spec) -> bytes:
    walk = _walk(spec)
    try:
        wire = encode(value, walk)
        if walk.used_named:
            made = spec.fit(decode(wire, _walk(spec)), natural=False, place="result")
            if type(made) is not type(value):
                raise Unfit(f"is annotated {spec.text}, and would arrive as {type(made).__name__}")
            wire = {_FIELDS: wire}
    except Unfit as unfit:
        path = path_text("result", unfit)
        reason = unfit.reason.replace("annotate the parameter with", "annotate what the task returns with")
        raise ArgumentNotSerializable(f"{task}: {path} {reason}.", task=task, path=path) from None
    return _to_bytes(wire)


def read_result(data: bytes, task: str, spec: Spec) -> Any:
    try:
        wire = _from_bytes(data)
        if type(wire) is not dict or len(wire) != 1 or _FIELDS not in wire:
            return decode(wire, _walk(spec))
        made = decode(wire[_FIELDS], _walk(spec))
        return spec.fit(made, natural=True, place="result") if spec.rich else made
    except (Unfit, ValueError, RecursionError) as error:
        reason = error.reason if isinstance(error, Unfit) else "is no JSON"
        raise ResultUnreadable(f"{task}: the stored result {reason}.") from None


def _walk(spec: Spec) -> Walk:
    walk = Walk()
    walk.nodes_max, walk.named = _NODES_MAX, spec.named
    return walk
