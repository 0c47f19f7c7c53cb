"""Django's users as principals: groups are roles, and so are `staff` and `superuser`.

Before a run the same user is loaded anew by primary key. Any user model will do: what it does not have (groups,
is_staff, is_active) it does not give or ask. But an id says no model, so an object of another one is refused: it would
act for the user who has the same number.

A password change is seen by what ends sessions then, `get_session_auth_hash`, also under SECRET_KEY_FALLBACKS. Of that
only a digest travels: whoever reads a call must not learn what a session is made of.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from hashlib import sha256
from typing import Any

from django.contrib.auth import get_user_model
from django.core.exceptions import AppRegistryNotReady, FieldDoesNotExist, ImproperlyConfigured, ValidationError

from fnqueue.errors import OptionInvalid
from fnqueue.security.principal import ANONYMOUS, Principal

#: The flags of a user that are roles. A group of such a name is none: whoever may name groups is not thereby staff.
FLAGS = {"is_staff": "staff", "is_superuser": "superuser"}


def principal_of(user: Any) -> Principal:
    """A user as a principal; nobody for AnonymousUser. Raises OptionInvalid for what is no saved user."""
    if _is_anonymous(user):
        return ANONYMOUS
    pk = _checked_pk(user)
    return _principal(user, pk, _names(user, _groups(user)))


async def aprincipal_of(user: Any) -> Principal:
    """The same on an event loop."""
    if _is_anonymous(user):
        return ANONYMOUS
    pk, groups = _checked_pk(user), _groups(user)
    found = [name async for name in groups.values_list("name", flat=True)] if _is_manager(groups) else groups
    return _principal(user, pk, _names(user, found))


def may_act(user: Any) -> bool:
    return _may_log_in(user) and bool(getattr(user, "is_active", True))


def load_user(to_principal: Callable[[Any], Principal], id: str) -> Principal | None:
    """Who has this primary key, as they are now; None when they are gone or inactive."""
    user = find_user(id)
    if user is None or not may_act(user):
        return None
    return replace(to_principal(user), credential_fallbacks=_versions(user, "get_session_auth_fallback_hash"))


def find_user(id: str) -> Any | None:
    """The user who has this primary key; None where nobody has."""
    model = get_user_model()
    try:
        return model._default_manager.get(pk=id)
    except (model.DoesNotExist, ValueError, ValidationError):
        return None


def loader(to_principal: Callable[[Any], Principal]) -> Callable[[str], Principal | None] | None:
    """id -> the project's user as a principal. None: the project has no users of Django's."""
    try:
        get_user_model()
    except AppRegistryNotReady:
        pass  # a call before django.setup(), which no worker is
    except ImproperlyConfigured:
        return None
    return partial(load_user, to_principal)


def _may_log_in(user: Any) -> bool:
    return bool(getattr(user, "is_authenticated", False))


def _is_anonymous(user: Any) -> bool:
    return getattr(user, "is_anonymous", False) is True


def _principal(user: Any, pk: Any, roles: Iterable[str]) -> Principal:
    (version,) = _versions(user, "get_session_auth_hash") or (None,)
    return Principal(id=str(pk), kind="user", roles=frozenset(roles), credential_version=version)


def _versions(user: Any, method: str) -> tuple[str, ...]:
    ask = getattr(user, method, None)
    hashes = ask() if callable(ask) else ()
    given = (hashes,) if isinstance(hashes, str) else hashes
    return tuple(sha256(b"fnqueue credentials" + str(each).encode()).hexdigest()[:32] for each in given)


def _checked_pk(user: Any) -> Any:
    """Raises OptionInvalid for what is no saved user of the project."""
    pk = getattr(user, "pk", None)
    if not _may_log_in(user):
        fault, instead = "is no user of Django", "a saved user"
    elif pk is None or isinstance(pk, tuple) or str(pk) == "":
        fault, instead = f"has the primary key {pk!r}", "a saved user"
    elif _is_of_another_model(user):
        fault = f"is no {get_user_model().__name__}, and its primary key may be another's"
        instead = "the user, say with @fn.principal who a request's principal is"
    else:
        return pk
    raise OptionInvalid(
        f"a {user.__class__.__name__} {fault}: no principal can be made of it. Give {instead}, "
        "or a fnqueue.Principal: Principal(id=str(user.pk), kind='user', roles=...)"
    )


def _is_of_another_model(user: Any) -> bool:
    """What is of no model, as a user made of a token, is taken at its word."""
    if not hasattr(user, "_meta"):
        return False
    try:
        users: Any = get_user_model()
    except ImproperlyConfigured:
        return False  # the project has no users of Django's whom it could be mistaken for
    # Of a proxy the model that has the table.
    return not issubclass(user._meta.concrete_model, users._meta.concrete_model)


def _groups(user: Any) -> Any:
    groups: Any = getattr(user, "groups", None)
    return None if _is_manager(groups) and not _has_names(groups.model) else groups


def _has_names(model: Any) -> bool:
    """Whatever else a project calls groups, as the rooms of a chat, may have none."""
    try:
        model._meta.get_field("name")
    except FieldDoesNotExist:
        return False
    return True


def _is_manager(groups: Any) -> bool:
    return hasattr(groups, "values_list")


def _names(user: Any, groups: Any) -> list[str]:
    if _is_manager(groups):
        groups = groups.values_list("name", flat=True)
    flags = [role for flag, role in FLAGS.items() if getattr(user, flag, False) is True]
    reserved = {role for flag, role in FLAGS.items() if hasattr(user, flag)}
    return [*(name for name in map(_name, groups or ()) if name and name not in reserved), *flags]


def _name(group: Any) -> str:
    """Of a model of one's own, which may have other groups than Django's."""
    return group if isinstance(group, str) else str(getattr(group, "name", ""))
