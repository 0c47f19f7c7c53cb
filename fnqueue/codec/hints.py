"""A function's parameters and their annotations, resolved late and one by one.

At decoration the names of a module are not all there yet, so nothing is resolved before the first call; and
one annotation that cannot be resolved (its name exists only under TYPE_CHECKING) spoils only its parameter.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable
from typing import Any

from fnqueue.codec.annotations import Spec, annotation_text, compile_annotation
from fnqueue.errors import NotATask, OptionInvalid


def parameters_of(function: Callable[..., Any], name: str, *, bind: bool) -> list[inspect.Parameter]:
    """Those that a caller passes: without the context of `bind=True`. Raises NotATask, OptionInvalid."""
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (ValueError, TypeError):
        raise NotATask(f"{name}: {function!r} has no signature that could be read: wrap it in a function.") from None
    if not bind:
        return parameters
    if not parameters or parameters[0].kind not in (
        inspect.Parameter.POSITIONAL_ONLY,
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
    ):
        raise OptionInvalid(
            f"{name}: bind=True passes the context as the first parameter, and there is none to take it."
        )
    return parameters[1:]


def spec_of(function: Callable[..., Any], parameter: inspect.Parameter) -> Spec:
    """Never raises: an annotation that cannot be resolved is the Spec's fault."""
    return _spec(function, parameter.annotation)


def return_spec(function: Callable[..., Any]) -> Spec:
    """Of what the function returns. What cannot be resolved asks for nothing: a result is never refused for it."""
    try:
        annotation = inspect.signature(function).return_annotation
    except (ValueError, TypeError):
        return Spec()
    found = _spec(function, annotation)
    return Spec() if found.fault is not None or not found.rich else found


def _spec(function: Callable[..., Any], annotation: Any) -> Spec:
    if annotation is inspect.Parameter.empty:
        return Spec()
    try:
        return compile_annotation(_resolved(inspect.unwrap(function), annotation))
    except NameError as error:
        text = annotation if isinstance(annotation, str) else annotation_text(annotation)
        fault = (
            f"is annotated {text}, and {error.name!r} does not exist at run time (it is imported only under "
            "TYPE_CHECKING, or local to a function): import it for real, in the module of the task"
        )
        return Spec(text=text, exact=frozenset(), fault=fault)


def _resolved(function: Callable[..., Any], annotation: Any) -> Any:
    def holder() -> None: ...

    holder.__annotations__ = {"it": annotation}
    holder.__type_params__ = getattr(function, "__type_params__", ())  # type: ignore[attr-defined]
    scope = getattr(function, "__globals__", {})
    return typing.get_type_hints(holder, globalns=scope, include_extras=True)["it"]
