"""Mistakes at `defer`, and at what it returns."""

from __future__ import annotations

import asyncio
import datetime
import os
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from fnqueue import FnQueue
from fnqueue.security.keyring import new_key
from tests.first_hour.conftest import Says


class Base(DeclarativeBase): ...


class Invoice(Base):
    __tablename__ = "invoices"
    pk: Mapped[int] = mapped_column(primary_key=True)


@pytest.fixture
def shop(says: Says) -> Iterator[dict[str, Any]]:
    fn = FnQueue(url="sqlite://")

    def resize(photo_id: int, width: int = 200) -> None: ...
    def send(invoice: Any, on: datetime.date | None = None) -> None: ...

    yield {
        "fn": fn,
        "resize": fn.task(name="shop.resize")(resize),
        "send": fn.task(name="shop.send")(send),
        "plain": resize,
        "invoice": Invoice(),
        "asyncio": asyncio,
        "datetime": datetime,
    }
    fn.close()


def test_a_plain_function(says: Says, shop: dict[str, Any]) -> None:
    says.python("fn.defer(plain, 7)", **shop)
    says.python("fn.defer('shop.resize', 7)", **shop)
    says.python("fn.defer(resize(7))", **shop)
    says.python("fn.defer(resize.defer(7))", **shop)


def test_a_task_of_another_fnqueue(says: Says, shop: dict[str, Any]) -> None:
    says.python("other.defer(resize, 7)", other=FnQueue(), **shop)


def test_options_are_given_to_defer(says: Says, shop: dict[str, Any]) -> None:
    says.python("resize.defer(7, delay_seconds=60)", **shop)
    says.python("resize.defer(7, countdown=60)", **shop)
    says.python("resize.using(countdown=60).defer(7)", **shop)
    says.python("resize.using(delay_seconds='60').defer(7)", **shop)


def test_a_word_of_other_queues(says: Says, shop: dict[str, Any]) -> None:
    says.python("resize.delay(7)", **shop)
    says.python("resize.apply_async((7,), countdown=60)", **shop)
    says.python("resize.enqueue(7)", **shop)
    says.python("resize.send(7)", **shop)


def test_arguments_that_do_not_fit(says: Says, shop: dict[str, Any]) -> None:
    says.python("resize.defer()", **shop)
    says.python("resize.defer('seven')", **shop)
    says.python("resize.defer(7, widht=400)", **shop)
    says.python("resize.defer(7, 400, 300)", **shop)


def test_a_model_instance(says: Says, shop: dict[str, Any]) -> None:
    says.python("send.defer(invoice)", **shop)


def test_values_that_do_not_travel(says: Says, shop: dict[str, Any]) -> None:
    with open(os.devnull) as file:
        says.python("send.defer(file)", **shop, file=file)
    says.python("send.defer([1, float('nan')])", **shop)
    says.python("send.defer({1: 'a'})", **shop)
    says.python("send.defer(lambda: 1)", **shop)
    says.python("send.defer(x for x in 'abc')", **shop)
    says.python("send.defer(7, on='tomorrow')", **shop)
    says.python("send.defer('x' * 70_000_000)", **shop)


def test_a_delay_in_other_words(says: Says, shop: dict[str, Any]) -> None:
    says.python("resize.using(delay_seconds=-1).defer(7)", **shop)
    says.python("resize.using(not_before=datetime.datetime(2030, 1, 1)).defer(7)", **shop)
    says.python("resize.using(delay_seconds=datetime.timedelta(hours=1)).defer(7)", **shop)


def test_adefer_is_not_awaited(says: Says, shop: dict[str, Any]) -> None:
    """Python's own warning; a forgotten `await` sends nothing."""
    with pytest.warns(RuntimeWarning) as caught:
        says.python("resize.adefer(7)", **shop)
    says.note(f"RuntimeWarning: {caught[0].message}")


def test_defer_in_a_running_loop(says: Says, shop: dict[str, Any]) -> None:
    """Works: it blocks the loop for the send, as any other call of a database would."""
    says.python(
        "async def view(): return resize.defer(7).state\n\nprint(asyncio.run(view()))",
        **shop,
        print=says.note,
    )


def test_a_result_without_a_worker(says: Says, shop: dict[str, Any]) -> None:
    says.python("resize.defer(7).result(timeout_seconds=0.01)", **shop)


def test_a_handle_of_an_unknown_id(says: Says, shop: dict[str, Any]) -> None:
    says.python("fn.handle('no such id').result(timeout_seconds=0.01)", **shop)
    says.python("print(fn.handle('no such id').state)", **shop, print=says.note)


def test_a_result_and_a_long_delay_without_a_store(says: Says) -> None:
    fn = FnQueue(url="sqs://us-east-1/?endpoint=http://127.0.0.1:1", keys=new_key(), default_policy="public")

    @fn.task(name="shop.resize")
    def resize(photo_id: int) -> None: ...

    says.python("fn.handle('0' * 26).result()", fn=fn)
    says.python("resize.using(delay_seconds=90_000).defer(7)", resize=resize)
    says.python("resize.using(dedupe='photo:7').defer(7)", resize=resize)
    says.python("fn.status_url(fn.handle('0' * 26))", fn=fn)
    says.python("fn.handle('0' * 26).cancel()", fn=fn)


def test_a_task_that_fails(says: Says, shop: dict[str, Any]) -> None:
    fn = shop["fn"]

    @fn.task(name="shop.divide")
    def divide(by: int) -> float:
        return 1 / by

    says.python(
        "print(divide.apply(0).state)\nprint(divide.apply(0).error.message)",
        divide=divide,
        print=says.note,
    )
