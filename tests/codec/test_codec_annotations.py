"""Values against annotations: what fits comes back as it was, what does not is refused in the words below."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, NewType, Optional, TypedDict, TypeVar
from uuid import UUID

import msgspec
import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fnqueue.codec import Binder
from fnqueue.errors import ArgumentError, ArgumentNotSerializable, ArgumentsDoNotFit

if TYPE_CHECKING:
    from nowhere import Ghost

AccountId = NewType("AccountId", int)
T = TypeVar("T")
Short = TypeVar("Short", str, bytes)


class Color(Enum):
    RED = "r"
    BLUE = "b"


class Level(IntEnum):
    LOW = 1


class Size(StrEnum):
    BIG = "big"


class Odd(Enum):
    A = (1, 2)


@dataclass
class Line:
    text: str
    price: Decimal
    tags: set[str] = field(default_factory=set)
    extra: Any = None


@dataclass
class Order:
    lines: list[Line]
    color: Color
    at: datetime | None = None


@dataclass
class Haunted:
    ghost: Ghost


@dataclass
class Strict:
    number: int

    def __post_init__(self) -> None:
        if self.number < 0:
            raise ValueError("hunter2")


class Cat(msgspec.Struct, tag="cat", rename="camel"):
    full_name: str


class Dog(msgspec.Struct, tag="dog"):
    age: int


class Flat(msgspec.Struct, array_like=True):
    a: int
    b: str


class Point(NamedTuple):
    x: int
    y: str


class Movie(TypedDict):
    name: str
    year: int


class Profile(pydantic.BaseModel):
    name: str = pydantic.Field(alias="fullName")
    born: date | None = None
    site: pydantic.HttpUrl | None = None
    color: Color = Color.RED


class Vault(pydantic.BaseModel):
    secret: pydantic.SecretStr


class Invoice:
    _meta = SimpleNamespace(pk="id")


class WebRequest: ...


def send(binder: Binder, *args: Any, **kwargs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Through the wire."""
    out, named = binder.check(args, kwargs)
    frame = msgspec.json.decode(msgspec.json.encode({"args": out, "kwargs": named}))
    return binder.decode(frame["args"], frame["kwargs"])


def annotated(annotation: Any) -> Binder:
    def f(it): ...

    f.__annotations__["it"] = annotation
    return Binder(f, "shop.f")


# ---------------------------------------------------------------- values that fit


ORDER = Order([Line("a", Decimal("1.50"), {"x"}, (1, 2))], Color.BLUE, datetime(2026, 11, 1, tzinfo=UTC))


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (int, 7),
        (int, True),
        (AccountId, 7),
        (float, 1.5),
        (str, "naïve"),
        (bool, False),
        (bytes, b"\xff"),
        (date, date(2026, 11, 1)),
        (datetime, datetime(2026, 11, 1, tzinfo=UTC)),
        (timedelta, timedelta(days=-1)),
        (Decimal, Decimal("1.10")),
        (UUID, UUID(int=5)),
        (None, None),
        (int | None, None),
        (Optional[date], date(2026, 11, 1)),  # noqa: UP045 - the old spelling must work
        (date | str, "2026-11-01"),
        (date | str, date(2026, 11, 1)),
        (Decimal | int, 5),
        (list, [1, "a", {2}]),
        (list[int], [1, 2]),
        (list[date | str], ["2026-11-01", date(2026, 11, 1)]),
        (list[Any], [1, b"x"]),
        (dict, {"a": (1,)}),
        (dict[str, Any], {"a": {1}}),
        (dict[str, list[Decimal]], {"a": [Decimal(1)]}),
        (Mapping[str, int], {"a": 1}),
        (Sequence[int], [1]),
        (Iterable[int], (1, 2)),
        (tuple, (1, "a")),
        (tuple[int, ...], (1, 2)),
        (tuple[int, date], (1, date(2026, 11, 1))),
        (set[str], {"a"}),
        (frozenset[int], frozenset({1})),
        (Literal["a", 1], 1),
        (Literal[True, None], True),
        (Annotated[int, "a note", ["unhashable"]], 3),
        (Annotated[int, msgspec.Meta(ge=0)], 3),
        (Any, {1: 2}.keys() and {"$date": (1,)}),
        (object, b"x"),
        (T, {1}),
        (Short, b"x"),
        (Color, Color.BLUE),
        (Level, Level.LOW),
        (Size, Size.BIG),
        (Color | None, Color.RED),
        (list[Color], [Color.RED]),
        (dict[str, Color], {"a": Color.RED}),
        (Line, Line("a", Decimal("2.50"))),
        (Order, ORDER),
        (list[Order], [ORDER, ORDER]),
        (Order | None, ORDER),
        (Point, Point(1, "a")),
        (list[Point], [Point(1, "a")]),
        (Movie, {"name": "M", "year": 1931}),
        (Cat, Cat("Tom")),
        (Cat | Dog, Dog(3)),
        (list[Cat | Dog], [Cat("Tom"), Dog(3)]),
        (Flat, Flat(1, "b")),
        (Profile, Profile(fullName="A", born=date(2000, 1, 1), site="https://example.org/", color=Color.BLUE)),
        (list[Profile], [Profile(fullName="A")]),
        (Profile | None, Profile(fullName="A")),
    ],
    ids=str,
)
def test_a_value_that_fits_its_annotation_comes_back_as_it_was(annotation: Any, value: Any) -> None:
    (arrived,), _ = send(annotated(annotation), value)
    assert arrived == value
    assert type(arrived) is type(value)


@pytest.mark.parametrize(
    ("annotation", "value", "arrives"),
    [
        (float, 1, 1.0),
        (list[float], [1, 2.5], [1.0, 2.5]),
        (tuple[int, ...], [1, 2], (1, 2)),
        (set[int], [1, 2], {1, 2}),
        (Color, "r", Color.RED),
        (Line, {"text": "a", "price": Decimal(1)}, Line("a", Decimal(1))),
    ],
)
def test_the_worker_converts_by_annotation(annotation: Any, value: Any, arrives: Any) -> None:
    (arrived,), _ = send(annotated(annotation), value)
    assert (arrived, type(arrived)) == (arrives, type(arrives))


@pytest.mark.parametrize(
    ("annotation", "wire", "arrives"),
    [
        (date, "2026-11-01", date(2026, 11, 1)),
        (datetime | None, "2026-11-01T09:00:00Z", datetime(2026, 11, 1, 9, tzinfo=UTC)),
        (Decimal, "1.50", Decimal("1.50")),
        (UUID, str(UUID(int=5)), UUID(int=5)),
        (date | str, "2026-11-01", "2026-11-01"),
    ],
)
def test_the_worker_reads_what_was_sent_before_the_annotation_was_there(
    annotation: Any, wire: Any, arrives: Any
) -> None:
    assert annotated(annotation).decode([wire], {}) == ((arrives,), {})


def test_text_never_becomes_bytes() -> None:
    """msgspec would read "abcd" as base64."""
    with pytest.raises(ArgumentsDoNotFit, match="expects bytes, got str"):
        annotated(bytes).decode(["abcd"], {})


def test_a_subclass_of_dict_travels_where_the_annotation_says_dict() -> None:
    from collections import OrderedDict

    (arrived,), _ = send(annotated(dict[str, Any]), OrderedDict(a=OrderedDict(b=1)))
    assert arrived == {"a": {"b": 1}}
    assert type(arrived) is type(arrived["a"]) is dict


# ---------------------------------------------------------------- values that do not fit: the words


class Other(Enum):
    RED = "x"


WRONG: dict[str, tuple[Any, Any, str]] = {
    "int for str": (str, 7, "expects str, got int."),
    "str for int": (int, "7", "expects int, got str."),
    "float for int": (int, 7.0, "expects int, got float."),
    "int for bool": (bool, 1, "expects bool, got int."),
    "None for int": (int, None, "expects int, got NoneType."),
    "str for date": (date, "2026-11-01", "expects date, got str."),
    "date for datetime": (datetime, date(2026, 11, 1), "expects datetime, got date."),
    "float for Decimal": (Decimal, 1.5, "expects Decimal, got float."),
    "str for bytes": (bytes, "abcd", "expects bytes, got str."),
    "union": (int | str | None, 1.5, "expects int | str | None, got float."),
    "old union": (Optional[int], "a", "expects Optional[int], got str."),  # noqa: UP045
    "list for dict": (dict, [], "expects dict, got list."),
    "item": (list[int], [1, "a"], "expects list[int]: expected int, got str at it[1]."),
    "deep item": (
        dict[str, list[int]],
        {"a": [1, None]},
        "expects dict[str, list[int]]: expected int, got null at it[...][1].",
    ),
    "tuple's length": (tuple[int, int], (1,), "expects tuple[int, int]: expected array of length 2, got 1."),
    "Literal": (Literal["a", "b"], "c", "expects Literal['a', 'b'], got str."),
    "bound": (Annotated[int, msgspec.Meta(ge=0)], -1, "expects Annotated[int, Meta(ge=0)]: expected int >= 0."),
    "Enum": (Color, "purple", "expects Color: not one of its values."),
    "Enum by number": (Color, 5, "expects Color, got int."),
    "field": (Line, {"text": 5, "price": Decimal(1)}, "expects Line: expected str, got int at it.text."),
    "missing field": (Line, {"text": "a"}, "expects Line: object missing required field price."),
    "own check": (Strict, {"number": -1}, "expects Strict: refused by the type's own check."),
    "model": (Profile, {"fullName": 5}, "expects Profile: does not fit the model Profile."),
    "TypedDict": (Movie, {"name": "M"}, "expects Movie: object missing required field year."),
    "TypedDict with more": (
        Movie,
        {"name": "M", "year": 1931, "stars": 5},
        "expects Movie, which has no key 'stars'.",
    ),
    "other union": (
        Color | str,
        Color.RED,
        "is annotated Color | str, and the Color would arrive as str.",
    ),
    "class or dict": (
        Line | dict,
        Line("a", Decimal(1)),
        "is annotated Line | dict, and the Line would arrive as dict.",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_value_of_the_wrong_type_is_refused_at_the_caller_in_these_words(name: str) -> None:
    annotation, value, words = WRONG[name]
    with pytest.raises(ArgumentsDoNotFit) as caught:
        annotated(annotation).check((value,), {})
    assert str(caught.value) == f"shop.f: parameter 'it' {words}"
    assert (caught.value.task, caught.value.parameter) == ("shop.f", "it")
    assert caught.value.__context__ is None or caught.value.__suppress_context__, "the cause may quote the value"


def test_an_instance_of_another_class_is_refused_with_what_to_do() -> None:
    with pytest.raises(ArgumentNotSerializable, match=r"args\[0\] is a member of the Enum Other, and no annotation"):
        annotated(Color).check((Other.RED,), {})


def test_a_model_that_would_lose_its_secret_is_refused() -> None:
    with pytest.raises(ArgumentNotSerializable, match="does not come back equal from model_dump") as caught:
        annotated(Vault).check((Vault(secret="hunter2"),), {})
    assert "hunter2" not in str(caught.value)


def test_the_worker_names_the_parameter_of_what_does_not_fit() -> None:
    def f(account_id: int, month: date) -> None: ...

    binder = Binder(f, "shop.f")
    for args in (["7", {"$date": "2026-11-01"}], [7, {"$date": "x"}], [7, {"$who": 1}], [7], [7, {}, 1]):
        with pytest.raises(ArgumentsDoNotFit) as caught:
            binder.decode(args, {})
        assert caught.value.parameter in ("account_id", "month", None)
    with pytest.raises(
        ArgumentsDoNotFit, match=r"^shop\.f: parameter 'month' cannot be read: args\[1\] is tagged \$date"
    ):
        binder.decode([7, {"$date": "x"}], {})


@pytest.mark.parametrize(("args", "kwargs"), [(None, {}), ("ab", {}), ([], None), ([], []), ({}, {}), (5, {})])
def test_a_message_without_arguments_is_refused(args: Any, kwargs: Any) -> None:
    with pytest.raises(ArgumentsDoNotFit, match="the message holds no arguments"):
        Binder(lambda: None, "shop.f").decode(args, kwargs)


ANNOTATIONS = [int, float, str, bytes, date, Decimal, UUID, datetime | None, date | str, list[date], dict[str, Decimal]]
ANNOTATIONS += [set[int], tuple[int, ...], tuple[int, str], Literal["a", 1], Color, Level, Line, Order, Cat | Dog, Flat]
ANNOTATIONS += [Point, Movie, Profile, list[Profile], Strict, Any, Annotated[int, msgspec.Meta(ge=0)]]
TAGS = ["$date", "$datetime", "$decimal", "$set", "$tuple", "$dict", "$timedelta", "$uuid", "$bytes", "text", "lines"]
WIRES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(2**300), 2**300)
    | st.floats()
    | st.text(max_size=9)
    | st.sampled_from(["2026-11-01", "r", "1e999999", "P1D", "cat"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(TAGS) | st.text(), inner, max_size=3),
    max_leaves=10,
)


@pytest.mark.filterwarnings("ignore:Generating overly large repr")  # of the strategy itself
@settings(deadline=None, max_examples=500)
@given(st.sampled_from(ANNOTATIONS), WIRES)
def test_whatever_arrives_fits_or_is_refused_and_nothing_else_is_raised(annotation: Any, wire: Any) -> None:
    try:
        (arrived,), _ = annotated(annotation).decode([wire], {})
    except ArgumentsDoNotFit:
        return
    assert annotated(annotation).check((arrived,), {}), "what the worker takes, a caller may send"


# ---------------------------------------------------------------- annotations that nothing can meet: the words


FAULTS: dict[str, tuple[Any, str]] = {
    "Callable": (
        Callable[[], int],
        "is annotated Callable[[], int]: a function cannot travel: take a name, or make it a task and defer that.",
    ),
    "request": (
        WebRequest,
        "is annotated WebRequest: a WebRequest lives only in the web process: take the values that the task needs.",
    ),
    "model": (
        Invoice,
        "is annotated Invoice: an Invoice is a database record: take its key, and load it in the task.",
    ),
    "list of models": (
        list[Invoice],
        "is annotated list[Invoice]: an Invoice is a database record: take its key, and load it in the task.",
    ),
    "path": (Path, "is annotated Path: a Path cannot travel: take str, and make the Path in the task."),
    "iterator": (
        Iterator[int],
        "is annotated Iterator[int]: an Iterator runs only in the process that made it: take a list.",
    ),
    "any class": (
        Binder,
        "is annotated Binder: a Binder cannot travel in a message: take plain values, a dataclass or a pydantic model.",
    ),
    "class object": (
        type[int],
        "is annotated type[int]: a type cannot travel in a message: "
        "take plain values, a dataclass or a pydantic model.",
    ),
    "Enum of tuples": (
        Odd,
        "is annotated Odd, which cannot be made from a message: Enums must contain either all str or all int values.",
    ),
    "Literal of Enum": (
        Literal[Color.RED],
        "is annotated Literal[<Color.RED: 'r'>]: a Literal of Enum members cannot be told from its values: "
        "annotate the Enum.",
    ),
    "name under TYPE_CHECKING": (
        "list[Ghost]",
        "is annotated list[Ghost], and 'Ghost' does not exist at run time (it is imported only under TYPE_CHECKING, "
        "or local to a function): import it for real, in the module of the task.",
    ),
    "field under TYPE_CHECKING": (
        Haunted,
        "is annotated Haunted: Haunted has a field annotated with 'Ghost', which does not exist at run time "
        "(imported only under TYPE_CHECKING, or local to a function).",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_an_annotation_that_nothing_can_meet_is_told_at_the_first_defer_in_these_words(name: str) -> None:
    annotation, words = FAULTS[name]
    with pytest.raises(ArgumentsDoNotFit) as caught:
        annotated(annotation).check((1,), {})
    assert str(caught.value) == f"shop.f: parameter 'it' {words}"


def test_a_parameter_that_nobody_gives_may_be_annotated_with_anything() -> None:
    def f(number: int, request: WebRequest | None = None, ghost: Ghost | None = None) -> Ghost: ...

    assert send(Binder(f, "f"), 7) == ((7,), {})


def test_a_model_given_for_a_models_annotation_hears_about_its_key_first() -> None:
    with pytest.raises(ArgumentNotSerializable, match=r"pass invoice\.pk, not the Invoice: load it in the task"):
        annotated(Invoice).check((Invoice(),), {})


def test_hints_are_resolved_at_the_first_call_and_not_before() -> None:
    def f(it: Later) -> None: ...  # noqa: F821

    binder = Binder(f, "f")
    globals()["Later"] = int
    try:
        assert binder.check((1,), {}) == ((1,), {})
    finally:
        del globals()["Later"]


def test_a_name_that_never_comes_is_told_with_its_parameter() -> None:
    def f(number: int, it: Never) -> None: ...  # noqa: F821

    with pytest.raises(ArgumentsDoNotFit, match="parameter 'it' is annotated Never, and 'Never' does not exist"):
        Binder(f, "f").check((1, 1), {})


def test_every_refusal_is_an_argument_error_and_a_type_error() -> None:
    for kind in (ArgumentsDoNotFit, ArgumentNotSerializable):
        assert issubclass(kind, ArgumentError)
        assert issubclass(kind, TypeError)
