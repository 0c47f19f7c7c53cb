"""Which classes an annotation names, at any depth, and whether a value of each can travel at all."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections import abc
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from inspect import Parameter
from typing import Any
from uuid import UUID

import msgspec

from fnqueue.codec.refusals import article
from fnqueue.codec.secret import Secret
from fnqueue.codec.shapes import has_fields, is_pydantic, is_record

_SIMPLE = frozenset(
    {
        *(Any, object, None, type(None), Parameter.empty, msgspec.UnsetType, ...),
        *(str, int, float, bool, bytes, datetime, date, time, timedelta, Decimal, UUID),
        *(tuple, set, frozenset, abc.Set, abc.MutableSet),
        *(Secret,),
        *(abc.Hashable, abc.Sized, abc.Iterable, abc.Container, abc.Collection, abc.Reversible),
    }
)
_MAPPINGS = frozenset({dict, abc.Mapping, abc.MutableMapping})
_LISTS = frozenset({list, abc.Sequence, abc.MutableSequence})
_QUALIFIERS = frozenset(
    getattr(typing, name)
    for name in ("Final", "ClassVar", "Required", "NotRequired", "ReadOnly")
    if hasattr(typing, name)
)


def strip(annotation: Any) -> Any:
    """Without what says nothing about the value: NewType, aliases, qualifiers, unknown Annotated, type variables."""
    while True:
        origin = typing.get_origin(annotation)
        if isinstance(annotation, typing.NewType):
            annotation = annotation.__supertype__
        elif origin is typing.Annotated:
            bounds = [mark for mark in annotation.__metadata__ if isinstance(mark, msgspec.Meta)]
            if bounds:
                return typing.Annotated[(annotation.__origin__, *bounds)]
            annotation = annotation.__origin__
        elif isinstance(annotation, typing.TypeVar):
            annotation = _bound(annotation)
        elif type(annotation).__name__ == "TypeAliasType":
            annotation = annotation.__value__
        elif type(origin).__name__ == "TypeAliasType":
            annotation = origin.__value__[typing.get_args(annotation)]
        elif origin in _QUALIFIERS:
            (annotation,) = typing.get_args(annotation)
        elif annotation is typing.LiteralString:
            return str
        elif origin is not None and origin in _LISTS | _MAPPINGS | _SIMPLE and not typing.get_args(annotation):
            return origin  # typing.List is list
        else:
            return annotation


def _bound(variable: typing.TypeVar) -> Any:
    if variable.__constraints__:
        return typing.Union[variable.__constraints__]  # noqa: UP007 - made of a tuple
    return (
        Any if variable.__bound__ is None or isinstance(variable.__bound__, typing.ForwardRef) else variable.__bound__
    )


class Leaves:
    """`named`: classes whose instances may travel as their fields, and `dict` or `list` where the annotation says so.

    `rich`: whether there are such classes. `fault`: why no value can travel, worded to follow "is annotated X: ".
    """

    def __init__(self) -> None:
        self._named: set[type] = set()
        self._seen: set[Any] = set()
        self.rich = False
        self.fault: str | None = None

    @classmethod
    def of(cls, annotation: Any) -> Leaves:
        leaves = cls()
        leaves._visit(annotation)
        return leaves

    @property
    def named(self) -> frozenset[type]:
        return frozenset(self._named)

    def _visit(self, annotation: Any) -> None:
        annotation = strip(annotation)
        origin = typing.get_origin(annotation)
        if origin is typing.Literal:
            self._literal(typing.get_args(annotation))
        elif origin is typing.Annotated:
            self._visit(annotation.__origin__)
        elif origin in (typing.Union, types.UnionType):
            self._visit_all(typing.get_args(annotation))
        elif origin is typing.Unpack or isinstance(annotation, typing.ParamSpecArgs | typing.ParamSpecKwargs):
            return  # of *args and **kwargs: left to the function
        else:
            self._class(origin or annotation)
            if self.fault is None:
                self._visit_all(typing.get_args(annotation))

    def _visit_all(self, annotations: Any) -> None:
        for annotation in annotations:
            self._visit(annotation)

    def _class(self, kind: Any) -> None:
        if kind in _MAPPINGS:
            self._named.add(dict)
        elif kind in _LISTS:
            self._named.add(list)
        elif kind in _SIMPLE or kind in self._seen:
            return
        elif typing.is_typeddict(kind):
            self._seen.add(kind)
            self._named.add(dict)
            self._fields(kind)
        elif isinstance(kind, type) and not is_record(kind) and (issubclass(kind, Enum) or has_fields(kind)):
            self._seen.add(kind)
            self._named.add(kind)
            self.rich = True
            if not issubclass(kind, Enum):
                self._fields(kind)
        else:
            self.fault = _cannot(kind)

    def _fields(self, kind: Any) -> None:
        if is_pydantic(kind):
            return  # it makes its own JSON, and its Enums with it
        try:
            hints = typing.get_type_hints(kind, include_extras=True)
        except NameError as error:
            self.fault = (
                f"{kind.__name__} has a field annotated with {error.name!r}, which does not exist at run time "
                "(imported only under TYPE_CHECKING, or local to a function)"
            )
            return
        known = {field.name for field in dataclasses.fields(kind)} if dataclasses.is_dataclass(kind) else hints
        self._visit_all(hint for name, hint in hints.items() if name in known)

    def _literal(self, choices: tuple[Any, ...]) -> None:
        if not all(isinstance(choice, str | int | bytes | None) and not isinstance(choice, Enum) for choice in choices):
            self.fault = "a Literal of Enum members cannot be told from its values: annotate the Enum"


def _cannot(kind: Any) -> str:
    name = getattr(kind, "__name__", str(kind))
    if isinstance(kind, type) and is_record(kind):
        return f"{article(name)} is a database record: take its key, and load it in the task"
    if kind is abc.Callable:
        return "a function cannot travel: take a name, or make it a task and defer that"
    for end in ("Request", "Response"):
        if name.endswith(end):
            return f"{article(name)} lives only in the web process: take the values that the task needs"
    if kind in (abc.Iterator, abc.Generator, abc.AsyncIterator, abc.AsyncGenerator, abc.Awaitable, abc.Coroutine):
        return f"{article(name)} runs only in the process that made it: take a list"
    if name.endswith("Path"):
        return f"{article(name)} cannot travel: take str, and make the {name} in the task"
    return f"{article(name)} cannot travel in a message: take plain values, a dataclass or a pydantic model"
