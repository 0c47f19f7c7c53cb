"""The request under way, and who is logged in there: asked only when something is deferred.

The middleware does no more than remember the request. So a page that defers nothing never looks at
`request.user`, and stays without `Vary: Cookie`. What outlives its request, as a thread or a task of asyncio that
it started, has no request any more: it must not act for whoever happened to start it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from django.core.exceptions import SynchronousOnlyOperation
from django.utils.functional import SimpleLazyObject

from django_fnqueue.principals import aprincipal_of, may_act, principal_of
from fnqueue.errors import OptionInvalid
from fnqueue.security.principal import Principal


class _Seen:
    """A request until its end. The contexts of whatever it started hold this, and not the request."""

    __slots__ = ("request",)

    def __init__(self, request: Any) -> None:
        self.request: Any = request


_seen: ContextVar[_Seen | None] = ContextVar("fnqueue_django_request", default=None)


@contextmanager
def remembered(request: Any) -> Iterator[None]:
    """`request` is the one under way, inside the block."""
    seen, before = _Seen(request), _seen.get()
    _seen.set(seen)
    try:
        yield
    finally:
        seen.request = None
        # Not reset(token): under ASGI the way back may lead through another context than the way in.
        _seen.set(before)


def current_request() -> Any:
    """The HttpRequest under way; None outside of one."""
    seen = _seen.get()
    return seen.request if seen is not None else None


def in_request() -> bool:
    return current_request() is not None


def request_principal() -> Principal | None:
    """Who is logged in, by `request.user`. Raises OptionInvalid on an event loop, where nothing may be loaded."""
    user = getattr(current_request(), "user", None)
    try:
        return principal_of(user) if user is not None and may_act(user) else None
    except SynchronousOnlyOperation:
        raise OptionInvalid(
            "defer() in an async view cannot ask the database who is logged in: write `await task.adefer(...)`"
        ) from None


async def arequest_principal() -> Principal | None:
    """The same by `request.auser()`."""
    request = current_request()
    user = getattr(request, "user", None)
    # A user that somebody put there, as login() and Django REST framework do, counts: `auser` would not know it.
    if isinstance(user, SimpleLazyObject) and hasattr(request, "auser"):
        user = await request.auser()
    return await aprincipal_of(user) if user is not None and may_act(user) else None
