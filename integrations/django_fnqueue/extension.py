"""`FnQueue` for Django: made at import time, before any setting is known; `django_fnqueue.fn` is one.

Its settings are a dict of Django's, `FNQUEUE`, read at first use and again after it changed (`override_settings`).
Whose calls they are is asked of the request that the middleware remembers.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, TypeVar

from django.core.exceptions import SynchronousOnlyOperation
from django.core.signals import setting_changed

from django_fnqueue import refusals, requests
from django_fnqueue.config import NAME, base_dir, check_configured, merged
from django_fnqueue.connections import around_attempt, close_all
from django_fnqueue.faults import middleware_errors, pool_warnings, sentences
from django_fnqueue.middleware import is_installed
from django_fnqueue.principals import aprincipal_of, loader, principal_of
from django_fnqueue.status import status_url
from django_fnqueue.threads import around_coroutine, in_thread, wait_for
from django_fnqueue.transactions import current_transaction
from fnqueue import errors
from fnqueue.app import FnQueue as CoreFnQueue
from fnqueue.clock import SystemClock
from fnqueue.context import running
from fnqueue.dispatch.calls import Prepared
from fnqueue.errors import OptionInvalid
from fnqueue.hooks import described
from fnqueue.runtime import Runtime
from fnqueue.security.principal import ANONYMOUS, Principal
from fnqueue.settings import Settings
from fnqueue.task.handle import Handle
from fnqueue.task.task import Task

E = TypeVar("E")

FORGOTTEN = (
    "; no request is known here.\n"
    'In a view: MIDDLEWARE needs "django_fnqueue.middleware.FnQueueMiddleware", after AuthenticationMiddleware.\n'
    'Elsewhere: with fn.as_principal(user): ...   or   with fn.as_service("import"): ...'
)

NO_USERS = (
    "; nobody can be logged in: the request has no `user`.\n"
    'MIDDLEWARE needs "django.contrib.auth.middleware.AuthenticationMiddleware".'
)


class FnQueue(CoreFnQueue):
    """Background functions of a Django project.

    `setting`: the name of the dict in Django's settings, for a project with several. `settings` and `defaults`
    count where neither that dict nor the environment says otherwise. See `fnqueue.app.FnQueue` for the verbs.
    """

    def __init__(self, *, setting: str = NAME, settings: Mapping[str, Any] | None = None, **defaults: Any) -> None:
        super().__init__()
        self._setting = setting
        self._defaults = (dict(settings or {}), defaults)
        self._made: dict[str, Runtime] = {}  # of one: setdefault lets one of two threads win, without a lock
        self._custom_principal: Callable[[Any], Any] | None = None
        self._custom_loader = False
        self.hooks.request_principal = partial(requests.request_principal, self._to_principal)
        self.hooks.in_request = requests.in_request
        self.hooks.transaction = current_transaction
        self.hooks.attempt = around_attempt
        self.hooks.thread_done = close_all
        self.hooks.coroutine = around_coroutine
        self.hooks.wait_for = wait_for
        self.hooks.status_url = status_url
        self.hooks.session = requests.session_marker
        self.hooks.faults = lambda: sentences(middleware_errors(self.make()))
        self.hooks.doubts = lambda: sentences(pool_warnings())
        setting_changed.connect(self._setting_changed)

    # ---------------------------------------------------------------- settings

    def settings(self) -> Settings:
        """As they are now. Opens and makes nothing. Raises SettingsInvalid with every fault of them."""
        return Settings.build(merged(self._setting, *self._defaults)).resolved(base_dir())

    def runtime(self) -> Runtime:
        # `_runtime` is there while `fnqueue.testing.in_memory` holds this object.
        return self._runtime or self._made.get("") or self._made.setdefault("", self.make())

    def make(self) -> Runtime:
        """A new runtime, by the settings as they are now. Opens nothing."""
        self._choose_loader()
        return super().make_runtime(merged(self._setting, *self._defaults), {}, base=base_dir())

    def make_runtime(self, settings: Mapping[str, Any] | None, overrides: dict[str, Any], *, base: str) -> Runtime:
        """Without settings of its own: by Django's. `fnqueue.testing` asks so."""
        if settings is None and not overrides:
            return self.make()
        return super().make_runtime(settings, overrides, base=base)

    def close(self) -> None:
        """Let go of files and connections. They are opened anew when used again."""
        super().close()
        made = self._made.pop("", None)
        if made is not None:
            made.close()

    def reads_setting(self, name: str) -> bool:
        return name in (self._setting, "BASE_DIR")

    def _setting_changed(self, *, setting: str, **about: Any) -> None:
        made = self._made.pop("", None) if self.reads_setting(setting) else None
        if made is not None:
            made.close()

    def on(self, event: type[E], callback: Callable[[E], None]) -> None:
        super().on(event, callback)
        if "" in self._made:
            self._made[""].events.on(event, callback)

    # ---------------------------------------------------------------- deferring

    async def asend(self, task: Task[Any, Any, Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Handle[Any]:
        """For whoever `request.auser()` is. The rest is in a thread, with this context's variables."""
        if not self._asks_request():
            return await in_thread(self.send, task, args, kwargs)
        with self.as_principal(await self._arequest_principal() or ANONYMOUS):
            return await in_thread(self.send, task, args, kwargs)

    def _prepare(
        self, task: Task[Any, Any, Any], args: tuple[Any, ...], kwargs: dict[str, Any], *, here: bool = False
    ) -> Prepared:
        try:
            return super()._prepare(task, args, kwargs, here=here)
        except errors.PolicyDenied as error:
            raise refusals.denied(error) from None

    def _nobody(self) -> str:
        check_configured()  # without settings nobody is logged in either, but that is not what is to be mended
        request = requests.current_request()
        if request is None and not is_installed():
            return FORGOTTEN
        known = request is None or self._custom_principal is not None or hasattr(request, "user")
        return super()._nobody() if known else NO_USERS

    # ---------------------------------------------------------------- principals

    def principal(self, function: Callable[[Any], Any], /) -> Callable[[Any], Any]:
        """`@fn.principal`: HttpRequest -> Principal, or None for nobody. Instead of `request.user`.

        It may be a coroutine function; then it serves `adefer` alone. Give `@fn.load_principal` too: without it
        such principals are not asked for again before a task runs.
        """
        self._custom_principal = function
        self.hooks.request_principal = lambda: self._by_custom(function)
        self._choose_loader()
        return function

    def load_principal(self, function: Callable[[str], Principal | None], /) -> Callable[[str], Principal | None]:
        """`@fn.load_principal`: id -> the Principal as it is now, None if gone. Asked before each run."""
        self._custom_loader = True
        return super().load_principal(function)

    def to_principal(self, who: Any) -> Principal:
        """A user of Django's as a principal. Asks the database for the user's groups."""
        try:
            return self._to_principal(who)
        except SynchronousOnlyOperation:
            raise OptionInvalid(
                "a user's groups cannot be loaded on an event loop: make the principal in a thread, as in\n"
                "with fn.as_principal(await sync_to_async(fn.to_principal)(user)): ..."
            ) from None

    def _to_principal(self, user: Any) -> Principal:
        return described(principal_of(user), user, self.hooks.describe_user)

    async def _ato_principal(self, user: Any) -> Principal:
        principal = await aprincipal_of(user)
        if self.hooks.describe_user is None:
            return principal
        return await in_thread(described, principal, user, self.hooks.describe_user)

    def note_login(self, sender: Any, *, request: Any = None, **about: Any) -> None:
        """For Django's signal `user_logged_in`."""
        made = self._runtime or self._made.get("")
        requests.note_login(made.clock if made is not None else SystemClock(), request)

    def _choose_loader(self) -> None:
        # A principal of the project's own making has rights that Django's user does not: comparing the two would
        # take them away. Whoever gives @fn.principal gives @fn.load_principal too, or has no reload.
        if not self._custom_loader:
            self.hooks.load_principal = None if self._custom_principal is not None else loader(self._to_principal)

    def _asks_request(self) -> bool:
        return self._principal.get() is None and running.get() is None and self.hooks.in_request()

    async def _arequest_principal(self) -> Principal | None:
        custom = self._custom_principal
        if custom is None:
            return await requests.arequest_principal(self._ato_principal)
        if inspect.iscoroutinefunction(custom):
            return _checked(custom, await custom(requests.current_request()))
        return await in_thread(self.hooks.request_principal)

    def _by_custom(self, function: Callable[[Any], Any]) -> Principal | None:
        request = requests.current_request()
        if request is None:
            return None
        if inspect.iscoroutinefunction(function):
            raise OptionInvalid(f"@fn.principal {function.__name__}() is a coroutine function: use adefer() here")
        return _checked(function, function(request))


def _checked(function: Callable[..., Any], found: Any) -> Principal | None:
    if found is not None and not isinstance(found, Principal):
        raise OptionInvalid(
            f"@fn.principal {function.__name__}() must return a fnqueue.Principal or None, got {type(found).__name__}"
        )
    return found
