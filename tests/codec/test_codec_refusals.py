"""What may not travel, and the exact words in which a caller is told. The table is the promise."""

from __future__ import annotations

import asyncio
import io
import math
import subprocess
import sys
import textwrap
import threading
from collections import OrderedDict, defaultdict, deque, namedtuple
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum, StrEnum
from fractions import Fraction
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pydantic
import pytest
from werkzeug.datastructures import FileStorage, ImmutableMultiDict
from werkzeug.wrappers import Request

from fnqueue.codec import Binder
from fnqueue.errors import ArgumentNotSerializable


class Color(Enum):
    RED = "r"


class Size(StrEnum):
    BIG = "big"


@dataclass
class Line:
    text: str


class Struct(msgspec.Struct):
    text: str


class Model(pydantic.BaseModel):
    text: str


Point = namedtuple("Point", "x y")


class Invoice:
    _meta = SimpleNamespace(pk="id")  # as Django's


class Account:
    __mapper__ = SimpleNamespace(primary_key=(SimpleNamespace(key="number"),))  # as SQLAlchemy's


def foreign(module: str, name: str, *bases: type) -> Any:
    return type(name, bases, {"__module__": module})


async def coroutine() -> None: ...


def numbers() -> Any:
    yield 1


RING: list[Any] = []
RING.append(RING)

REFUSED: dict[str, tuple[Any, str]] = {
    "NaN": (math.nan, "is NaN or Infinity, which JSON has no word for: pass None, or leave it out."),
    "infinity": (-math.inf, "is NaN or Infinity, which JSON has no word for: pass None, or leave it out."),
    "Decimal NaN": (Decimal("NaN"), "is a Decimal that is no finite number: pass None, or leave it out."),
    "integer": (2**300, "is an integer of 301 bits, and the limit is 256."),
    "surrogate": ("\ud83d", "is text with half a surrogate pair in it, which UTF-8 cannot say: clean it first."),
    "integer key": ({1: "a"}, "has a key of type int, and keys are text in JSON: make it str(key)."),
    "tuple key": ({(1, 2): "a"}, "has a key of type tuple, and keys are text in JSON: make it str(key)."),
    "Enum key": ({Size.BIG: 1}, "has a key of type Size, and keys are text in JSON: make it str(key)."),
    "surrogate key": (
        {"\ud83d": 1},
        "has a key with half a surrogate pair in it, which UTF-8 cannot say: clean it first.",
    ),
    "Enum": (
        Color.RED,
        "is a member of the Enum Color, and no annotation says so: annotate the parameter with Color, "
        "or pass Color.RED.value.",
    ),
    "text Enum": (
        Size.BIG,
        "is a member of the Enum Size, and no annotation says so: annotate the parameter with Size, "
        "or pass Size.BIG.value.",
    ),
    "dataclass": (
        Line("a"),
        "is a Line, and no annotation says so: annotate the parameter with Line, or pass asdict(...).",
    ),
    "Struct": (
        Struct("a"),
        "is a Struct, and no annotation says so: annotate the parameter with Struct, or pass "
        "msgspec.structs.asdict(...).",
    ),
    "pydantic": (
        Model(text="a"),
        "is a Model, and no annotation says so: annotate the parameter with Model, or pass .model_dump().",
    ),
    "named tuple": (
        Point(1, 2),
        "is a Point, and no annotation says so: annotate the parameter with Point, or pass tuple(...).",
    ),
    "Django model": (Invoice(), "is an Invoice: pass invoice.pk, not the Invoice: load it in the task."),
    "SQLAlchemy model": (Account(), "is an Account: pass account.number, not the Account: load it in the task."),
    "OrderedDict": (
        OrderedDict(a=1),
        "is an OrderedDict, which would arrive as a plain dict: pass dict(value), or annotate the parameter with dict.",
    ),
    "defaultdict": (
        defaultdict(list),
        "is a defaultdict, which would arrive as a plain dict: pass dict(value), or annotate the parameter with dict.",
    ),
    "form": (
        ImmutableMultiDict([("a", "1")]),
        "is an ImmutableMultiDict, whose keys hold several values: pass value.to_dict() or value.dict().",
    ),
    "deque": (deque([1]), "is a deque, which cannot travel in a message: pass plain values."),
    "bytearray": (bytearray(b"a"), "is a bytearray: pass bytes(value)."),
    "memoryview": (memoryview(b"a"), "is a memoryview: pass bytes(value)."),
    "numpy integer": (foreign("numpy", "int64")(), "is a numpy int64: pass int(x)."),
    "numpy float": (foreign("numpy", "float64", float)(1.5), "is a numpy float64: pass float(x)."),
    "numpy bool": (foreign("numpy", "bool")(), "is a numpy bool: pass bool(x)."),
    "numpy array": (foreign("numpy", "ndarray")(), "is a numpy ndarray: pass x.tolist()."),
    "pandas frame": (
        foreign("pandas.core.frame", "DataFrame")(),
        "is a pandas DataFrame: pass plain values (.to_pydatetime(), .tolist(), .to_dict()).",
    ),
    "generator": (numbers(), "is a generator, which only this process can run: pass a list."),
    "iterator": (
        iter([1]),
        "is a list_iterator, an iterator that only this process can run: pass a list.",
    ),
    "function": (numbers, "is a function, which cannot travel: pass a name, or make it a task and defer that."),
    "lambda": (lambda: 1, "is a function, which cannot travel: pass a name, or make it a task and defer that."),
    "method": ("".join, "is a function, which cannot travel: pass a name, or make it a task and defer that."),
    "partial": (
        partial(numbers),
        "is a function, which cannot travel: pass a name, or make it a task and defer that.",
    ),
    "class": (Line, "is a class, which cannot travel: pass a name, and choose the class in the task."),
    "module": (math, "is a module, which cannot travel: import it in the task."),
    "file": (io.StringIO("a"), "is a StringIO, an open file: save it, and pass its path or key."),
    "upload": (FileStorage(), "is a FileStorage, an open file: save it, and pass its path or key."),
    "request": (
        Request({}),
        "is a Request, which lives only in this process: pass the values that the task needs.",
    ),
    "lock": (threading.Lock(), "is a lock, which guards this process only: take it in the task."),
    "event": (threading.Event(), "is an Event, which guards this process only: take it in the task."),
    "asyncio lock": (asyncio.Lock(), "is a Lock, which guards this process only: take it in the task."),
    "exception": (ValueError("a"), "is a ValueError, an exception: pass its text."),
    "path": (Path("a"), "is a PosixPath, which cannot travel in a message: pass plain values."),
    "fraction": (Fraction(1, 2), "is a Fraction, which cannot travel in a message: pass plain values."),
    "complex": (1j, "is a complex, which cannot travel in a message: pass plain values."),
    "range": (range(3), "is a range, which cannot travel in a message: pass plain values."),
    "object": (object(), "is an object, which cannot travel in a message: pass plain values."),
}


def store(thing): ...


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_travel_is_refused_in_these_words(name: str) -> None:
    value, words = REFUSED[name]
    with pytest.raises(ArgumentNotSerializable) as caught:
        Binder(store, "shop.store").check((value,), {})
    assert str(caught.value) == f"shop.store: parameter 'thing': args[0] {words}"


def test_a_coroutine_that_was_never_awaited_is_refused() -> None:
    pending = coroutine()
    with pytest.raises(ArgumentNotSerializable, match="is a coroutine that was never awaited: pass what it returns"):
        Binder(store, "shop.store").check((pending,), {})
    pending.close()


def test_the_error_carries_task_parameter_and_path() -> None:
    with pytest.raises(ArgumentNotSerializable) as caught:
        Binder(store, "shop.store").check((), {"thing": {"lines": [1, 2, {"due date": {"a", Fraction(1)}}]}})
    error = caught.value
    assert (error.task, error.parameter) == ("shop.store", "thing")
    assert error.path.startswith('kwargs.thing.lines[2]["due date"]')


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ([[1], [2, {"a": (object(),)}]], "args[0][1][1].a[0]"),
        ({"k" * 90: object()}, "args[0][...]"),
        ({"a\nb": object()}, "args[0][...]"),
        ([1] * 20 + [object()], "args[0][20]"),
    ],
)
def test_the_path_leads_to_the_value(value: Any, path: str) -> None:
    with pytest.raises(ArgumentNotSerializable) as caught:
        Binder(store, "shop.store").check((value,), {})
    assert caught.value.path == path


def test_the_path_of_a_list_in_itself_is_cut() -> None:
    with pytest.raises(ArgumentNotSerializable) as caught:
        Binder(store, "shop.store").check((RING,), {})
    # 32 steps of three characters: whole. With longer names it is cut.
    assert caught.value.path == "args[0]" + "[0]" * 32
    named: dict[str, Any] = {}
    named["itself"] = named
    with pytest.raises(ArgumentNotSerializable) as caught:
        Binder(store, "shop.store").check((named,), {})
    assert caught.value.path.endswith("...")
    assert len(caught.value.path) < 100


def test_a_refusal_never_quotes_the_value() -> None:
    class Holder:
        def __repr__(self) -> str:
            return "hunter2"

        __str__ = __repr__

    for value in (Holder(), [Holder()], {"a": Holder()}, ValueError("hunter2"), FileStorage(filename="hunter2")):
        with pytest.raises(ArgumentNotSerializable) as caught:
            Binder(store, "shop.store").check((value,), {})
        assert "hunter2" not in str(caught.value)
        assert caught.value.__cause__ is None
        assert caught.value.__suppress_context__


def test_djangos_own_records_querysets_requests_and_uploads_are_refused_in_their_words() -> None:
    """In a process of its own: Django is configured once per process."""
    script = textwrap.dedent("""
        import django
        from django.conf import settings
        settings.configure(USE_TZ=True)
        django.setup()
        from django.core.files.uploadedfile import SimpleUploadedFile
        from django.db import models
        from django.http import HttpRequest, QueryDict
        from django.utils.functional import SimpleLazyObject
        from fnqueue.codec import Binder

        class Invoice(models.Model):
            class Meta:
                app_label = "shop"

        def store(thing): ...

        for value in (
            Invoice(pk=7), SimpleLazyObject(lambda: Invoice(pk=7)), Invoice.objects.all(), HttpRequest(),
            SimpleUploadedFile("a.txt", b"a"), QueryDict("a=1"),
        ):
            try:
                Binder(store, "f").check((value,), {})
            except Exception as error:
                print(error)
    """)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert [line.removeprefix("f: parameter 'thing': args[0] ") for line in done.stdout.splitlines()] == [
        "is an Invoice: pass invoice.pk, not the Invoice: load it in the task.",
        "is an Invoice: pass invoice.pk, not the Invoice: load it in the task.",
        'is a QuerySet: pass the keys, as list(queryset.values_list("pk", flat=True)), and load in the task.',
        "is a HttpRequest, which lives only in this process: pass the values that the task needs.",
        "is a SimpleUploadedFile, an open file: save it, and pass its path or key.",
        "is a QueryDict, whose keys hold several values: pass value.to_dict() or value.dict().",
    ]
