"""`manage.py fnqueue ...`: the commands of `fnqueue`, for the project that manage.py started, and `dev`."""

from __future__ import annotations

import click

from django_fnqueue import fn
from django_fnqueue.discovery import import_tasks
from django_fnqueue.project import project_name, set_up
from fnqueue.cli.context import APP_KEY, set_finder, set_reloader
from fnqueue.cli.discovery import Application, discover
from fnqueue.cli.loading import load
from fnqueue.cli.main import COMMANDS, EPILOG, MainGroup


def application() -> Application:
    """The project of DJANGO_SETTINGS_MODULE or of the manage.py here. `fnqueue worker` finds it by this name.

    Raises AppNotFound, and ImportFailed with the traceback of what the project raised.
    """
    set_up()
    return Application(
        name=f"django {project_name()}".rstrip(), runtime=fn.runtime(), import_tasks=lambda: import_tasks(fn)
    )


def _begin() -> None:
    ctx = click.get_current_context()
    set_finder(ctx, lambda: _find(ctx))
    set_reloader(ctx, lambda: load("django_fnqueue.reload:DjangoReloader")())


def _find(ctx: click.Context) -> Application:
    """The project's own queue, or another one of it: `--app shop.reports:fn`."""
    given = ctx.meta.get(APP_KEY)
    return application() if given is None else discover(given)


cli = MainGroup(
    "fnqueue",
    lazy={**COMMANDS, "dev": ("django_fnqueue.dev:dev", "Run web and worker together, and reload both.")},
    help="Background functions of this project.",
    epilog=EPILOG,
    callback=_begin,
    no_args_is_help=True,
)
