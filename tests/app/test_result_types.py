"""What a task returns comes back as what it is, by the function's return annotation."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import Enum

import pytest

from fnqueue import TaskFailed


class Color(Enum):
    RED = "red"


@dataclass
class Report:
    day: date
    total: Decimal
    colors: list[Color]


REPORT = Report(date(2026, 11, 1), Decimal("1.50"), [Color.RED])


def test_a_dataclass_that_the_annotation_names_comes_back_as_itself(fn, drain):
    @fn.task(name="make")
    def make() -> Report:
        return REPORT

    handle = make.defer()
    drain()
    assert handle.result() == REPORT
    assert fn.handle(handle.id).result() == REPORT
    assert make.apply().value == REPORT


def test_where_the_class_has_changed_since_its_plain_fields_are_read(fn, drain):
    @fn.task(name="make")
    def make() -> Report:
        return REPORT

    handle = make.defer()
    drain()

    @fn.task(name="make")
    def make() -> Color:  # the next version of the code
        return Color.RED

    assert handle.state == "SUCCESS"
    assert handle.result() == {"day": REPORT.day, "total": REPORT.total, "colors": ["red"]}


def test_a_result_that_cannot_be_stored_fails_the_task_with_its_place(fn, drain):
    @fn.task(name="make")
    def make():
        return {"reports": [REPORT]}

    handle = make.defer()
    drain()
    with pytest.raises(TaskFailed, match=r"result\.reports\[0\] is a Report, and no annotation says so"):
        handle.result()


def test_arguments_of_every_type_reach_the_function_as_they_were(fn, drain):
    seen = []

    @fn.task(name="take")
    def take(report: Report, color: Color, *rest: object, **others: object) -> None:
        seen.append((report, color, rest, others))

    take.defer(REPORT, Color.RED, {1}, (b"x", date(2026, 11, 1)), deep={"$date": {"a": Decimal("1.0")}})
    drain()
    assert seen == [(REPORT, Color.RED, ({1}, (b"x", date(2026, 11, 1))), {"deep": {"$date": {"a": Decimal("1.0")}}})]
