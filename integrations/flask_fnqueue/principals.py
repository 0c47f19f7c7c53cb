"""Flask-Login's users as principals, where Flask-Login is in use; elsewhere nobody is logged in.

At the caller: `current_user`, if authenticated and active; the time of the login is written into the session when it
happens, because neither Flask nor Flask-Login keeps it. Before a run: the same user, asked anew of the app's
`user_loader`, in an app context without a request. A loader that needs a request cannot answer there, so that
is tried once per app at the first defer, and not found out by a worker that tries for ever.
"""

from __future__ import annotations

import contextvars
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any

from flask import Flask, current_app, session

from fnqueue.clock import to_datetime
from fnqueue.errors import OptionInvalid
from fnqueue.forks import importing
from fnqueue.security.principal import ANONYMOUS, Principal

Loader = Callable[[str], Principal | None]
ToPrincipal = Callable[[Any], Principal]
#: In the session: when its user logged in, unix seconds.
LOGIN_TIME = "_fnqueue_login_time"


def uses_flask_login(app: Flask) -> bool:
    return getattr(app, "login_manager", None) is not None


def note_logins() -> None:
    """Have the session of whoever logs in say when that was, in all apps that have an FnQueue."""
    try:
        with importing():
            import flask_login
    except ImportError:
        return
    for signal in (flask_login.user_logged_in, flask_login.user_login_confirmed):
        signal.connect(_note_login)


def _note_login(app: Flask, **about: Any) -> None:
    state = app.extensions.get("fnqueue")
    if state is not None:
        session[LOGIN_TIME] = state.clock().now()


def login_principal(to_principal: ToPrincipal) -> Principal | None:
    """Who is logged in with Flask-Login. To be called with a request under way."""
    if not uses_flask_login(current_app):
        return None
    import flask_login  # installed, or the app would have no login manager

    user = flask_login.current_user
    if not user or not _may_act(user):
        return None
    principal = to_principal(user)
    return principal if principal.auth_time is not None else replace(principal, auth_time=_login_time(principal.id))


def _login_time(id: str) -> datetime | None:
    """None for one whom a "remember me" cookie, or a token, brought: they proved nothing now."""
    found = session.get(LOGIN_TIME)
    fresh = session.get("_fresh") is True and str(session.get("_user_id")) == id
    return to_datetime(found) if fresh and isinstance(found, int | float) else None


def principal_of(user: Any) -> Principal:
    """A user object as a principal: id from `get_id()` or `id`, roles from `roles`. An anonymous one: nobody.

    Raises OptionInvalid for what is no user.
    """
    if getattr(user, "is_anonymous", False) is True:
        return ANONYMOUS
    get_id = getattr(user, "get_id", None)
    found = get_id() if callable(get_id) else getattr(user, "id", None)
    if found is None or found == "":
        raise OptionInvalid(
            f"{type(user).__name__} has neither get_id() nor id, or it is empty: no principal can be made of it. "
            "Give a fnqueue.Principal: Principal(id=str(user.pk), kind='user', roles=...)"
        )
    return Principal(id=str(found), kind="user", roles=frozenset(_roles(user)))


def login_loader(app: Flask, to_principal: ToPrincipal) -> Loader | None:
    """id -> the principal of the app's user as it is now. None: the app does not use Flask-Login."""
    return partial(_load, app, to_principal) if uses_flask_login(app) else None


def check_loader(app: Flask, to_principal: ToPrincipal, id: str) -> None:
    """Raises OptionInvalid when no worker could load the user again. What else goes wrong is not told here."""
    name = app.import_name
    for fault in loader_faults(app):
        raise OptionInvalid(fault)
    try:
        contextvars.Context().run(_try_loader, app, to_principal, id)  # as in a worker: no request, nobody's context
    except RuntimeError as error:
        if "outside of request context" not in str(error):
            return  # the worker will see it again, or not, and says so
        raise OptionInvalid(
            f"{name}: the user_loader of the login manager needs a request, and a worker has none: "
            "users could not be loaded again before their tasks run.\n"
            "Let it use the id alone, or give @fn.load_principal: id -> Principal, None if gone."
        ) from error
    except Exception:
        return  # a database that is down, say: not this check's business


def loader_faults(app: Flask) -> list[str]:
    """What can be said without a user."""
    if _user_loader(app) is not None:
        return []
    return [
        f"{app.import_name}: users cannot be loaded again before their tasks run, because the login manager has no "
        "user_loader (a request_loader needs a request).\n"
        "Give one with @login_manager.user_loader, or @fn.load_principal: id -> Principal, None if gone."
    ]


def _try_loader(app: Flask, to_principal: ToPrincipal, id: str) -> None:
    with app.app_context():
        _load(app, to_principal, id)


def _load(app: Flask, to_principal: ToPrincipal, id: str) -> Principal | None:
    loader = _user_loader(app)
    if loader is None:
        check_loader(app, to_principal, id)
        return None
    user = loader(id)
    return to_principal(user) if user is not None and _may_act(user) else None


def _user_loader(app: Flask) -> Callable[[str], Any] | None:
    return getattr(app.login_manager, "_user_callback", None)  # type: ignore[attr-defined]


def _may_act(user: Any) -> bool:
    return bool(getattr(user, "is_authenticated", True)) and bool(getattr(user, "is_active", True))


def _roles(user: Any) -> Iterable[str]:
    """`user.roles`: names, objects with a `name` (Flask-Security), or one name."""
    found = getattr(user, "roles", None)
    found = found() if callable(found) and not isinstance(found, Iterable) else found
    if found is None:
        return ()
    if isinstance(found, str):
        return (found,) if found else ()
    if not isinstance(found, Iterable):
        raise OptionInvalid(f"{type(user).__name__}.roles must be names, got {type(found).__name__}")
    return [_role_name(user, role) for role in found]


def _role_name(user: Any, role: Any) -> str:
    name = role if isinstance(role, str) else getattr(role, "name", None)
    if not isinstance(name, str) or not name:
        raise OptionInvalid(
            f"{type(user).__name__}.roles has a {type(role).__name__} without a name: give names, or objects with .name"
        )
    return name
