"""Policies that ask Flask-SQLAlchemy whose a row is. Beside those of `fnqueue.policies`.

    from flask_fnqueue.policies import owns

    @fn.task(policy=owns(Order, argument="order_id", owner="customer_id"))

It is asked when the call is deferred and again before it runs, each time of the database as it is then, by the session
of the app context: so a row that the view has flushed and not committed is seen. Nothing is flushed by the question.
A database that does not answer is an error, which never allows.
The owner is compared with the principal's id, which of a user of Flask-Login is `get_id()`.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

from flask import current_app
from sqlalchemy import inspect, select
from sqlalchemy.exc import NoInspectionAvailable
from sqlalchemy.orm import aliased

from fnqueue import policies
from fnqueue.errors import OptionInvalid
from fnqueue.policies import Policy
from fnqueue.security.grants import factory

__all__ = ["owns"]


@factory('owns(Order, argument="order_id")')
def owns(model: type[Any], *, argument: str, owner: str = "owner_id") -> Policy:
    """The user whom `owner` of the row names, whose primary key is in the task's `argument`.

    `model`: a mapped class. `owner`: an attribute, or a path of them: "account.owner_id". A relationship at its end
    means the primary key of what it leads to. What does not exist is denied as what is another's.
    """
    return policies.owns(argument, load=_Owner(model, owner).of, owner="owner")


class _Owner:
    """Reads one column of one row."""

    def __init__(self, model: Any, path: str) -> None:
        if not isinstance(model, type):
            raise OptionInvalid(f"owns({model!r}): must be a model of SQLAlchemy, as owns(Order, argument='order_id')")
        if not isinstance(path, str) or not all(path.split(".")):
            raise OptionInvalid(f"owns({model.__name__}, owner={path!r}): must be an attribute, or a path of them")
        self._model, self._path = model, path
        if not hasattr(model, path.split(".")[0]) and self._mapper(model).configured:
            raise self._fault(f"it has no {path.split('.')[0]!r}")  # a backref of another model is there only then

    def of(self, pk: Any) -> Mapping[str, Any] | None:
        """None: there is no such row."""
        known, value = self._as_key(pk)
        if not known:
            return None
        session = self._session()
        with session.no_autoflush:
            try:
                found = session.execute(self._query.where(self._key == value)).first()
            except OverflowError:
                return None  # a number that no column holds
        return None if found is None else {"owner": found[0]}

    def _as_key(self, pk: Any) -> tuple[bool, Any]:
        """Whether a row can have this key, and the key: a database would refuse it, and end the transaction."""
        try:
            kind = self._key.type.python_type
        except NotImplementedError:
            return pk is not None, pk
        if isinstance(pk, kind) and not isinstance(pk, bool):
            return True, pk
        if not isinstance(pk, str | int) or isinstance(pk, bool):
            return False, None
        try:
            return True, kind(pk)
        except (TypeError, ValueError):
            return False, None

    def _session(self) -> Any:
        extension = current_app.extensions.get("sqlalchemy")
        if extension is None:
            raise OptionInvalid(
                f"owns({self._model.__name__}): the app {current_app.import_name!r} has no Flask-SQLAlchemy: call "
                "db.init_app(app) where it is made, or use fnqueue.policies.owns with a load= of your own"
            )
        return extension.session

    @cached_property
    def _key(self) -> Any:
        return self._mapper(self._model).primary_key[0]

    @cached_property
    def _query(self) -> Any:
        """Made when first asked: mappers know each other only when all models are defined."""
        mapper = self._mapper(self._model)
        if len(mapper.primary_key) != 1:
            raise self._fault("its primary key is of several columns, and one argument cannot name a row")
        *way, last = self._path.split(".")
        at, joins = self._model, list[Any]()
        for name in way:
            at = self._join(at, name, joins)
        if last in self._mapper(at).column_attrs:
            column = getattr(at, last)
        else:
            column = self._only_key(self._join(at, last, joins))
        query = select(column).select_from(self._model)
        for join in joins:
            query = query.join(join)
        return query

    def _join(self, at: Any, name: str, joins: list[Any]) -> Any:
        """Where the relationship leads, under a name of its own: a table may be met twice."""
        found = aliased(self._relationship(at, name).mapper.class_)
        joins.append(getattr(at, name).of_type(found))
        return found

    def _only_key(self, at: Any) -> Any:
        mapper = self._mapper(at)
        if len(mapper.primary_key) != 1:
            raise self._fault(f"the primary key of {mapper.class_.__name__} is of several columns")
        return getattr(at, mapper.get_property_by_column(mapper.primary_key[0]).key)

    def _relationship(self, at: Any, name: str) -> Any:
        mapper = self._mapper(at)
        if name not in mapper.relationships:
            names = ", ".join(sorted([*mapper.column_attrs.keys(), *mapper.relationships.keys()]))
            raise self._fault(f"{mapper.class_.__name__} has no column or relationship {name!r}; it has {names}")
        relationship = mapper.relationships[name]
        if relationship.uselist:
            raise self._fault(f"{name!r} leads to several, and one can own")
        return relationship

    def _mapper(self, at: Any) -> Any:
        try:
            return inspect(at).mapper
        except NoInspectionAvailable:
            raise self._fault(f"{self._model.__name__} is no model of SQLAlchemy") from None

    def _fault(self, what: str) -> OptionInvalid:
        return OptionInvalid(f"owns({self._model.__name__}, owner={self._path!r}): {what}")
