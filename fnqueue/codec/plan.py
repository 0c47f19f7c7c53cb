"""A function's signature, taken apart once: which arguments are whose, as Python would bind them.

`fits` answers for the good call in a few dozen nanoseconds per name; `misfit` words the bad one.
Knows nothing of values.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from fnqueue.codec.annotations import Spec
from fnqueue.codec.hints import parameters_of, spec_of
from fnqueue.errors import ArgumentsDoNotFit

_ANY = Spec()
_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


class Plan(msgspec.Struct, frozen=True):
    name: str  # of the task
    order: tuple[str, ...]  # all parameters
    positional: tuple[str, ...]
    specs: tuple[Spec, ...]  # of the positional, in order
    named: dict[str, Spec]  # those that may be given by name
    position: dict[str, int]  # those that may be given both ways
    required: frozenset[str]
    lacking: tuple[int, ...]  # how many required ones are left after n positional arguments
    plain_counts: frozenset[int]  # how many positional arguments alone are a call
    defaults: dict[str, Any]
    rest_name: str | None  # *args
    rest: Spec
    others_name: str | None  # **kwargs
    others: Spec

    def fits(self, count: int, kwargs: Mapping[str, Any]) -> bool:
        """Whether Python could bind `count` positional arguments and these names."""
        last = len(self.positional)
        if count > last and self.rest_name is None:
            return False
        lacking = self.lacking[min(count, last)]
        for name in kwargs:
            if name not in self.named:
                if self.others_name is None:
                    return False
            elif self.position.get(name, count) < count:
                return False
            elif name in self.required:
                lacking -= 1
        return lacking == 0

    def specs_for(self, count: int) -> tuple[Spec, ...]:
        return self.specs if count <= len(self.specs) else self.specs + (self.rest,) * (count - len(self.specs))

    def specs_by_name(self) -> dict[str, Spec]:
        both = dict(zip(self.positional, self.specs, strict=True)) | self.named
        stars = {self.rest_name: self.rest, self.others_name: self.others}
        return both | {name: spec for name, spec in stars.items() if name is not None}

    def parameter(self, at: int | str) -> str:
        """Whose argument number `at` is, or the one given by that name."""
        if isinstance(at, str):
            return at
        return self.positional[at] if at < len(self.positional) else self.rest_name or f"args[{at}]"

    def bound(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """Of a call that fits."""
        if not kwargs and len(args) == len(self.order) and self.rest_name is None:
            return dict(zip(self.order, args, strict=True))
        given = self.defaults | dict(zip(self.positional, args, strict=False))
        given.update((name, value) for name, value in kwargs.items() if name in self.named)
        if self.rest_name is not None:
            given[self.rest_name] = tuple(args[len(self.positional) :])
        if self.others_name is not None:
            given[self.others_name] = {name: value for name, value in kwargs.items() if name not in self.named}
        return {name: given[name] for name in self.order}

    # ---------------------------------------------------------------- why a call does not fit

    def misfit(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> ArgumentsDoNotFit:
        if len(args) > len(self.positional) and self.rest_name is None:
            most = len(self.positional)
            plural = "" if most == 1 else "s"
            return self._error(f"takes {most or 'no'} positional argument{plural}, and {len(args)} were given")
        filled = self.positional[: len(args)]
        for name in kwargs:
            if name in self.named and name in filled:
                return self._error(f"is given {name!r} twice: by position and by name", name)
            if name not in self.named and self.others_name is None:
                if name in self.positional:
                    return self._error(f"takes {name!r} by position only: pass it without its name", name)
                return self._error(f"has no parameter {name!r}", name)
        by_name = [name for name in kwargs if name in self.named]
        missing = [name for name in self.order if name in self.required.difference(filled, by_name)]
        words = "parameter" if len(missing) == 1 else "parameters"
        return self._error(f"misses the {words} {', '.join(map(repr, missing))}", missing[0])

    def _error(self, reason: str, parameter: str | None = None) -> ArgumentsDoNotFit:
        listed = ", ".join(self.order) or "none"
        return ArgumentsDoNotFit(
            f"{self.name} {reason}; its parameters are: {listed}.", task=self.name, parameter=parameter
        )


def plan_of(function: Callable[..., Any], name: str, *, bind: bool) -> Plan:
    parameters = parameters_of(function, name, bind=bind)
    specs = {p.name: spec_of(function, p) for p in parameters}
    positional = tuple(p.name for p in parameters if p.kind in _POSITIONAL)
    required = frozenset(
        p.name for p in parameters if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
    )
    rest = next((p.name for p in parameters if p.kind is p.VAR_POSITIONAL), None)
    others = next((p.name for p in parameters if p.kind is p.VAR_KEYWORD), None)
    lacking = tuple(len(required.difference(positional[:count])) for count in range(len(positional) + 1))
    return Plan(
        name=name,
        order=tuple(p.name for p in parameters),
        positional=positional,
        specs=tuple(specs[name] for name in positional),
        named={p.name: specs[p.name] for p in parameters if p.kind in _NAMED},
        position={p.name: at for at, p in enumerate(parameters) if p.kind is p.POSITIONAL_OR_KEYWORD},
        required=required,
        lacking=lacking,
        plain_counts=frozenset(count for count, missing in enumerate(lacking) if missing == 0),
        defaults={p.name: p.default for p in parameters if p.default is not p.empty},
        rest_name=rest,
        rest=specs.get(rest or "", _ANY),
        others_name=others,
        others=specs.get(others or "", _ANY),
    )
