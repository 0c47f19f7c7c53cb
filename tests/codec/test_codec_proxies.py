"""Frameworks' stand-ins: lazy text, safe text, lazy objects, context locals. None of them is imported by the codec."""

from __future__ import annotations

import subprocess
import sys
import threading
from typing import Any

import pytest
from django.utils.functional import SimpleLazyObject, lazy, lazystr
from django.utils.safestring import mark_safe
from markupsafe import Markup
from werkzeug.local import LocalProxy

from fnqueue.codec import Binder, to_json
from fnqueue.errors import ArgumentNotSerializable


class LazyString:
    """As Flask-Babel's."""

    def __str__(self) -> str:
        return "hello"


def wire(value: Any) -> Any:
    return to_json(value, task="f", path="args[0]")


@pytest.mark.parametrize(
    "value",
    [mark_safe("hello"), Markup("hello"), lazystr("hello"), LazyString(), SimpleLazyObject(lambda: "hello")],
    ids=["SafeString", "Markup", "lazystr", "LazyString", "SimpleLazyObject"],
)
def test_text_in_a_frameworks_clothes_arrives_as_plain_text(value: Any) -> None:
    for found in (wire(value), wire([value])[0], wire({"a": value})["a"]):
        assert type(found) is str
        assert found == "hello"


def test_a_lazy_object_is_made_once_and_its_value_travels() -> None:
    made = []

    def make() -> dict[str, int]:
        made.append(1)
        return {"a": 1}

    proxy = SimpleLazyObject(make)
    assert wire([proxy, proxy]) == [{"a": 1}, {"a": 1}]
    assert made == [1]


def test_a_lazy_number_travels_as_its_number() -> None:
    assert wire(lazy(lambda: 7, int)()) == 7


def test_a_context_local_is_unwrapped() -> None:
    assert wire(LocalProxy(lambda: 7)) == 7
    assert wire(LocalProxy(lambda: LocalProxy(lambda: "x"))) == "x"


def test_a_lazy_object_that_fails_says_its_own_error() -> None:
    def gone() -> Any:
        raise LookupError("the session is gone")

    with pytest.raises(LookupError, match="the session is gone"):
        wire(SimpleLazyObject(gone))


def test_an_annotated_parameter_takes_the_stand_in_of_its_type() -> None:
    def greet(name: str, count: int) -> None: ...

    args, _ = Binder(greet, "f").check((mark_safe("hello"), SimpleLazyObject(lambda: 3)), {})
    assert args == ("hello", 3)


def test_a_stand_in_for_what_cannot_travel_is_refused_under_its_own_name() -> None:
    with pytest.raises(ArgumentNotSerializable, match="is a lock, which guards this process only"):
        wire(SimpleLazyObject(threading.Lock))


def test_the_codec_imports_no_framework_and_no_pydantic() -> None:
    script = (
        "import sys, fnqueue.codec; "
        "print([m for m in ('pydantic', 'django', 'flask', 'werkzeug', 'numpy', 'sqlalchemy', 'attrs', 'zoneinfo') "
        "if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"
