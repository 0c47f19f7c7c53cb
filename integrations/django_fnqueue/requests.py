"""The request under way, and who is logged in there: asked only when something is deferred.

The middleware does no more than remember the request. So a page that defers nothing never looks at
`request.user`, and stays without `Vary: Cookie`. What outlives its request, as a thread or a task of asyncio that
it started, has no request any more: it must not act for whoever happened to start it.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from typing import Any

from django.conf import settings
from django.contrib.auth import SESSION_KEY
from django.core.exceptions import SynchronousOnlyOperation
from django.utils.functional import SimpleLazyObject

from django_fnqueue.principals import may_act
from fnqueue.clock import Clock, to_datetime
from fnqueue.errors import OptionInvalid
from fnqueue.security.principal import Principal

#: In the session: when its user logged in, unix seconds.
LOGIN_TIME = "_fnqueue_login_time"
#: In the session of a visitor who is not logged in: a random text.
VISITOR = "_fnqueue_visitor"
ON_A_LOOP = (
    "defer() would ask the database who is logged in, and Django allows that in no event loop: in an async view write "
    "`await task.adefer(...)`, and `await sync_to_async(...)(...)` around what has no such form"
)


class _Seen:
    """A request until its end, and who was found there: many calls of one request ask for their user's groups once.

    The contexts of whatever the request started hold this, and not the request.
    """

    __slots__ = ("found", "request")

    def __init__(self, request: Any) -> None:
        self.request: Any = request
        self.found: list[tuple[Any, Principal | None]] = []  # by the user object: login() puts another one there

    def lookup(self, user: Any) -> tuple[Principal | None] | None:
        return next(((principal,) for known, principal in self.found if known is user), None)

    def note(self, user: Any, principal: Principal | None) -> Principal | None:
        self.found.append((user, principal))
        return principal


_seen: ContextVar[_Seen | None] = ContextVar("fnqueue_django_request", default=None)


@contextmanager
def remembered(request: Any) -> Iterator[None]:
    """`request` is the one under way, inside the block."""
    seen, before = _Seen(request), _seen.get()
    _seen.set(seen)
    try:
        yield
    finally:
        seen.request, seen.found = None, []
        # Not reset(token): under ASGI the way back may lead through another context than the way in.
        _seen.set(before)


def current_request() -> Any:
    """The HttpRequest under way; None outside of one."""
    seen = _seen.get()
    return seen.request if seen is not None else None


def in_request() -> bool:
    return current_request() is not None


def note_login(clock: Clock, request: Any) -> None:
    """Have the session of who logs in say when that was: `user.last_login` is that of the last of their sessions."""
    session = getattr(request, "session", None)
    if session is not None:
        session[LOGIN_TIME] = clock.now()


def session_marker(make: bool) -> str | None:
    """To whom status tokens of a visitor who is not logged in are bound. None where the request came without a session,
    and its view has begun none: none is begun here. On an event loop neither: the session would be read from the
    database.
    """
    request = current_request()
    session = getattr(request, "session", None)
    if session is None or not (settings.SESSION_COOKIE_NAME in request.COOKIES or _is_begun(session)):
        return None
    try:
        found = session.get(VISITOR)
        if not isinstance(found, str) and make:
            found = session[VISITOR] = secrets.token_urlsafe(16)
    except SynchronousOnlyOperation:
        return None
    return found if isinstance(found, str) else None


def _is_begun(session: Any) -> bool:
    """In this request, and not only emptied: its answer brings the visitor the cookie."""
    return session.modified and not session.is_empty()


def _with_login_time(seen: _Seen, principal: Principal) -> Principal:
    """Of a user whom the session brought. It was read then: nothing is loaded here, nor any page made to vary."""
    session = getattr(seen.request, "session", None)
    if principal.auth_time is not None or not getattr(session, "accessed", False):
        return principal
    assert session is not None
    found = session.get(LOGIN_TIME)
    if not isinstance(found, int | float) or session.get(SESSION_KEY) != principal.id:
        return principal
    return replace(principal, auth_time=to_datetime(found))


def request_principal(to_principal: Callable[[Any], Principal]) -> Principal | None:
    """Who is logged in, by `request.user`. Raises OptionInvalid on an event loop that adefer did not ask before."""
    seen = _seen.get()
    user = getattr(seen.request, "user", None) if seen is not None else None
    if seen is None or user is None:
        return None
    known = seen.lookup(user)
    if known is not None:
        return known[0]
    try:
        return seen.note(user, _with_login_time(seen, to_principal(user)) if may_act(user) else None)
    except SynchronousOnlyOperation:
        raise OptionInvalid(ON_A_LOOP) from None


async def arequest_principal(to_principal: Callable[[Any], Awaitable[Principal]]) -> Principal | None:
    """The same by `request.auser()`."""
    seen = _seen.get()
    given = user = getattr(seen.request, "user", None) if seen is not None else None
    if seen is None or user is None:
        return None
    known = seen.lookup(given)
    if known is not None:
        return known[0]
    # A user that somebody put there, as login() and Django REST framework do, counts: `auser` would not know it.
    if isinstance(given, SimpleLazyObject) and hasattr(seen.request, "auser"):
        user = await seen.request.auser()
    return seen.note(given, _with_login_time(seen, await to_principal(user)) if may_act(user) else None)
