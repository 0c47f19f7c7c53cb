"""What one application has of fnqueue: `app.extensions["fnqueue"]`.

The extension object knows no app; this record, which lives in the app, does. It becomes a `Runtime` at first
use, with the app's configuration as it is then, and with the hooks of this app: an application context around
each run, the app's own users, and the transaction of its database session. Nothing is opened before.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import Any

from flask import Flask

from flask_fnqueue.config import merged
from flask_fnqueue.contexts import contexts_of_a_run
from flask_fnqueue.principals import Loader, check_loader, loader_faults, login_loader, uses_flask_login
from flask_fnqueue.transactions import SessionTransactions
from fnqueue.app import FnQueue
from fnqueue.cli.discovery import import_if_there, import_modules
from fnqueue.clock import Clock, SystemClock
from fnqueue.forks import ProcessLock
from fnqueue.runtime import Runtime

EXTENSION = "fnqueue"


@dataclass(eq=False, kw_only=True)
class FlaskState:
    """`runtime` is made when first asked for; it raises SettingsInvalid with every fault of the configuration."""

    app: Flask = field(repr=False)
    fn: FnQueue = field(repr=False)
    defaults: tuple[Mapping[str, Any], ...] = field(repr=False)
    #: The names of those that run in a request context, as `fn` knows them then.
    request_tasks: Set[str] = field(default=frozenset(), repr=False)
    custom_principal: bool = False
    transactions: SessionTransactions = field(init=False, repr=False)
    _runtime: Runtime | None = field(default=None, repr=False)
    _checked_loader: bool = field(default=False, repr=False)
    _lock: ProcessLock = field(default_factory=ProcessLock, repr=False)

    def __post_init__(self) -> None:
        self.transactions = SessionTransactions(self.app)

    @property
    def runtime(self) -> Runtime:
        if self.fn._runtime is not None:  # a test holds it in memory, for whatever app: commands must not go past that
            return self.fn._runtime
        if self._runtime is None:
            with self._lock.here():
                if self._runtime is None:
                    self._runtime = self.make()
        return self._runtime

    @property
    def existing(self) -> Runtime | None:
        return self._runtime

    def clock(self) -> Clock:
        """That of the runtime, where there is one: a login makes none."""
        runtime = self.fn._runtime or self._runtime
        return runtime.clock if runtime is not None else SystemClock()

    def import_tasks(self) -> list[str]:
        """Import the modules with tasks, for a worker or the command line. Returns the names that were looked for.

        FNQUEUE_IMPORTS, all of which must be there; without it `tasks` beside the app and beside its blueprints.
        """
        wanted = self.runtime.settings.imports
        if wanted:
            return import_modules(wanted)
        looked_for = task_modules(self.app)
        for name in looked_for:
            import_if_there(name)
        return looked_for

    def close(self) -> None:
        runtime, self._runtime = self._runtime, None
        if runtime is not None:
            runtime.close()

    # ---------------------------------------------------------------- the runtime

    def make(self) -> Runtime:
        """A new one, by the app's configuration as it is now."""
        mapping = merged(self.app.config, *self.defaults)
        runtime = self.fn.make_runtime(mapping, {}, base=self.app.instance_path)
        runtime.hooks = replace(
            self.fn.hooks,
            scope=self._scope,
            load_principal=self._loader(),
            transaction=self.transactions.current,
            own_folder=self.app.instance_path,
            faults=self._faults,
        )
        return runtime

    def _scope(self, task: Any) -> AbstractContextManager[None]:
        return contexts_of_a_run(self.app, with_request=task.name in self.request_tasks)

    # ---------------------------------------------------------------- users

    def choose_loader(self) -> None:
        """To be called when the hooks of `fn` changed."""
        if self._runtime is not None:
            self._runtime.hooks.load_principal = self._loader()

    def check_loader(self, id: str) -> None:
        """Raises OptionInvalid if users of this app cannot be loaded without a request. Asks once."""
        if not self._checked_loader and self._loads_with_flask_login():
            check_loader(self.app, self.fn.to_principal, id)
        self._checked_loader = True

    def _faults(self) -> list[str]:
        return loader_faults(self.app) if self._loads_with_flask_login() else []

    def _loader(self) -> Loader | None:
        ours = login_loader(self.app, self.fn.to_principal) if self._loads_with_flask_login() else None
        return ours or self.fn.hooks.load_principal

    def _loads_with_flask_login(self) -> bool:
        # A principal of the application's own making has rights that Flask-Login's user does not: comparing the
        # two would take them away. Whoever gives @fn.principal gives @fn.load_principal too, or has no reload.
        return self.fn.hooks.load_principal is None and not self.custom_principal and uses_flask_login(self.app)


def task_modules(app: Flask) -> list[str]:
    """Where tasks are by custom: `shop.tasks` for an app made in `shop` or `shop.web`, and for its blueprints."""
    names: dict[str, None] = {}
    for package in (app.import_name, *(blueprint.import_name for blueprint in app.blueprints.values())):
        if package != "__main__":
            names[f"{package}.tasks"] = None
            parent = package.rpartition(".")[0]
            names |= {f"{parent}.tasks": None} if parent else {}
    return list(names)
