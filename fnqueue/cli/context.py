"""How a command comes to its application, whoever started it: `fnqueue --app ...` or `flask fnqueue ...`.

A framework's group puts a finder into the context; without one the application is discovered. Nothing is
looked for before a command asks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import click

from fnqueue.cli.loading import load

APP_KEY = "fnqueue.cli.app"
FINDER_KEY = "fnqueue.cli.finder"
RELOADER_KEY = "fnqueue.cli.reloader"
_FOUND_KEY = "fnqueue.cli.found"

#: Loaded when a command asks: `healthcheck` never does.
DISCOVER = "fnqueue.cli.discovery:discover"
OF_ENVIRONMENT = "fnqueue.cli.discovery:of_environment"


def set_finder(ctx: click.Context, finder: Callable[[], Any]) -> None:
    """`finder() -> Application` is asked instead of the discovery."""
    ctx.meta[FINDER_KEY] = finder


def set_reloader(ctx: click.Context, make: Callable[[], Any]) -> None:
    """`make() -> Reloader`, for `--reload`: a framework may know better what to watch."""
    ctx.meta[RELOADER_KEY] = make


def names_application(ctx: click.Context) -> bool:
    """Whether somebody said which: a framework's group, `--app` or FNQUEUE_APP."""
    from fnqueue.settings import environment_value  # not at the top: `healthcheck` needs none

    return FINDER_KEY in ctx.meta or bool(ctx.meta.get(APP_KEY) or environment_value("APP"))


def of_environment() -> Any:
    """The `Application` of the environment's settings, whatever application is named."""
    return load(OF_ENVIRONMENT)()


def find_application(ctx: click.Context, *, needs_tasks: bool = True) -> Any:
    """The `Application`, looked for once per command line.

    Without `needs_tasks` the environment's settings will do where no application is named.
    """
    if _FOUND_KEY not in ctx.meta:
        finder = cast("Callable[[], Any] | None", ctx.meta.get(FINDER_KEY))
        given = ctx.meta.get(APP_KEY)
        found = finder() if finder is not None else load(DISCOVER)(given, needs_tasks=needs_tasks)
        ctx.meta[_FOUND_KEY] = found
    return ctx.meta[_FOUND_KEY]
