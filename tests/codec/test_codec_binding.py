"""A call against a function's signature: names as Python binds them, refused in the words below."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fnqueue.codec import Binder
from fnqueue.errors import ArgumentNotSerializable, ArgumentsDoNotFit, NotATask, OptionInvalid


class WebRequest: ...


def send(binder: Binder, *args: Any, **kwargs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Through the wire."""
    out, named = binder.check(args, kwargs)
    frame = msgspec.json.decode(msgspec.json.encode({"args": out, "kwargs": named}))
    return binder.decode(frame["args"], frame["kwargs"])


def plain(a, b, c=3): ...


def only_position(a, b=2, /, c=3): ...


def only_name(a, *, b, c=3): ...


def star(a, *rest: int, b=2, **others: str): ...


def position_and_others(a, /, **others): ...


def nothing(): ...


CALLS: dict[str, tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any], str]] = {
    "too many": (
        plain,
        (1, 2, 3, 4),
        {},
        "takes 3 positional arguments, and 4 were given; its parameters are: a, b, c.",
    ),
    "none taken": (nothing, (1,), {}, "takes no positional arguments, and 1 were given; its parameters are: none."),
    "missing": (plain, (1,), {}, "misses the parameter 'b'; its parameters are: a, b, c."),
    "two missing": (plain, (), {}, "misses the parameters 'a', 'b'; its parameters are: a, b, c."),
    "unexpected": (plain, (1, 2), {"d": 1}, "has no parameter 'd'; its parameters are: a, b, c."),
    "twice": (plain, (1, 2), {"a": 1}, "is given 'a' twice: by position and by name; its parameters are: a, b, c."),
    "positional only": (
        only_position,
        (),
        {"a": 1},
        "takes 'a' by position only: pass it without its name; its parameters are: a, b, c.",
    ),
    "keyword only": (
        only_name,
        (1, 2),
        {},
        "takes 1 positional argument, and 2 were given; its parameters are: a, b, c.",
    ),
    "keyword missing": (only_name, (1,), {}, "misses the parameter 'b'; its parameters are: a, b, c."),
    "others swallow a positional": (
        position_and_others,
        (),
        {"a": 1},
        "misses the parameter 'a'; its parameters are: a, others.",
    ),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_call_that_does_not_bind_is_refused_on_both_sides_in_these_words(name: str) -> None:
    function, args, kwargs, words = CALLS[name]
    binder = Binder(function, "shop.f")
    for attempt in (
        lambda: binder.check(args, kwargs),
        lambda: binder.decode(list(args), kwargs),
        lambda: binder.bound(args, kwargs),
    ):
        with pytest.raises(ArgumentsDoNotFit) as caught:
            attempt()
        assert str(caught.value) == f"shop.f {words}"


@settings(deadline=None, max_examples=300)
@given(
    st.sampled_from([plain, only_position, only_name, star, position_and_others, nothing]),
    st.lists(st.integers(0, 9), max_size=5),
    st.dictionaries(st.sampled_from("abcdx"), st.sampled_from(["1", "2"]), max_size=4),
)
def test_a_call_binds_exactly_when_python_binds_it(function: Any, args: list[int], kwargs: dict[str, str]) -> None:
    binder = Binder(function, "shop.f")
    try:
        # The call itself, and not inspect's bind: that of Python 3.13.0 lets **others take what only a position gives.
        function(*args, **kwargs)
    except TypeError:
        with pytest.raises(ArgumentsDoNotFit):
            binder.check(args, kwargs)
        return
    python = inspect.signature(function).bind(*args, **kwargs)
    python.apply_defaults()
    assert send(binder, *args, **kwargs) == (tuple(args), kwargs)
    assert binder.bound(args, kwargs) == python.arguments


def test_each_of_args_and_kwargs_is_checked_by_the_annotation_of_all() -> None:
    binder = Binder(star, "f")
    assert send(binder, 0, 1, 2, b=5, z="a") == ((0, 1, 2), {"b": 5, "z": "a"})
    with pytest.raises(ArgumentsDoNotFit, match="parameter 'rest' expects int, got str"):
        binder.check((0, 1, "2"), {})
    with pytest.raises(ArgumentsDoNotFit, match="parameter 'z' expects str, got int"):
        binder.check((0,), {"z": 1})


def test_the_context_of_a_bound_task_is_no_parameter_of_the_caller() -> None:
    def f(context: WebRequest, number: int) -> None: ...

    binder = Binder(f, "f", bind=True)
    assert binder.parameters == ("number",)
    assert send(binder, 7) == ((7,), {})
    assert send(binder, number=7) == ((), {"number": 7})
    assert binder.bound((7,), {}) == {"number": 7}
    with pytest.raises(ArgumentsDoNotFit, match="takes 1 positional argument, and 2 were given"):
        binder.check((None, 7), {})


def test_bind_without_a_parameter_to_take_the_context_is_told() -> None:
    for function in (nothing, lambda *, context: None):
        with pytest.raises(OptionInvalid, match="bind=True passes the context as the first parameter"):
            Binder(function, "f", bind=True).check((), {})


def test_a_callable_without_a_signature_is_told() -> None:
    with pytest.raises(NotATask, match="has no signature that could be read"):
        Binder(type, "f").check((), {})


def test_a_decorated_function_is_checked_by_what_it_wraps() -> None:
    def inner(number: int) -> None: ...

    @functools.wraps(inner)
    def outer(*args: Any, **kwargs: Any) -> None: ...

    with pytest.raises(ArgumentsDoNotFit, match="parameter 'number' expects int, got str"):
        Binder(outer, "f").check(("a",), {})


def test_the_limit_of_values_counts_over_the_whole_call() -> None:
    binder = Binder(star, "f")
    half = [[0] * 5_000]
    with pytest.raises(ArgumentNotSerializable, match=r"kwargs\.c.*more than 10,000 values"):
        Binder(plain, "f").check((half, 1), {"c": half})
    with pytest.raises(ArgumentsDoNotFit, match="10,001 arguments"):
        binder.check((0,) * 10_001, {})
