"""Django's users as principals: groups are roles, and so are `staff` and `superuser`.

Before a run the same user is loaded anew by primary key. Any user model will do: what it does not have (groups,
is_staff, is_active) it does not give or ask.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from django.contrib.auth import get_user_model
from django.core.exceptions import AppRegistryNotReady, ImproperlyConfigured, ValidationError

from fnqueue.errors import OptionInvalid
from fnqueue.security.principal import ANONYMOUS, Principal

#: The flags of a user that are roles. A group of such a name is none: whoever may name groups is not thereby staff.
FLAGS = {"is_staff": "staff", "is_superuser": "superuser"}


def principal_of(user: Any) -> Principal:
    """A user as a principal; nobody for AnonymousUser. Raises OptionInvalid for what is no saved user."""
    return ANONYMOUS if _is_anonymous(user) else _principal(user, _names(user, _groups(user)))


async def aprincipal_of(user: Any) -> Principal:
    """The same on an event loop."""
    if _is_anonymous(user):
        return ANONYMOUS
    groups = _groups(user)
    found = [name async for name in groups.values_list("name", flat=True)] if _is_manager(groups) else groups
    return _principal(user, _names(user, found))


def may_act(user: Any) -> bool:
    return bool(getattr(user, "is_authenticated", False)) and bool(getattr(user, "is_active", True))


def load_user(id: str) -> Principal | None:
    """Who has this primary key, as they are now; None when they are gone or inactive."""
    user = find_user(id)
    return principal_of(user) if user is not None and may_act(user) else None


def find_user(id: str) -> Any | None:
    """The user who has this primary key; None where nobody has."""
    model = get_user_model()
    try:
        return model._default_manager.get(pk=id)
    except (model.DoesNotExist, ValueError, ValidationError):
        return None


def loader() -> Callable[[str], Principal | None] | None:
    """id -> the project's user as a principal. None: the project has no users of Django's."""
    try:
        get_user_model()
    except AppRegistryNotReady:
        pass  # a call before django.setup(), which no worker is
    except ImproperlyConfigured:
        return None
    return load_user


def _is_anonymous(user: Any) -> bool:
    return getattr(user, "is_anonymous", False) is True


def _principal(user: Any, roles: Iterable[str]) -> Principal:
    pk = getattr(user, "pk", None)
    if pk is None or isinstance(pk, tuple) or str(pk) == "":
        what = f"has the primary key {pk!r}" if hasattr(user, "pk") else "is no user of Django"
        raise OptionInvalid(
            f"a {type(user).__name__} {what}: no principal can be made of it. Give a saved user, "
            "or a fnqueue.Principal: Principal(id=str(user.pk), kind='user', roles=...)"
        )
    return Principal(id=str(pk), kind="user", roles=frozenset(roles))


def _groups(user: Any) -> Any:
    return getattr(user, "groups", None) if getattr(user, "pk", None) is not None else None


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
