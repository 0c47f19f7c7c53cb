"""What mypy --strict must refuse: each line with a mark must fail with that code, and no other line may.

Never run. Checked line by line by test_typing_examples.py.
"""

from datetime import date
from typing import Any

from fnqueue import FnQueue, Handle, Secret, TaskContext
from fnqueue.policies import role

fn = FnQueue()
november = date(2026, 11, 1)


@fn.task
def plain(account_id: int, month: date, *, copies: int = 1) -> str:
    return f"{account_id} {month} {copies}"


@fn.task(queue="billing", retry=3)
def with_options(account_id: int, month: date) -> str:
    return f"{account_id} {month}"


@fn.task
async def fetch(url: str) -> bytes:
    return url.encode()


@fn.task(bind=True)
def bound(context: TaskContext, count: int) -> float:
    return count / 2


@fn.task
def charge(card: Secret[str]) -> None: ...


def wrong_secrets() -> None:
    charge.defer("4111")  # E: arg-type
    charge.defer(Secret(4111))  # E: arg-type
    text: str = Secret("4111")  # E: assignment
    print(text)


def not_a_task(number: int) -> int:
    return number


def wrong_arguments() -> None:
    plain.defer("7", november)  # E: arg-type
    plain.defer(7)  # E: call-arg
    plain.defer(7, november, 3)  # E: call-arg
    plain.defer(7, november, copies="3")  # E: arg-type
    plain.defer(7, november, color="red")  # E: call-arg
    with_options.defer("7", november)  # E: arg-type
    with_options.defer(7, "2026-11")  # E: arg-type
    fetch.defer(7)  # E: arg-type
    plain(7, "2026-11")  # E: arg-type
    plain.apply(7)  # E: call-arg


def wrong_arguments_by_the_app() -> None:
    fn.defer(plain, "7", november)  # E: arg-type
    fn.defer(plain, 7)  # E: call-arg
    fn.defer(fetch, b"a")  # E: arg-type
    fn.defer(not_a_task, 7)  # E: arg-type


async def wrong_arguments_in_async_views() -> None:
    await plain.adefer("7", november)  # E: arg-type
    await fn.adefer(fetch, 7)  # E: arg-type


def the_context_is_not_the_callers(context: TaskContext) -> None:
    bound.defer(context, 4)  # E: call-arg, arg-type
    fn.defer(bound, context)  # E: arg-type


def options_are_not_arguments() -> None:
    plain.defer(7, november, delay_seconds=60)  # E: call-arg
    plain.using(queue=7).defer(7, november)  # E: arg-type
    plain.using(delay_seconds=60).defer("7", november)  # E: arg-type


def wrong_results() -> None:
    number: int = plain.defer(7, november).result()  # E: assignment
    text: str = fetch.defer("a").result()  # E: assignment
    handle: Handle[int] = plain.defer(7, november)  # E: assignment
    value: str = plain.apply(7, november).value  # E: assignment
    print(number, text, handle, value)


async def wrong_awaits() -> None:
    await plain(7, november)  # E: misc
    fetch("a").decode()  # E: attr-defined
    await plain.defer(7, november)  # E: misc


@fn.task(queue=7)  # E: call-overload
def a_queue_is_text() -> None: ...


@fn.task(policy=role)  # E: call-overload
def a_policy_is_called() -> None: ...


@fn.task(bind=True)  # E: arg-type
def nobody_takes_the_context() -> None: ...


def handles_are_read_only(handle: Handle[Any]) -> None:
    handle.state = "SUCCESS"  # E: misc
    handle.result(timeout_seconds="10")  # E: arg-type
