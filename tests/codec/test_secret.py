"""A Secret shows itself to nobody who did not ask by name, and comes out of a call as it went in."""

from __future__ import annotations

import copy
import dataclasses
import json
import pickle
import pprint
import traceback
from datetime import date
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fnqueue import ArgumentError, Secret
from fnqueue.codec import Binder, result_to_json, to_json
from fnqueue.codec.secret import MASK, masked, reveal, secrets_in
from fnqueue.errors import ArgumentNotSerializable, ArgumentsDoNotFit

CARD = "4111-1111-1111-1111"


def travelled(function: Any, *args: Any, **kwargs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """What the worker gets, after real JSON."""
    binder = Binder(function, "shop.charge")
    wire = msgspec.json.encode(binder.check(args, kwargs), enc_hook=reveal)
    return binder.decode(*msgspec.json.decode(wire))


@pytest.mark.parametrize(
    "shown",
    [str, repr, "{}".format, "{!r}".format, "{:>30}".format, "%s".__mod__, pprint.pformat, ascii,
     lambda secret: f"{secret}", lambda secret: str([secret]), lambda secret: str({"card": secret}),
     lambda secret: str(vars(secret)) if hasattr(secret, "__dict__") else ""],
)  # fmt: skip
def test_it_is_never_shown(shown: Any) -> None:
    assert CARD not in shown(Secret(CARD))


def test_it_is_given_to_who_asks_by_name() -> None:
    assert Secret(CARD).get_secret_value() == CARD
    assert Secret(Secret(CARD)).get_secret_value() == CARD
    assert f"{Secret(CARD):>6}" == "   ***"


def test_it_is_not_pickled_and_is_no_json() -> None:
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(Secret(CARD))
    with pytest.raises(TypeError):
        json.dumps(Secret(CARD))
    with pytest.raises(TypeError):
        msgspec.json.encode(Secret(CARD))


def test_two_are_equal_when_their_values_are() -> None:
    assert Secret(CARD) == Secret(CARD)
    assert Secret(CARD) != Secret("other")
    assert Secret(1) != Secret(True)
    assert Secret(CARD) != CARD
    assert len({Secret(CARD), Secret(CARD), Secret("other")}) == 2
    assert copy.copy(Secret(CARD)) == copy.deepcopy(Secret(CARD)) == Secret(CARD)
    inner = ["a"]
    assert copy.deepcopy(Secret(inner)).get_secret_value() is not inner


# ---------------------------------------------------------------- on its way


@dataclasses.dataclass
class Order:
    card: Secret[str]
    amount: int


def test_it_arrives_as_a_secret_wherever_it_stands() -> None:
    def charge(
        plain,
        card: Secret[str],
        maybe: Secret[bytes] | None,
        many: list[Secret[int]],
        named: dict[str, Secret[str]],
        order: Order,
        any: Secret,  # type: ignore[type-arg]
        *,
        born: Secret[date],
    ) -> None: ...

    args: tuple[Any, ...] = (
        Secret(CARD), Secret(CARD), Secret(b"\x00pin"), [Secret(1), Secret(2)], {"a": Secret("x")},
        Order(Secret(CARD), 7), Secret({"deep": [1, (2, 3)]}),
    )  # fmt: skip
    assert travelled(charge, *args, born=Secret(date(1980, 1, 1))) == (args, {"born": Secret(date(1980, 1, 1))})
    assert travelled(charge, *args[:2], None, *args[3:], born=Secret(date(1980, 1, 1)))[0][2] is None


def test_what_the_caller_seals_is_still_hidden_until_it_is_json() -> None:
    def charge(card: Secret[str], other: Any) -> None: ...

    wire = Binder(charge, "shop.charge").check((Secret(CARD), [{"x": Secret(CARD)}]), {})
    assert CARD not in repr(wire)


def test_a_bare_value_is_refused_where_a_secret_is_asked_for_and_is_not_quoted() -> None:
    def charge(card: Secret[str]) -> None: ...

    with pytest.raises(
        ArgumentsDoNotFit, match=r"expects Secret\[str\], got str: wrap it, as fnqueue.Secret"
    ) as refused:
        Binder(charge, "shop.charge").check((CARD,), {})
    assert CARD not in "".join(traceback.format_exception(refused.value))


@pytest.mark.parametrize(
    ("annotation", "value"),
    [(Secret[str], Secret(41111)), (Secret[int], Secret(CARD)), (Secret[date], Secret(CARD)), (str, Secret(CARD)),
     (list[str], [Secret(CARD)]), (list[Secret[str]], [CARD]), (Order, {"card": CARD, "amount": 1}),
     (Secret[str], Secret(object())), (Secret[float], Secret(float("nan")))],
)  # fmt: skip
def test_a_value_of_another_kind_is_refused_and_not_quoted(annotation: Any, value: Any) -> None:
    def charge(card: Any) -> None: ...

    charge.__annotations__["card"] = annotation
    with pytest.raises(ArgumentError) as refused:
        Binder(charge, "shop.charge").check((value,), {})
    text = "".join(traceback.format_exception(refused.value)) + repr(vars(refused.value))
    assert CARD not in text
    assert "41111" not in text


def test_a_message_that_was_sent_before_the_annotation_said_secret_still_runs() -> None:
    def charge(card: Secret[str], when: Secret[date]) -> None: ...

    args, _ = Binder(charge, "shop.charge").decode([CARD, "1980-01-01"], {})
    assert args == (Secret(CARD), Secret(date(1980, 1, 1)))


def test_a_task_that_no_longer_takes_a_secret_is_not_given_its_value() -> None:
    def charge(card: str) -> None: ...

    with pytest.raises(ArgumentsDoNotFit, match="expects str, got Secret") as refused:
        Binder(charge, "shop.charge").decode([{"$secret": CARD}], {})
    assert CARD not in str(refused.value)


def test_a_users_own_object_that_looks_like_one_is_none() -> None:
    def charge(card: Any) -> None: ...

    assert travelled(charge, {"$secret": "x"}) == (({"$secret": "x"},), {})


def test_it_is_not_taken_where_it_would_be_kept() -> None:
    for keep in (
        lambda: result_to_json(Secret(CARD), "shop.charge"),
        lambda: result_to_json({"card": [Secret(CARD)]}, "shop.charge"),
        lambda: to_json(Secret(CARD), task="shop.charge", path="args[0]"),
    ):
        with pytest.raises(
            ArgumentNotSerializable, match="is a Secret, which travels only in the arguments"
        ) as refused:
            keep()
        assert CARD not in "".join(traceback.format_exception(refused.value))


def test_a_secret_of_pydantic_is_told_what_to_do() -> None:
    pydantic = pytest.importorskip("pydantic")

    def charge(card: Any) -> None: ...

    with pytest.raises(
        ArgumentNotSerializable, match=r"is a SecretStr: pass fnqueue\.Secret\(x\.get_secret_value\(\)\)"
    ):
        Binder(charge, "shop.charge").check((pydantic.SecretStr(CARD),), {})


# ---------------------------------------------------------------- masking


def test_all_are_found_in_what_a_task_was_given() -> None:
    class Thing:
        def __init__(self) -> None:
            self.card = Secret("5")

    class Slim(msgspec.Struct):
        card: Secret[str]

    loop: list[Any] = [Secret("6")]
    loop.append(loop)
    found = secrets_in(
        (Secret("1"), [Secret("2")], {Secret("3"): (Secret("4"),)}, Thing(), Slim(Secret("7")), {Secret("8")}), {"a": 1}
    )
    assert {secret.get_secret_value() for secret in found} == set("1234578")
    assert Secret("6") in secrets_in(loop)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (CARD, f"card {CARD} was declined"),
        ("a b/ü&", "GET https://pay.example/?token=a+b%2F%C3%BC%26 failed"),
        ("a b/ü&", "GET https://pay.example/a%20b/%C3%BC%26 failed"),
        ("two\nrows", "KeyError: 'two\\nrows'"),
        ("gr\u00fcn!", '{"token": "gr\\u00fcn!"}'),
        (b"\xff\x00pin!", "b'\\xff\\x00pin!'"),
        (b"\xff\x00pin!", "ff0070696e21"),
        (41111111, "no 41111111"),
        ("Hunter2!Grün", "no user HUNTER2!GRÜN, nor hunter2!grün, nor hunter2%21gr%c3%bcn"),
        ("hunter2!" * 1000, f"no {'hunter2!' * 1000}"),
        ({"user": "ada", "password": ["hunter2!"]}, "hunter2! is wrong"),
    ],
)
def test_a_value_is_masked_in_the_usual_spellings(value: Any, text: str) -> None:
    shown = masked(text, [Secret(value)])
    assert MASK in shown
    assert shown != text
    leaks = ("4111", "token=a", "a%20b", "rows", "gr\u00fc", "gr\\", "pin", "hunter2")
    assert not any(part in shown.lower() for part in leaks)


@given(st.text(min_size=4), st.text(), st.text())
def test_no_masked_text_holds_the_value(value: str, before: str, after: str) -> None:
    if value in MASK * 2 or MASK[0] in value:
        return  # a value of stars is in the mask itself
    assert value not in masked(f"{before}{value}{after}", [Secret(value)])


def test_a_value_that_is_too_short_to_be_one_masks_nothing() -> None:
    assert masked("7 of 12", [Secret("7"), Secret(""), Secret(12), Secret(None), Secret(True)]) == "7 of 12"
