"""The built-in policies. Each says what was needed and, of a principal that has not got it, what it has.

Ids compare as text. A loader that finds nothing denies; one that fails is an ERROR, which never allows.
Knows principals and the shape of policies; knows nothing of frameworks: a record is anything with attributes
or keys.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, TypeVar

from fnqueue.errors import OptionInvalid
from fnqueue.security.policy import ALLOW, Decision, Policy, PolicyContext
from fnqueue.security.principal import Principal

F = TypeVar("F", bound=Callable[..., Policy])
Load = Callable[[Any], Any]

#: How far an `auth_time` may lie after the defer: `deferred_at` is in whole seconds, and clocks differ.
FRESH_SKEW_SECONDS: Final = 60.0
#: Django, SQLAlchemy and werkzeug say so that there is no such record. Classes are known by name: none is imported.
NOTHING_FOUND: Final = frozenset({"DoesNotExist", "ObjectDoesNotExist", "NotFound", "NoResultFound", "Http404"})
_SHOWN_MAX: Final = 10


def factory(example: str) -> Callable[[F], F]:
    """Marks what must be called to be a policy; `check_policy` tells so with the example."""

    def mark(function: F) -> F:
        function.__policy_factory__ = example  # type: ignore[attr-defined]
        return function

    return mark


def _denied(principal: Principal, needs: str, has: str) -> Decision:
    # Of nobody there is nothing to tell; whoever shows the text adds that nobody is logged in.
    return Decision("deny", f"needs {needs}" + ("" if principal.kind == "anonymous" else f"; {principal} {has}"))


# ------------------------------------------------------------------ who it is


class _Public(Policy):
    def decide(self, ctx: PolicyContext) -> Decision:
        return ALLOW

    def asks_who(self) -> bool:
        return False

    def __repr__(self) -> str:
        return "public"


class _OfKind(Policy):
    def __init__(self, name: str, kinds: Iterable[str], needs: str) -> None:
        self._name, self._kinds, self._needs = name, frozenset(kinds), needs

    def decide(self, ctx: PolicyContext) -> Decision:
        return ALLOW if ctx.principal.kind in self._kinds else _denied(ctx.principal, self._needs, "is none")

    def asks_who(self) -> bool:
        return "user" in self._kinds

    def __repr__(self) -> str:
        return self._name


#: Everybody, and nobody in particular.
public: Final[Policy] = _Public()
#: A user, a service or a schedule.
authenticated: Final[Policy] = _OfKind("authenticated", ("user", "service", "schedule"), "authenticated")
#: A user that still exists and is active: at execution the principal is one that was loaded anew.
active: Final[Policy] = _OfKind("active", ("user",), "a user that exists and is active")
#: A schedule of this application.
from_schedule: Final[Policy] = _OfKind("from_schedule", ("schedule",), "a schedule")


class _Service(Policy):
    def __init__(self, names: tuple[str, ...]) -> None:
        self._names = names

    def decide(self, ctx: PolicyContext) -> Decision:
        if ctx.principal.kind == "service" and ctx.principal.id in self._names:
            return ALLOW
        return _denied(ctx.principal, f"service {_either(self._names)}", "is not that")

    def asks_who(self) -> bool:
        return False

    def __repr__(self) -> str:
        return f"service({_listed(self._names)})"


@factory('service("import")')
def service(*names: str) -> Policy:
    """One of these services. A user whose id is such a name is none."""
    return _Service(_names("service", names))


# ------------------------------------------------------------------ what it has


class _Has(Policy):
    """Roles or scopes. `any_of`: one of the names is enough."""

    def __init__(self, word: str, names: tuple[str, ...], *, any_of: bool) -> None:
        self._word, self._names, self._any = word, names, any_of

    def decide(self, ctx: PolicyContext) -> Decision:
        has: frozenset[str] = getattr(ctx.principal, f"{self._word}s")
        enough = not has.isdisjoint(self._names) if self._any else has.issuperset(self._names)
        if enough:
            return ALLOW
        needs = f"{self._word} {_either(self._names) if self._any else ' and '.join(map(repr, self._names))}"
        return _denied(ctx.principal, needs, f"has {_listed(sorted(has))}" if has else "has none")

    def __repr__(self) -> str:
        return f"{self._word}({_listed(self._names)})"


@factory('role("editor")')
def role(*names: str) -> Policy:
    """Any of these roles."""
    return _Has("role", _names("role", names), any_of=True)


@factory('scope("invoices:write")')
def scope(*names: str) -> Policy:
    """All of these scopes."""
    return _Has("scope", _names("scope", names), any_of=False)


class _Fresh(Policy):
    def __init__(self, minutes: float) -> None:
        self._minutes = minutes

    def decide(self, ctx: PolicyContext) -> Decision:
        needs = f"a login of the last {self._minutes:g} minutes before the call"
        if ctx.principal.auth_time is None:
            return _denied(ctx.principal, needs, "has no auth_time")
        age = (ctx.deferred_at - ctx.principal.auth_time).total_seconds()
        if -FRESH_SKEW_SECONDS <= age <= self._minutes * 60:
            return ALLOW
        when = f"{age / 60:.0f} minutes before" if age > 0 else f"{-age / 60:.0f} minutes after"
        return _denied(ctx.principal, needs, f"logged in {when} it")

    def __repr__(self) -> str:
        return f"fresh(minutes={self._minutes:g})"


@factory("fresh(minutes=15)")
def fresh(*, minutes: float) -> Policy:
    """Who logged in at most so long before the call was deferred. The wait in the queue does not count."""
    if isinstance(minutes, bool) or not isinstance(minutes, int | float) or not 0 < minutes <= 525_600:
        raise OptionInvalid(f"fresh(minutes={minutes!r}): must be above 0, and at most 525,600 (a year)")
    return _Fresh(minutes)


class _SameCredentials(Policy):
    def decide(self, ctx: PolicyContext) -> Decision:
        # At a run the version is that of the seal, and is there only if it still holds: see Principal.narrowed_to.
        if ctx.principal.kind == "user" and ctx.principal.credential_version is not None:
            return ALLOW
        has = "has no credential version" if ctx.phase == "defer" else "has changed them, or nobody could compare"
        return _denied(ctx.principal, "the same credentials at the call and at the run", has)

    def __repr__(self) -> str:
        return "same_credentials"


#: A user who has not changed their password, or what else the application says, since the call was made.
same_credentials: Final[Policy] = _SameCredentials()


# ------------------------------------------------------------------ what it is about


class _Belongs(Policy):
    """The record that an argument names, and one field of it against the principal."""

    word: str

    def __init__(self, argument: str, load: Load, field: str) -> None:
        for name, given in (("argument", argument), (self.word, field)):
            if not isinstance(given, str) or not given:
                raise OptionInvalid(f"{type(self).__name__}: {name}={given!r} must be a name")
        if not callable(load) or inspect.iscoroutinefunction(load):
            raise OptionInvalid(f"{self!r}: load= must be a function, and not async: it is called as load({argument})")
        self._argument, self._load, self._field = argument, load, field

    def arguments(self) -> frozenset[str]:
        return frozenset({self._argument})

    def decide(self, ctx: PolicyContext) -> Decision:
        if self._argument not in ctx.args:
            return Decision("error", f"the call has no argument {self._argument!r} for {self!r}")
        record = _loaded(self._load, ctx.args[self._argument])
        # What does not exist is refused in the words for what is another's: the reason goes out as a 403's text, and
        # would tell strangers which ids there are.
        return self._compare(ctx.principal, None if record is None else _field(record, self._field))

    def _needs(self) -> str:
        raise NotImplementedError

    def _compare(self, principal: Principal, value: Any) -> Decision:
        raise NotImplementedError


class _Owns(_Belongs):
    word = "owner"

    def _needs(self) -> str:
        return f"the owner of {self._argument}"

    def _compare(self, principal: Principal, value: Any) -> Decision:
        # Only users own: a service that is called "7" is not user 7.
        if value is not None and principal.kind == "user" and str(value) == principal.id:
            return ALLOW
        return _denied(principal, self._needs(), "is not")

    def __repr__(self) -> str:
        return f"owns({getattr(self, '_argument', '...')!r})"


class _SameTenant(_Belongs):
    word = "tenant"

    def _needs(self) -> str:
        return f"the tenant of {self._argument}"

    def _compare(self, principal: Principal, value: Any) -> Decision:
        if value is not None and principal.tenant is not None and str(value) == principal.tenant:
            return ALLOW
        return _denied(principal, self._needs(), "is of another" if principal.tenant else "has no tenant")

    def __repr__(self) -> str:
        return f"same_tenant({getattr(self, '_argument', '...')!r})"


@factory('owns("account_id", load=Account.by_id)')
def owns(argument: str, *, load: Load, owner: str = "owner_id") -> Policy:
    """The user whose id is in `owner` of `load(value of the argument)`."""
    return _Owns(argument, load, owner)


@factory('same_tenant("account_id", load=Account.by_id)')
def same_tenant(argument: str, *, load: Load, tenant: str = "tenant_id") -> Policy:
    """Whose tenant is in `tenant` of `load(value of the argument)`."""
    return _SameTenant(argument, load, tenant)


def _loaded(load: Load, value: Any) -> Any:
    """None for what does not exist. Other exceptions rise, and become ERROR."""
    try:
        return load(value)
    except Exception as error:
        if any(
            base.__name__ in NOTHING_FOUND or base.__name__.endswith("DoesNotExist") for base in type(error).__mro__
        ):
            return None
        raise


def _field(record: Any, name: str) -> Any:
    return record[name] if isinstance(record, Mapping) else getattr(record, name)


# ------------------------------------------------------------------ one's own


class _Custom(Policy):
    def __init__(self, function: Callable[[PolicyContext], bool]) -> None:
        self._function = function
        self.__name__ = getattr(function, "__name__", type(function).__name__)
        self.__doc__ = function.__doc__

    def decide(self, ctx: PolicyContext) -> Decision:
        answer: Any = self._function(ctx)
        if answer is True:
            return ALLOW
        if answer is False:
            return _denied(ctx.principal, self.__name__, "is refused by it")
        if inspect.iscoroutine(answer):
            answer.close()
        return Decision("error", f"{self!r} must return True or False, and returned a {type(answer).__name__}")

    def __repr__(self) -> str:
        return self.__name__


def custom(function: Callable[[PolicyContext], bool], /) -> Policy:
    """`@custom` makes a policy of a function that takes the context and returns exactly True or False."""
    if not callable(function) or isinstance(function, type | Policy):
        raise OptionInvalid(f"@custom is for functions of one PolicyContext, got {type(function).__name__}")
    if inspect.iscoroutinefunction(function):
        raise OptionInvalid(f"@custom {function.__name__} is async: a policy is asked in plain code; make it def")
    return _Custom(function)


def _names(policy: str, names: tuple[Any, ...]) -> tuple[str, ...]:
    if not names or not all(isinstance(name, str) and name for name in names):
        raise OptionInvalid(f'{policy}({_listed(names)}): must name one or more, as {policy}("a", "b")')
    return names


def _listed(names: Iterable[Any]) -> str:
    shown = list(map(repr, names))
    more = f", and {len(shown) - _SHOWN_MAX} more" if len(shown) > _SHOWN_MAX else ""
    return ", ".join(shown[:_SHOWN_MAX]) + more


def _either(names: Iterable[str]) -> str:
    return " or ".join(map(repr, names))
