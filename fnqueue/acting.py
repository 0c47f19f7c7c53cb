"""On whose behalf: the part of `FnQueue` that knows who is asking, and lets code say for whom it acts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from fnqueue.context import running
from fnqueue.errors import OptionInvalid
from fnqueue.hooks import Hooks
from fnqueue.security.principal import ANONYMOUS, Principal, service

NOBODY = {
    True: "; nobody is logged in.",
    False: "; nobody is logged in here (no request).\n"
    'Wrap it: with fn.as_principal(user): ...   or   with fn.as_service("import"): ...',
}


class Acting:
    """Holds the principal set by hand. The request's comes from the hooks, a running task's from its context."""

    hooks: Hooks

    def __init__(self) -> None:
        self._principal: ContextVar[Principal | None] = ContextVar("fnqueue_principal", default=None)

    def current_principal(self) -> Principal:
        """On whose behalf a call made here and now would be: as_principal, the running task's, the request's."""
        given = self._principal.get()
        if given is not None:
            return given
        context = running.get()
        if context is not None:
            return context.principal.through(context.task)
        return self.hooks.request_principal() or ANONYMOUS

    @contextmanager
    def as_principal(self, who: Any) -> Iterator[Principal]:
        """Defer on behalf of `who`, a Principal or what the integration's principal hook understands.

        In a task `via` tells for whom it runs, and its name.
        """
        principal, context = who if isinstance(who, Principal) else self.to_principal(who), running.get()
        if context is not None:
            principal = principal.made_for(context.principal, context.task)
        with self._acting_for(principal):
            yield principal

    @contextmanager
    def _acting_for(self, principal: Principal) -> Iterator[Principal]:
        token = self._principal.set(principal)
        try:
            yield principal
        finally:
            self._principal.reset(token)

    def attenuate(self, *, roles: Iterable[str] | None = None, scopes: Iterable[str] | None = None) -> Any:
        """Defer for the same principal with no more than these roles and scopes: `with fn.attenuate(roles=()): ...`.

        In a task its calls have the rights that it has itself, and inside the block less. None leaves them as they are;
        names that the principal does not have are not added.
        """
        return self._acting_for(self.current_principal().attenuate(roles=roles, scopes=scopes))

    def as_service(self, name: str, *, scopes: Iterable[str] = ()) -> Any:
        """Defer as a part of the system: `with fn.as_service("import"): ...`."""
        return self.as_principal(service(name, scopes))

    def to_principal(self, who: Any) -> Principal:
        """A user object as a principal. Integrations override it."""
        raise OptionInvalid(
            f"as_principal() takes a fnqueue.Principal here, got {type(who).__name__}: "
            "Principal(id=str(user.id), kind='user', roles=...)"
        )

    def principal(self, function: Callable[[Any], Principal | None], /) -> Callable[[Any], Principal | None]:
        """`@fn.principal`: request -> Principal, or None. Without a framework the request is None."""
        self.hooks.request_principal = lambda: function(None)
        return function

    def load_principal(self, function: Callable[[str], Principal | None], /) -> Callable[[str], Principal | None]:
        """`@fn.load_principal`: id -> the Principal as it is now, None if gone. Asked before each run."""
        self.hooks.load_principal = function
        return function

    def _nobody(self) -> str:
        """Said after a denial when nobody is logged in: why that may be, and what to do."""
        return NOBODY[self.hooks.in_request()]
