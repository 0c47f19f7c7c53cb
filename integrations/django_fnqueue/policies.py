"""Policies that ask Django: a user's permissions, and whose an object is. Beside those of `fnqueue.policies`.

    from django_fnqueue.policies import owns, perm

    @fn.task(policy=perm("shop.change_invoice") | owns(Invoice, argument="invoice_id"))

Both are asked when the call is deferred and again before it runs, each time of the database as it is then: a
permission that was taken away meanwhile denies, and an object that has another owner is another's. In async code use
`adefer`. A database that does not answer is an error, which never allows. Permissions on single objects are no part
of this: write them with `fnqueue.policies.custom`.
The id of a user's principal is the user's primary key; with a `@fn.principal` that says otherwise these do not fit.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

from django.apps import apps
from django.core.exceptions import FieldDoesNotExist, ValidationError
from django.db.models import Model

from django_fnqueue.principals import find_user, may_act
from fnqueue import policies
from fnqueue.errors import OptionInvalid
from fnqueue.policies import Decision, Policy, PolicyContext
from fnqueue.security.grants import factory
from fnqueue.security.policy import ALLOW

__all__ = ["owns", "perm"]


@factory('perm("shop.change_invoice")')
def perm(*names: str) -> Policy:
    """A user who has all of these permissions, as `user.has_perm` says. Anonymous users, services and schedules have
    none."""
    for name in names:
        if not isinstance(name, str) or not all(name.partition(".")):
            raise OptionInvalid(f'perm({name!r}): a permission is "app_label.codename", as perm("shop.change_invoice")')
    if not names:
        raise OptionInvalid('perm(): must name one permission or more, as perm("shop.change_invoice")')
    return _Perm(names)


@factory('owns(Invoice, argument="invoice_id")')
def owns(model: type[Model] | str, *, argument: str, owner: str = "owner") -> Policy:
    """The user that `owner` of the object names, whose primary key is in the task's `argument`.

    `model`: the class, or "app_label.Model" where it cannot be imported. `owner`: a field, or a path of them as in
    `filter()`: "account__owner". What does not exist is denied as what is another's.
    """
    found = _Owner(model, owner)
    if not isinstance(model, str):
        found.check()
    return policies.owns(argument, load=found.of, owner="owner")


class _Perm(Policy):
    def __init__(self, names: tuple[str, ...]) -> None:
        self._names = names

    def decide(self, ctx: PolicyContext) -> Decision:
        principal = ctx.principal
        if principal.kind == "anonymous":
            return self._denied("")
        if principal.kind != "user":
            return self._denied(f"; {principal} is no user")
        user = find_user(principal.id)
        if user is None or not may_act(user):
            return self._denied(f"; {principal} is gone or inactive")
        missing = [name for name in self._names if user.has_perm(name) is not True]
        return self._denied(f"; {principal} has not got {' nor '.join(missing)}") if missing else ALLOW

    def _denied(self, has: str) -> Decision:
        what = "permission" if len(self._names) == 1 else "permissions"
        return Decision("deny", f"needs the {what} {' and '.join(self._names)}{has}")

    def __repr__(self) -> str:
        return f"perm({', '.join(map(repr, self._names))})"


class _Owner:
    """Reads one column of one row."""

    def __init__(self, model: type[Model] | str, path: str) -> None:
        self._given, self._path = model, path

    def of(self, pk: Any) -> Mapping[str, Any] | None:
        """None: there is no such object."""
        model: Any = self._model
        try:
            wanted = model._meta.pk.to_python(pk)
        except (ValidationError, TypeError, ValueError, OverflowError):
            return None  # no key of any object
        if wanted is None:
            return None
        found = model._default_manager.filter(pk=wanted).values_list(self._column, flat=True).first()
        return {"owner": found}

    def check(self) -> None:
        """Raises OptionInvalid for a field that is not there, as far as it can be known while models are defined."""
        self._field(self._model, self._path.split("__")[0])

    @cached_property
    def _model(self) -> Any:
        if isinstance(self._given, str):
            return apps.get_model(self._given)
        if not hasattr(self._given, "_meta"):
            raise OptionInvalid(f"owns({self._given!r}): must be a model, or its name as 'app_label.Model'")
        return self._given

    @cached_property
    def _column(self) -> str:
        """The owner's primary key, whatever column a foreign key points to."""
        model, field = self._model, None
        for name in self._path.split("__"):
            if name == "pk":
                return self._path
            field = self._field(model, name)
            model = field.related_model
        is_key = field is not None and field.is_relation and self._path.split("__")[-1] == field.name
        return f"{self._path}__pk" if is_key else self._path

    def _field(self, model: Any, name: str) -> Any:
        """Raises OptionInvalid. Django's own FieldDoesNotExist would be taken for an object that does not exist."""
        says = f"owns({self._model.__name__}, owner={self._path!r}): "
        try:
            field = model._meta.get_field(name)
        except FieldDoesNotExist:
            names = ", ".join(sorted(field.name for field in model._meta.fields))
            whose = "it" if model is self._model else model.__name__
            raise OptionInvalid(f"{says}{whose} has no field {name!r}; it has {names}") from None
        if field.is_relation and (field.many_to_many or field.one_to_many):
            raise OptionInvalid(f"{says}{name!r} names several, and one can own")
        return field
