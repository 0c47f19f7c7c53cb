"""A call against a task's function: `check` at the caller, `decode` at the worker.

Both bind names as Python would, then handle value by value. A value whose exact type is what the
annotation names is done at once; only others pay for a conversion. At the caller that conversion is the
worker's own, run on what would be sent, so that a call which passes here does not fail there.
Knows annotations and JSON; knows nothing of queues, envelopes or tasks beyond a name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fnqueue import quotas
from fnqueue.codec.annotations import Spec
from fnqueue.codec.decoding import decode
from fnqueue.codec.encoding import encode, step
from fnqueue.codec.hints import return_spec
from fnqueue.codec.plan import Plan, plan_of
from fnqueue.codec.results import read_result, write_result
from fnqueue.codec.tags import AS_IS, INTEGER_LIMIT, Unfit, Walk, path_text
from fnqueue.errors import ArgumentNotSerializable, ArgumentsDoNotFit

_INTEGER_LOW = -INTEGER_LIMIT


class Binder:
    """Safe between threads. Nothing of the function is looked at before the first use."""

    __slots__ = ("_bind", "_function", "_known", "_name", "_returns")

    def __init__(self, function: Callable[..., Any], name: str, *, bind: bool = False) -> None:
        self._function, self._name, self._bind = function, name, bind
        self._known: Plan | None = None
        self._returns: Spec | None = None

    # ---------------------------------------------------------------- a call

    def check(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments as they travel: built-in types, tagged where need be, in new containers.

        Raises ArgumentsDoNotFit, ArgumentNotSerializable. Policies want the values: give `bound` what was given here.
        """
        plan = self._fitting(args, kwargs)
        walk, specs = Walk(), plan.specs_for(len(args))
        walk.secrets = True
        out: list[Any] = []
        for value in args:
            kind, spec = type(value), specs[len(out)]
            if kind in spec.exact and (
                (kind is str and value.isascii())
                or (kind is int and _INTEGER_LOW < value < INTEGER_LIMIT)
                or kind in AS_IS
            ):
                out.append(value)
            else:
                out.append(self._out(plan, value, spec, walk, len(out)))
        if not kwargs:
            return tuple(out), {}
        named, others = plan.named, plan.others
        return tuple(out), {
            name: self._out(plan, value, named.get(name, others), walk, name) for name, value in kwargs.items()
        }

    def decode(self, args: Any, kwargs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """What `check` gave, after JSON, as the function wants it. Raises ArgumentsDoNotFit."""
        if type(args) not in (list, tuple) or type(kwargs) is not dict:
            raise ArgumentsDoNotFit(f"{self._name}: the message holds no arguments.", task=self._name)
        plan = self._fitting(args, kwargs)
        walk, specs = Walk(), plan.specs_for(len(args))
        out: list[Any] = []
        for value in args:
            kind, spec = type(value), specs[len(out)]
            if kind in spec.exact and (
                kind is str or (kind is int and _INTEGER_LOW < value < INTEGER_LIMIT) or kind in AS_IS
            ):
                out.append(value)
            else:
                out.append(self._in(plan, value, spec, walk, len(out)))
        if not kwargs:
            return tuple(out), {}
        named, others = plan.named, plan.others
        return tuple(out), {
            name: self._in(plan, value, named.get(name, others), walk, name) for name, value in kwargs.items()
        }

    def bound(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """Every parameter by name, defaults included: what policies see. Raises ArgumentsDoNotFit."""
        return self._fitting(args, kwargs).bound(args, kwargs)

    @property
    def parameters(self) -> tuple[str, ...]:
        """The names of the parameters that a caller fills, in order."""
        return self._plan().order

    def faults(self) -> list[str]:
        """Why no value of a parameter could ever travel, one sentence each: an annotation that nobody can look up."""
        found = self._plan().specs_by_name().items()
        return [f"{self._name}: parameter {name!r} {spec.fault}." for name, spec in found if spec.fault is not None]

    # ---------------------------------------------------------------- a result

    def result_to_json(self, value: Any) -> bytes:
        """A result, with the return annotation's classes as their fields. Raises ArgumentNotSerializable."""
        return b"null" if value is None else write_result(value, self._name, self._return_spec())

    def result_from_json(self, data: bytes) -> Any:
        """What the function returned. Raises ResultUnreadable when it does not fit this version's annotation."""
        return read_result(data, self._name, self._return_spec())

    def _return_spec(self) -> Spec:
        if self._returns is None:
            self._returns = return_spec(self._function)
        return self._returns

    # ---------------------------------------------------------------- names

    def _plan(self) -> Plan:
        # Two threads may both make it: they make the same.
        if self._known is None:
            self._known = plan_of(self._function, self._name, bind=self._bind)
        return self._known

    def _fitting(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Plan:
        plan = self._known or self._plan()
        if not kwargs and len(args) in plan.plain_counts:
            return plan
        if not plan.fits(len(args), kwargs):
            raise plan.misfit(args, kwargs)
        if len(args) + len(kwargs) > quotas.ARGUMENT_NODES_MAX:
            raise ArgumentsDoNotFit(
                f"{self._name} is given {len(args) + len(kwargs):,} arguments, and the limit is "
                f"{quotas.ARGUMENT_NODES_MAX:,}: store the data and pass its key.",
                task=self._name,
            )
        return plan

    # ---------------------------------------------------------------- one value

    def _out(self, plan: Plan, value: Any, spec: Spec, walk: Walk, at: int | str) -> Any:
        walk.named, walk.tagged = spec.named, False
        try:
            wire = encode(value, walk)
        except Unfit as unfit:
            name, path = plan.parameter(at), _path(at, unfit)
            raise ArgumentNotSerializable(
                f"{self._name}: parameter {name!r}: {path} {unfit.reason}.", task=self._name, path=path, parameter=name
            ) from None
        if type(value) not in spec.exact:
            self._prove(plan, type(value), decode(wire, Walk()) if walk.tagged else wire, spec, at)
        return wire

    def _prove(self, plan: Plan, kind: type, arriving: Any, spec: Spec, at: int | str) -> None:
        """The worker's conversion, run here."""
        name = plan.parameter(at)
        try:
            made = spec.fit(arriving, natural=False, place=name)
        except Unfit as unfit:
            raise self._misfit(name, unfit.reason) from None
        if spec.rich and kind in spec.named and type(made) is not kind:
            raise self._misfit(
                name, f"is annotated {spec.text}, and the {kind.__name__} would arrive as {type(made).__name__}"
            )

    def _in(self, plan: Plan, value: Any, spec: Spec, walk: Walk, at: int | str) -> Any:
        try:
            made = decode(value, walk)
            return made if type(made) in spec.exact else spec.fit(made, natural=True, place=plan.parameter(at))
        except Unfit as unfit:
            reason = unfit.reason if unfit.about_type else f"cannot be read: {_path(at, unfit)} {unfit.reason}"
            raise self._misfit(plan.parameter(at), reason) from None

    def _misfit(self, parameter: str, reason: str) -> ArgumentsDoNotFit:
        return ArgumentsDoNotFit(
            f"{self._name}: parameter {parameter!r} {reason}.", task=self._name, parameter=parameter
        )


def _path(at: int | str, unfit: Unfit) -> str:
    return path_text(f"args[{at}]" if isinstance(at, int) else f"kwargs{step(at)}", unfit)
