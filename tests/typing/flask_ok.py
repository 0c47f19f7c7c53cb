"""What a user of Flask writes, as mypy --strict must accept it. Checked by test_typing_examples.py."""

from typing import assert_type

from flask import url_for

from flask_fnqueue import FnQueue
from fnqueue import Handle, TaskContext
from fnqueue.policies import authenticated

fn = FnQueue()


@fn.task
def plain(account_id: int) -> str:
    return str(account_id)


@fn.task(request_context=True, queue="mail", policy=authenticated, retry=3)
def with_a_request(account_id: int, *, copies: int = 1) -> str:
    return url_for("account", id=account_id, copies=copies)


@fn.task(request_context=True, bind=True)
async def bound(context: TaskContext, account_id: int) -> int:
    return context.attempt + account_id


def view() -> None:
    assert_type(plain.defer(7), Handle[str])
    assert_type(with_a_request.defer(7, copies=2).result(), str)
    assert_type(bound.using(queue="x").defer(7), Handle[int])
    with_a_request.defer("seven")  # type: ignore[arg-type]
    bound.defer()  # type: ignore[call-arg]
    fn.task(request_contex=True)  # type: ignore[call-overload]
