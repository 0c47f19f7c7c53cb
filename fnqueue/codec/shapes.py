"""Classes whose instances can travel as their fields: dataclasses, Structs, NamedTuples, attrs, pydantic models.

They travel only where an annotation names the class, which is how the worker knows what to make of them:
no class is ever looked up by a name from the wire. Pydantic is known by its marks and never imported.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import msgspec

from fnqueue.codec.tags import Unfit


def is_record(kind: type) -> bool:
    """A row of a database: Django (and peewee) by `_meta`, SQLAlchemy by its mapper."""
    if hasattr(kind, "__mapper__") or hasattr(kind, "_sa_class_manager"):
        return True
    meta = getattr(kind, "_meta", None)
    return hasattr(meta, "pk") or hasattr(meta, "primary_key")


def is_named_tuple(kind: type) -> bool:
    return issubclass(kind, tuple) and hasattr(kind, "_fields")


def is_pydantic(kind: type) -> bool:
    return hasattr(kind, "model_validate") and hasattr(kind, "__pydantic_validator__")


def has_fields(kind: type) -> bool:
    return (
        dataclasses.is_dataclass(kind)
        or hasattr(kind, "__attrs_attrs__")
        or issubclass(kind, msgspec.Struct)
        or is_named_tuple(kind)
        or is_pydantic(kind)
    )


def fields_of(value: Any) -> dict[str, Any] | list[Any]:
    """One layer: the fields' values are as they are, and walked in their turn. Raises Unfit."""
    kind: Any = type(value)
    return _reader(kind)(value)


@functools.lru_cache(maxsize=1024)
def _reader(kind: Any) -> Callable[[Any], dict[str, Any] | list[Any]]:
    if is_pydantic(kind):
        return _dumped
    if issubclass(kind, tuple):
        return list
    if issubclass(kind, msgspec.Struct):
        return _struct
    fields: Any = dataclasses.fields(kind) if dataclasses.is_dataclass(kind) else kind.__attrs_attrs__
    names = tuple(field.name for field in fields)
    return lambda value: {name: getattr(value, name) for name in names if hasattr(value, name)}


def _struct(value: msgspec.Struct) -> dict[str, Any] | list[Any]:
    config = value.__struct_config__
    given = [getattr(value, name) for name in value.__struct_fields__]
    if config.array_like:
        return given if config.tag is None else [config.tag, *given]
    head = {} if config.tag is None or config.tag_field is None else {config.tag_field: config.tag}
    pairs = zip(value.__struct_encode_fields__, given, strict=True)
    return head | {name: field for name, field in pairs if field is not msgspec.UNSET}


def _dumped(model: Any) -> dict[str, Any] | list[Any]:
    """Pydantic's own JSON form, proven: a model that would come back changed (a SecretStr, say) is refused here."""
    kind = type(model)
    try:
        dumped: dict[str, Any] | list[Any] = model.model_dump(mode="json", by_alias=True, round_trip=True)
        same = kind.model_validate(dumped) == model
    except Exception:
        same = False  # which rule failed would quote the value
    if not same:
        raise Unfit(
            f'is a {kind.__name__} that does not come back equal from model_dump(mode="json"): pass plain values'
        )
    return dumped
