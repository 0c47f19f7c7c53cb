"""What a framework, or the user, plugs into an `FnQueue`: functions that say who asks, and what surrounds a run.

Apart from the runtime that calls them, because they are set where applications are imported, long before it is made.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fnqueue.errors import OptionInvalid
from fnqueue.security.principal import Principal
from fnqueue.task.task import Task

if TYPE_CHECKING:
    from fnqueue.held import Transaction


def _nobody() -> Principal | None:
    return None


def _no_session(make: bool) -> str | None:
    return None


def _no_transaction() -> Transaction | None:
    return None


def _no_scope(task: Task[Any, Any, Any]) -> AbstractContextManager[Any]:
    return nullcontext()


def _no_async_scope(task: Task[Any, Any, Any]) -> AbstractAsyncContextManager[Any]:
    return nullcontext()


def _nothing() -> None: ...


def described(principal: Principal, user: Any, describe: Callable[[Any], Mapping[str, Any] | None] | None) -> Principal:
    """The principal of `user`, with what the application says of them. Raises OptionInvalid."""
    if describe is None or principal.kind != "user":
        return principal
    about = describe(user)
    try:
        return principal.described(about or {})
    except (ValueError, TypeError, AttributeError) as error:
        raise OptionInvalid(
            f"@fn.describe_user {getattr(describe, '__name__', 'function')}(): {error}. It returns a dict, as "
            '{"tenant": user.company_id, "credential_version": user.password_version}, or None'
        ) from None


@dataclass(kw_only=True)
class Hooks:
    """What a framework, or the user, plugs in. Functions; set before first use."""

    #: The principal of the request under way; None when there is no request or nobody is logged in.
    request_principal: Callable[[], Principal | None] = _nobody
    #: Whether a request is under way: decides what the text of a denied call says.
    in_request: Callable[[], bool] = lambda: False
    #: id -> the principal as it is now, None if gone. None: principals are not reloaded.
    load_principal: Callable[[str], Principal | None] | None = None
    #: A user of the framework -> what the application says of them besides their id. None: nothing.
    describe_user: Callable[[Any], Mapping[str, Any] | None] | None = None
    #: Around authorising and running: an application context.
    scope: Callable[[Task[Any, Any, Any]], AbstractContextManager[Any]] = _no_scope
    #: Around an attempt in a thread of a worker, outside of `scope`: what belongs to the thread, as connections do.
    #: Not around `apply`, which is part of what its caller does.
    attempt: Callable[[Task[Any, Any, Any]], AbstractContextManager[Any]] = _no_scope
    #: The same around a coroutine's attempt, on the worker's loop.
    coroutine: Callable[[Task[Any, Any, Any]], AbstractAsyncContextManager[Any]] = _no_async_scope
    #: How a thread that is no worker's waits for a coroutine task's end (`apply`, tests); None: a loop of its own.
    wait_for: Callable[[Coroutine[Any, Any, Any]], Any] | None = None
    #: Called in a worker's thread that ends, and in one beside the loop whenever it has done what it was given.
    thread_done: Callable[[], None] = _nothing
    #: The transaction that a call made here and now must wait for; None: calls are sent at once.
    transaction: Callable[[], Transaction | None] = _no_transaction
    #: What stands for the session of a visitor who is not logged in, if the request came with one: a random text that
    #: is kept in it (made there if True is given). None: there is no session.
    session: Callable[[bool], str | None] = _no_session
    #: A status token becomes a url.
    status_url: Callable[[str], str] | None = None
    #: A folder that first use makes when a file is to lie in it, as Flask's instance folder. Others must be there.
    own_folder: str | None = None
    #: What the framework finds wrong before anything runs, one sentence each: for `fnqueue check`. Starts nothing.
    faults: Callable[[], list[str]] = list
    #: What it finds doubtful, of the same form: a warning there.
    doubts: Callable[[], list[str]] = list
