"""What a user writes, as mypy --strict must accept it. `assert_type` says what it must make of each.

Checked line by line by test_typing_examples.py, and imported there, so that it is also true at run time.
"""

from collections.abc import Coroutine
from datetime import date
from typing import Any, assert_type

from fnqueue import (
    Backoff,
    FnQueue,
    Handle,
    PolicyContext,
    Principal,
    Result,
    Secret,
    Signature,
    State,
    Task,
    TaskContext,
)
from fnqueue.policies import authenticated, custom, forbid, owns, public, role, scope

fn = FnQueue()
november = date(2026, 11, 1)


class Account:
    owner_id = 7

    @classmethod
    def by_id(cls, id: int) -> "Account | None":
        return cls() if id else None


@custom
def in_office_hours(ctx: PolicyContext) -> bool:
    return 8 <= ctx.deferred_at.hour < 18


@fn.task
def charge(card: Secret[str], *, pin: Secret[int] | None = None) -> str:
    assert_type(card.get_secret_value(), str)
    return card.get_secret_value()[-4:]


def pay(number: str) -> None:
    assert_type(Secret(number), Secret[str])
    assert_type(charge.defer(Secret(number), pin=Secret(1234)), Handle[str])


# ---------------------------------------------------------------- tasks keep their function's parameters


@fn.task
def plain(account_id: int, month: date, *, copies: int = 1) -> str:
    return f"{account_id} {month} {copies}"


@fn.task(
    queue="billing",
    policy=role("staff") & owns("account_id", load=Account.by_id) | in_office_hours,
    retry=3,
    expires_seconds=900,
)
def with_options(account_id: int, month: date) -> str:
    return f"{account_id} {month}"


@fn.task()
def with_empty_brackets(name: str) -> None: ...


@fn.task
async def fetch(url: str) -> bytes:
    return url.encode()


@fn.task(retry=Backoff(5, on=(OSError,)), policy=~authenticated | forbid(scope("a")) | public, priority="low")
async def fetch_again(url: str, *more: str) -> list[bytes]:
    return [await fetch(one) for one in (url, *more)]


@fn.task(bind=True)
def bound(context: TaskContext, count: int) -> float:
    context.progress(1, total=count, message="started")
    return count / 2


@fn.task(bind=True, queue="slow")
async def bound_coroutine(context: TaskContext, url: str) -> bytes:
    return await fetch(url)


assert_type(plain.name, str)

# ---------------------------------------------------------------- a task is still its function


def call_them() -> None:
    assert_type(plain(7, november), str)
    assert_type(plain(7, month=november, copies=2), str)
    assert_type(with_options(7, november), str)
    pending = fetch("https://example.org")
    assert_type(pending, Coroutine[Any, Any, bytes]).close()


async def await_them() -> None:
    assert_type(await fetch("https://example.org"), bytes)
    assert_type(await fetch_again("a", "b"), list[bytes])


# ---------------------------------------------------------------- deferring gives a handle of the result


def defer_them() -> None:
    assert_type(plain.defer(7, november), Handle[str])
    assert_type(plain.defer(7, month=november, copies=3).result(), str)
    assert_type(with_options.defer(7, november).result(timeout_seconds=None), str)
    assert_type(with_empty_brackets.defer("a"), Handle[None])
    assert_type(fetch.defer("a").result(), bytes)
    assert_type(fetch_again.defer("a", "b").result(), list[bytes])
    assert_type(bound.defer(4), Handle[float])
    assert_type(bound.defer(count=4).result(), float)
    assert_type(bound_coroutine.defer("a").result(), bytes)


def defer_them_by_the_app() -> None:
    assert_type(fn.defer(plain, 7, month=november), Handle[str])
    assert_type(fn.defer(fetch, "a").result(), bytes)
    assert_type(fn.defer(bound, 4).result(), float)
    assert_type(fn.defer_many(plain, [(7, november), (8, november)]), list[Handle[str]])


async def defer_them_from_async_views() -> None:
    handle = await plain.adefer(7, november)
    assert_type(handle, Handle[str])
    assert_type(await handle.aresult(), str)
    assert_type(await fn.adefer(fetch, "a"), Handle[bytes])


def change_one_call() -> None:
    changed = plain.using(delay_seconds=60, queue="slow", priority=9, retry=Backoff(2), dedupe="a", tenant=None)
    assert_type(changed.defer(7, november), Handle[str])
    assert_type(fn.defer(plain.using(expires_seconds=60), 7, november), Handle[str])


# ---------------------------------------------------------------- what else a handle and a task give


def read_them(handle: Handle[str]) -> None:
    state: State = handle.state
    record = handle.record()
    assert_type(record, Result[str])
    assert_type(record.value, str | None)
    assert_type(handle.id, str)
    assert_type(fn.handle(handle.id), Handle[Any])
    assert_type(fn.status_url(handle, expires_seconds=60), str)
    print(state, record.attempts, record.error and record.error.message, record.progress and record.progress.done)
    handle.cancel()


def apply_them() -> None:
    assert_type(plain.apply(7, november), Result[str])
    assert_type(fetch.apply("a").value, bytes | None)


def sign_them() -> None:
    assert_type(plain.s(7), Signature)
    assert_type(fetch.si("a"), Signature)


def for_somebody(user: Principal) -> None:
    with fn.as_principal(user), fn.as_service("import", scopes=["read"]):
        plain.defer(7, november)
    with fn.batch():
        plain.defer(7, november)


@fn.load_principal
def load(id: str) -> Principal | None:
    return Principal(id=id, kind="user", roles=frozenset({"staff"}))


def hand_them_on(task: Task[[str], bytes, Any]) -> Handle[bytes]:
    return task.defer("a")
