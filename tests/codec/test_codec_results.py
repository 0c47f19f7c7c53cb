"""Results: by their tags, and by the return annotation where the reader knows the function."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import Enum
from typing import Any

import pytest

from fnqueue.codec import Binder, result_from_json, result_to_json
from fnqueue.errors import ArgumentNotSerializable, ResultUnreadable


class Color(Enum):
    RED = "r"


@dataclass
class Report:
    day: date
    totals: dict[str, Decimal]
    color: Color


REPORT = Report(date(2026, 11, 1), {"a": Decimal("1.50")}, Color.RED)


def report() -> Report: ...


def reports() -> list[Report] | None: ...


def either() -> Report | dict: ...


def text() -> str: ...


@pytest.mark.parametrize("value", [None, 1, "a", [date(2026, 11, 1), {1}], {"$date": 1}, {"$fields": 1}, (1, b"x")])
def test_a_result_comes_back_as_it_was(value: Any) -> None:
    arrived = result_from_json(result_to_json(value, task="shop.f"))
    assert arrived == value
    assert type(arrived) is type(value)


@pytest.mark.parametrize(("function", "value"), [(report, REPORT), (reports, [REPORT, REPORT]), (reports, None)])
def test_a_class_comes_back_where_the_return_annotation_names_it(function: Any, value: Any) -> None:
    binder = Binder(function, "shop.f")
    assert binder.result_from_json(binder.result_to_json(value)) == value


def test_a_reader_who_does_not_know_the_function_gets_the_plain_fields() -> None:
    stored = Binder(report, "shop.f").result_to_json(REPORT)
    assert result_from_json(stored) == {"day": date(2026, 11, 1), "totals": {"a": Decimal("1.50")}, "color": "r"}


def test_a_class_that_no_annotation_names_is_refused_with_its_place() -> None:
    for attempt in (
        lambda: result_to_json([1, REPORT], task="shop.f"),
        lambda: Binder(text, "shop.f").result_to_json([1, REPORT]),
    ):
        with pytest.raises(ArgumentNotSerializable) as caught:
            attempt()
        assert str(caught.value) == (
            "shop.f: result[1] is a Report, and no annotation says so: annotate what the task returns with Report, "
            "or pass asdict(...)."
        )


def test_an_ambiguous_return_annotation_is_refused_when_its_class_is_returned() -> None:
    with pytest.raises(ArgumentNotSerializable, match=r"Report \| dict, and would arrive as dict"):
        Binder(either, "shop.f").result_to_json(REPORT)


def test_a_return_annotation_refuses_nothing_that_can_be_stored_without_it() -> None:
    for function, value in ((text, 5), (report, None), (report, {"a": 1}), (reports, {1})):
        binder = Binder(function, "shop.f")
        assert binder.result_from_json(binder.result_to_json(value)) == value


def test_a_result_may_be_longer_than_an_argument() -> None:
    many = [[n] for n in range(20_000)]
    assert result_from_json(result_to_json(many, task="f")) == many


def test_a_result_of_another_version_is_unreadable_and_said_so() -> None:
    stored = Binder(report, "shop.f").result_to_json(REPORT)

    def changed() -> Point: ...

    with pytest.raises(ResultUnreadable, match=r"^shop\.g: the stored result expects Point: object missing"):
        Binder(changed, "shop.g").result_from_json(stored)
    for data in (b"", b"{", b'{"$what": 1}', b'{"$fields": {"$what": 1}}', b"[" * 100_000):
        with pytest.raises(ResultUnreadable, match="the stored result"):
            result_from_json(data)


@dataclass
class Point:
    x: int
