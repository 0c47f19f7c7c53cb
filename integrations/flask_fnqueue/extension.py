"""`FnQueue` for Flask: one object for any number of apps, made at import time before any app exists.

It keeps no app: which one is meant is asked of `current_app` at each call, and what belongs to an app lies in
`app.extensions["fnqueue"]`. `init_app` opens nothing and starts nothing.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from typing import Any, Literal, ParamSpec, TypeVar, Unpack, cast, overload

from flask import Flask, Request, current_app, has_app_context, has_request_context, request

from flask_fnqueue import refusals, status
from flask_fnqueue.cli import cli
from flask_fnqueue.contexts import in_request
from flask_fnqueue.principals import login_principal, note_logins, principal_of, uses_flask_login
from flask_fnqueue.state import EXTENSION, FlaskState
from fnqueue.app import FnQueue as CoreFnQueue
from fnqueue.dispatch.calls import Prepared
from fnqueue.errors import AppNotFound, OptionInvalid
from fnqueue.hooks import described
from fnqueue.runtime import Runtime
from fnqueue.security.principal import Principal
from fnqueue.task.decorators import BoundTaskDecorator, TaskDecorator
from fnqueue.task.options import TaskKeywords
from fnqueue.task.task import Task

P = ParamSpec("P")
R = TypeVar("R")
E = TypeVar("E")

NO_CONTEXT = (
    "fnqueue needs an application context here, to know which app's queue is meant.\n"
    "Wrap it: with app.app_context(): ..."
)
NO_APP_YET = "This FnQueue was not given to any app yet: fn.init_app(app), in the app's factory."


class FnQueue(CoreFnQueue):
    """Background functions of a Flask application.

    `FnQueue(app)` or `fn = FnQueue()` and later `fn.init_app(app)`. `settings` and `defaults` count where neither
    the app's configuration nor the environment says otherwise. See `fnqueue.app.FnQueue` for the verbs.
    """

    def __init__(self, app: Flask | None = None, *, settings: Mapping[str, Any] | None = None, **defaults: Any) -> None:
        super().__init__()
        self._defaults = (dict(settings or {}), defaults)
        self._states: weakref.WeakSet[FlaskState] = weakref.WeakSet()
        self._request_tasks: set[str] = set()
        self._custom_principal = False
        self.hooks.request_principal = self._request_principal
        self.hooks.in_request = in_request
        self.hooks.status_url = status.status_url
        self.hooks.session = status.session_marker
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask, *, url: str | None = None, **defaults: Any) -> None:
        """Make this object known to `app`. No I/O, no thread; the configuration is read at first use.

        `url` and `defaults` are settings that the app's configuration and the environment may overrule.
        Raises RuntimeError when the app has an FnQueue already.
        """
        if not isinstance(app, Flask):
            raise OptionInvalid(
                f"FnQueue(app) and init_app(app) take the Flask app, got {type(app).__name__}: settings have names, as "
                'FnQueue(app, url="sqlite:///fnqueue.db")'
            )
        if EXTENSION in app.extensions:
            same = app.extensions[EXTENSION].fn is self
            raise RuntimeError(
                f"the app {app.import_name!r} has {'this' if same else 'another'} FnQueue already: "
                "call init_app once per app (FnQueue(app) is that call)"
            )
        given = {"url": url, **defaults} if url is not None else defaults
        state = FlaskState(
            app=app,
            fn=self,
            defaults=(*self._defaults, given),
            request_tasks=self._request_tasks,
            custom_principal=self._custom_principal,
        )
        app.extensions[EXTENSION] = state
        self._states.add(state)
        note_logins()
        refusals.register(app)
        status.register(app)
        app.shell_context_processor(self._shell_context)
        if cli.name not in app.cli.commands:  # besides the entry point: `app.test_cli_runner()` knows only these
            app.cli.add_command(cli)

    # ---------------------------------------------------------------- tasks

    @overload
    def task(self, function: Callable[P, Coroutine[Any, Any, R]], /) -> Task[P, R, Coroutine[Any, Any, R]]: ...
    @overload
    def task(self, function: Callable[P, R], /) -> Task[P, R, R]: ...
    @overload
    def task(
        self, *, bind: Literal[True], request_context: bool = ..., **options: Unpack[TaskKeywords]
    ) -> BoundTaskDecorator: ...
    @overload
    def task(
        self, *, bind: Literal[False] = ..., request_context: bool = ..., **options: Unpack[TaskKeywords]
    ) -> TaskDecorator: ...
    def task(self, function: Any = None, /, *, request_context: bool = False, **options: Any) -> Any:  # type: ignore[misc]
        """Register a function as a task, with the options of `fnqueue.FnQueue.task` and one more.

        request_context: each attempt runs in a request context besides the app's, as `app.test_request_context()`
        makes it: `url_for` knows SERVER_NAME, APPLICATION_ROOT and PREFERRED_URL_SCHEME, the session is empty and
        nobody is logged in. It is not the request that deferred the call, and nothing of that is in it. The principal
        is the task's, never the request's. No before_request function runs.
        Raises OptionInvalid, TaskNameInvalid.
        """
        if function is not None:
            return super().task(function)
        if not isinstance(request_context, bool):
            raise OptionInvalid(f"request_context={request_context!r}: must be True or False")
        decorate = super().task(**options)
        return partial(self._register_with_request, decorate) if request_context else decorate

    def _register_with_request(self, decorate: Callable[[Any], Task[Any, Any, Any]], function: Any) -> Any:
        task = decorate(function)
        self._request_tasks.add(task.name)
        return task

    # ---------------------------------------------------------------- which app

    def state(self) -> FlaskState:
        """What the current app has of this object. Raises AppNotFound, which says what to do."""
        if not has_app_context():
            raise AppNotFound(NO_CONTEXT if len(self._states) else f"{NO_CONTEXT}\n{NO_APP_YET}")
        name = current_app.import_name
        found = current_app.extensions.get(EXTENSION)
        if found is None:
            raise AppNotFound(
                f"the current app {name!r} has no fnqueue: call fn.init_app(app) where it is made{self._others()}"
            )
        if found.fn is not self:
            raise AppNotFound(
                f"the current app {name!r} has another FnQueue than the one that this task belongs to: "
                f"give the app this one with fn.init_app(app), or register the task with the app's{self._others()}"
            )
        return cast(FlaskState, found)

    def _others(self) -> str:
        names = sorted({repr(state.app.import_name) for state in self._states})
        return f". This FnQueue belongs to {', '.join(names)}." if names else "."

    def runtime(self) -> Runtime:
        # `_runtime` is there while `fnqueue.testing.in_memory` holds this object, for whatever app.
        return self._runtime if self._runtime is not None else self.state().runtime

    def make_runtime(self, settings: Mapping[str, Any] | None, overrides: dict[str, Any], *, base: str) -> Runtime:
        """Without settings of its own: by the current app's, with its hooks. `fnqueue.testing` asks so."""
        if settings is None and not overrides:
            return self.state().make()
        return super().make_runtime(settings, overrides, base=base)

    def close(self) -> None:
        """Let go of files and connections, of all apps. They are opened anew when used again."""
        for state in list(self._states):
            state.close()

    def on(self, event: type[E], callback: Callable[[E], None]) -> None:
        """Call `callback` at each event of this type (`fnqueue.events`), of all apps. In web and worker alike."""
        super().on(event, callback)
        for state in list(self._states):
            if state.existing is not None:
                state.existing.events.on(event, callback)

    # ---------------------------------------------------------------- principals

    def principal(self, function: Callable[[Request], Principal | None], /) -> Callable[[Request], Principal | None]:
        """`@fn.principal`: Flask's request -> Principal, or None for nobody. Instead of Flask-Login's user.

        Give `@fn.load_principal` too: without it such principals are not asked for again before a task runs.
        """
        self.hooks.request_principal = lambda: _checked(function, function(request)) if in_request() else None
        self._custom_principal = True
        for state in list(self._states):
            state.custom_principal = True
            state.choose_loader()
        return function

    def load_principal(self, function: Callable[[str], Principal | None], /) -> Callable[[str], Principal | None]:
        """`@fn.load_principal`: id -> the Principal as it is now, None if gone. Asked in an app context at each run."""
        super().load_principal(function)
        for state in list(self._states):
            state.choose_loader()
        return function

    def to_principal(self, who: Any) -> Principal:
        """A user object, as Flask-Login has them, as a principal."""
        return described(principal_of(who), who, self.hooks.describe_user)

    def _request_principal(self) -> Principal | None:
        return login_principal(self.to_principal) if in_request() else None

    def _nobody(self) -> str:
        said = super()._nobody()
        if not has_request_context() or self._custom_principal or uses_flask_login(current_app):
            return said
        return f"{said[:-1]}: this app uses no Flask-Login, so say who asks with @fn.principal: request -> Principal."

    def _prepare(
        self, task: Task[Any, Any, Any], args: tuple[Any, ...], kwargs: dict[str, Any], *, here: bool = False
    ) -> Prepared:
        state, principal = self.state(), self.current_principal()
        if principal.kind == "user":
            state.check_loader(principal.id)
        return super()._prepare(task, args, kwargs, here=here)

    # ---------------------------------------------------------------- the shell

    def _shell_context(self) -> dict[str, Any]:
        """`flask shell`: `fn`, and the registered tasks by their functions' names."""
        return {task.name.rpartition(".")[2]: task for task in self.registry} | {"fn": self}


def _checked(function: Callable[..., Any], found: Any) -> Principal | None:
    if found is not None and not isinstance(found, Principal):
        raise OptionInvalid(
            f"@fn.principal {function.__name__}() must return a fnqueue.Principal or None, got {type(found).__name__}"
        )
    return found
