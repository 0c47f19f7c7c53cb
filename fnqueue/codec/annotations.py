"""What an annotation asks of a value: one `Spec` per parameter, made once and lazily.

Most values are decided by their exact type (`exact`). The rest is tried against msgspec, member by member
of a union: at the caller strictly, at the worker with what JSON means naturally (a date from its text), so
that a message sent before an annotation was added still runs. Where msgspec has no opinion
(`list[date | str]`) only the outer shape is asked for: the tags keep the types.
Knows no task; an annotation that no value can meet becomes a `fault`, told when a value is given.
"""

from __future__ import annotations

import re
import types
import typing
from collections import abc
from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from inspect import Parameter, formatannotation
from typing import Any
from uuid import UUID

import msgspec

from fnqueue import forks
from fnqueue.codec.leaves import Leaves, strip
from fnqueue.codec.secret import Secret
from fnqueue.codec.shapes import is_pydantic
from fnqueue.codec.tags import Unfit

#: Every type that a decoded value can have.
EVERYTHING: frozenset[type] = frozenset(
    {
        *(str, int, float, bool, type(None), list, dict, tuple, set, frozenset),
        *(bytes, datetime, date, time, timedelta, Decimal, UUID),
        Secret,
    }
)
_ONE_TYPE: dict[Any, frozenset[type]] = {kind: frozenset({kind}) for kind in EVERYTHING - {list, dict, tuple}} | {
    int: frozenset({int, bool}),  # as type checkers have it
    date: frozenset({date, datetime}),
}
_OPEN = frozenset({Any, object, Parameter.empty, abc.Hashable, abc.Sized})
_ITERABLE = frozenset({abc.Iterable, abc.Container, abc.Collection, abc.Reversible})
_CONCRETE: dict[Any, frozenset[type]] = {kind: frozenset({kind}) for kind in (list, dict, tuple, set, frozenset)} | {
    abc.Sequence: frozenset({list, tuple}),
    abc.MutableSequence: frozenset({list}),
    abc.Mapping: frozenset({dict}),
    abc.MutableMapping: frozenset({dict}),
    abc.Set: frozenset({set, frozenset}),
    abc.MutableSet: frozenset({set}),
}
_LITERALS = frozenset({str, int, bool, bytes, type(None)})
#: As msgspec calls them: what is an instance already, and never made from text. At the worker only bytes:
#: text that happens to be base64 must not become them.
_NO_TEXT_FOR_BYTES = (bytes, bytearray, memoryview)
_STRICT = (*_NO_TEXT_FOR_BYTES, datetime, date, time, timedelta, UUID, Decimal)


class Spec(msgspec.Struct, frozen=True):
    """`text` is the annotation as people write it. `named`: classes whose instances travel as their fields."""

    text: str = "Any"
    exact: frozenset[type] = EVERYTHING
    literals: frozenset[tuple[type, Any]] = frozenset()
    targets: tuple[Any, ...] = ()
    named: frozenset[type] = frozenset()
    rich: bool = False
    fault: str | None = None

    def fit(self, value: Any, *, natural: bool, place: str) -> Any:
        """The decoded value as the annotation wants it. Raises Unfit, worded to follow the parameter's name.

        `place` is what paths begin with: the parameter's name.
        """
        if self.fault is not None:
            raise Unfit(self.fault, about_type=True)
        kind = type(value)
        if kind in self.exact or (kind in _LITERALS and (kind, value) in self.literals):
            return value
        error: msgspec.ValidationError | None = None
        for target in self.targets:
            try:
                made = msgspec.convert(
                    value,
                    target,
                    builtin_types=_NO_TEXT_FOR_BYTES if natural else _STRICT,
                    dec_hook=_make_natural if natural else _make,
                )
            except msgspec.ValidationError as caught:
                error = caught
                continue
            if not natural and kind is dict is type(made) and len(made) < len(value):
                lost = next(key for key in value if key not in made)  # a TypedDict takes only its own
                raise Unfit(f"expects {self.text}, which has no key {lost!r}", about_type=True)
            return made
        raise Unfit(self._words(value, error if len(self.targets) == 1 else None, place), about_type=True)

    def _words(self, value: Any, error: msgspec.ValidationError | None, place: str) -> str:
        reason, _, path = str(error).partition(" - at `$") if error is not None else ("", "", "")
        if error is None or (not path and _says_type(reason)):
            hint = ": wrap it, as fnqueue.Secret(value)" if type(value) is not Secret and self._wants_secret() else ""
            return f"expects {self.text}, got {type(value).__name__}{hint}"
        return f"expects {self.text}: {_safe(reason)}" + (f" at {place}{path[:-1]}" if path else "")

    def _wants_secret(self) -> bool:
        return Secret in self.exact or any(typing.get_origin(target) is Secret for target in self.targets)


def compile_annotation(annotation: Any) -> Spec:
    """Never raises: what cannot be met is the Spec's `fault`."""
    text = annotation_text(annotation)
    leaves = Leaves.of(annotation)
    exact: set[type] = set()
    targets: list[Any] = []
    literals: set[tuple[type, Any]] = set()
    fault = leaves.fault
    for member in () if fault else _members(annotation):
        origin = typing.get_origin(member) or member
        if origin is typing.Literal:
            literals |= {(type(choice), choice) for choice in typing.get_args(member)}
        elif member in _ONE_TYPE:
            exact |= _ONE_TYPE[member]
            targets.append(member)
        elif origin in _OPEN or (origin in _ITERABLE and not leaves.rich):
            exact |= EVERYTHING
        elif _is_bare(member, origin):
            exact |= _CONCRETE[origin]
            targets.append(member)
        else:
            target = list[typing.get_args(member)] if origin in _ITERABLE else member  # type: ignore[misc]
            unsupported = _unsupported(target)
            if unsupported is None:
                targets.append(target)
            elif leaves.rich or origin not in _CONCRETE:
                fault = f"is annotated {text}, which cannot be made from a message: {unsupported}"
            else:
                exact |= _CONCRETE[origin]
    return Spec(
        text=text,
        exact=frozenset() if fault else frozenset(exact),
        literals=frozenset(literals),
        targets=tuple(targets),
        named=leaves.named,
        rich=leaves.rich,
        fault=fault and (fault if fault.startswith("is ") else f"is annotated {text}: {fault}"),
    )


def annotation_text(annotation: Any) -> str:
    """`list[Line]`, without modules."""
    if annotation is Parameter.empty:
        return "Any"
    return re.sub(r"(?<![<\w])(?:(?:\w+|<locals>)\.)+(\w+)", r"\1", formatannotation(annotation)).replace(
        "NoneType", "None"
    )


def _members(annotation: Any) -> Iterator[Any]:
    annotation = strip(annotation)
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        for member in typing.get_args(annotation):
            yield from _members(member)
    else:
        yield type(None) if annotation is None else annotation


def _is_bare(member: Any, origin: Any) -> bool:
    """`list`, `dict[str, Any]`: any content will do."""
    if origin not in _CONCRETE:
        return False
    return all(inner in (Any, object, ...) or (inner is str and origin in _KEYED) for inner in typing.get_args(member))


_KEYED = frozenset({dict, abc.Mapping, abc.MutableMapping})


def _unsupported(target: Any) -> str | None:
    try:
        # msgspec learns a class at its first use, and crashes the process when two threads are first at once.
        # A child that was forked in the middle of it would find the class half learnt.
        with forks.UNFORKED.here():
            msgspec.json.Decoder(target)
    except Exception as error:  # TypeError with msgspec's reason; NameError from a field's own annotation
        return str(error).partition(" - type ")[0]
    return None


def _make_natural(kind: Any, value: Any) -> Any:
    """The same at the worker, where a message may have been sent before the annotation said Secret."""
    if (typing.get_origin(kind) or kind) is Secret:
        return _secret(kind, value, _NO_TEXT_FOR_BYTES, _make_natural)
    return _make(kind, value)


def _secret(kind: Any, value: Any, builtin_types: tuple[type, ...], hook: Any) -> Secret[Any]:
    held = value.get_secret_value() if type(value) is Secret else value
    (inner,) = typing.get_args(kind) or (Any,)
    try:
        return Secret(msgspec.convert(held, inner, builtin_types=builtin_types, dec_hook=hook))
    except msgspec.ValidationError:  # which may quote it
        raise ValueError("Expected another kind of value in the Secret") from None


def _make(kind: Any, value: Any) -> Any:
    """msgspec asks for a class that is not its own: a pydantic model, a Secret."""
    if (typing.get_origin(kind) or kind) is Secret:
        if type(value) is not Secret:
            raise ValueError(f"Expected `Secret`, got `{type(value).__name__}`")
        return _secret(kind, value, _STRICT, _make)
    if is_pydantic(kind):
        if type(value) is kind:
            return value
        try:
            return kind.model_validate(value)
        except Exception:  # its text quotes the values
            raise ValueError(f"does not fit the model {kind.__name__}") from None
    raise ValueError(f"{kind.__name__} cannot be made from a message")


def _says_type(text: str) -> bool:
    return text.startswith("Expected `") and ", got `" in text


def _safe(reason: str) -> str:
    """msgspec's reasons without values: an Enum's quotes what came, and a class's own check may say anything."""
    if reason.startswith("Invalid enum value"):
        return "not one of its values"
    if reason.startswith(("Expected ", "Object ", "Invalid ", "Array ", "does not fit the model ")):
        return (reason[0].lower() + reason[1:]).replace("`", "")
    return "refused by the type's own check"


def is_enum(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Enum)
